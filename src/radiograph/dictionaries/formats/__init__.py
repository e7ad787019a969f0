"""Dictionaries of other people: read, checked and written. One file a format, in `libraries` and `releases`."""

from radiograph.dictionaries.formats._find import detect, formats, named, writers
from radiograph.dictionaries.formats._fold import batch_threshold, fold, scaled, without_input_bias
from radiograph.dictionaries.formats._imported import (
    Imported,
    Options,
    Recorded,
    build,
    cannot_express,
    settings_of,
    unsettled,
)
from radiograph.dictionaries.formats._ledger import Ledger
from radiograph.dictionaries.formats._places import hook_of, place_of
from radiograph.dictionaries.formats._source import Source

__all__ = [
    "Imported",
    "Ledger",
    "Options",
    "Recorded",
    "Source",
    "batch_threshold",
    "build",
    "cannot_express",
    "detect",
    "fold",
    "formats",
    "hook_of",
    "named",
    "place_of",
    "scaled",
    "settings_of",
    "unsettled",
    "without_input_bias",
    "writers",
]
