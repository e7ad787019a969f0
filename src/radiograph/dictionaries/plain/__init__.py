"""Dictionaries as NumPy arrays: for statistics of stored activations, which need no torch.

`PlainDictionary` has the arithmetic of `dictionaries.Dictionary`, value for value. Our own folders and bare files of
tensors are read here; any other format is read by its own reader, which needs torch, and taken over.
"""

from radiograph.dictionaries.plain._bare import SUFFIXES, Given, is_bare, read_bare
from radiograph.dictionaries.plain._dictionary import PlainDictionary
from radiograph.dictionaries.plain._native import is_native, read_native, taken_over
from radiograph.dictionaries.plain._units import read_directions_file, units

__all__ = [
    "SUFFIXES",
    "Given",
    "PlainDictionary",
    "is_bare",
    "is_native",
    "read_bare",
    "read_directions_file",
    "read_native",
    "taken_over",
    "units",
]
