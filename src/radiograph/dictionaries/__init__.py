"""Floor 3: sparse dictionaries of activations: encode, decode, train, measure, store, and guard against misuse."""

from radiograph.dictionaries._dictionary import Dictionary
from radiograph.dictionaries._files import load, save
from radiograph.dictionaries._metadata import Metadata, ModelIdentity, Quality, Training
from radiograph.dictionaries.activations import Activation, activation

__all__ = [
    "Activation",
    "Dictionary",
    "Metadata",
    "ModelIdentity",
    "Quality",
    "Training",
    "activation",
    "load",
    "save",
]
