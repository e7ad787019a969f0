"""Floor 3: sparse dictionaries of activations: encode, decode, train, measure, store, and guard against misuse.

Metadata and training configs need no torch; what does is imported when it is first asked for.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from radiograph.core import deferred
from radiograph.dictionaries._metadata import Metadata, ModelIdentity, Provenance, Quality, Training

if TYPE_CHECKING:
    from radiograph.dictionaries._control import principal_control, random_control
    from radiograph.dictionaries._dictionary import Dictionary
    from radiograph.dictionaries._document import DictionaryDocument
    from radiograph.dictionaries._files import load, save
    from radiograph.dictionaries._guard import Check, check, neighbours, require
    from radiograph.dictionaries._quality import Measured, evaluate, measure
    from radiograph.dictionaries.activations import Activation, activation


__all__ = [
    "Activation",
    "Check",
    "Dictionary",
    "DictionaryDocument",
    "Measured",
    "Metadata",
    "ModelIdentity",
    "Provenance",
    "Quality",
    "Training",
    "activation",
    "check",
    "evaluate",
    "load",
    "measure",
    "neighbours",
    "principal_control",
    "random_control",
    "require",
    "save",
]

__getattr__ = deferred(__name__, __file__)
