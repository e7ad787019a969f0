"""Dictionaries of other people: read, checked and written. One file a format, in `libraries` and `releases`."""

from radiograph.dictionaries.formats._checks import Judgement, judge
from radiograph.dictionaries.formats._export import Exported, compare, export
from radiograph.dictionaries.formats._find import detect, formats, named, writers
from radiograph.dictionaries.formats._fold import batch_threshold, fold, scaled, without_input_bias
from radiograph.dictionaries.formats._hub import Address, cached, fetch, looks_like_hub
from radiograph.dictionaries.formats._import import (
    DictionarySet,
    Finished,
    Known,
    Origin,
    SetEntry,
    import_source,
    store,
    write_set,
)
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
    "Address",
    "DictionarySet",
    "Exported",
    "Finished",
    "Imported",
    "Judgement",
    "Known",
    "Ledger",
    "Options",
    "Origin",
    "Recorded",
    "SetEntry",
    "Source",
    "batch_threshold",
    "build",
    "cached",
    "cannot_express",
    "compare",
    "detect",
    "export",
    "fetch",
    "fold",
    "formats",
    "hook_of",
    "import_source",
    "judge",
    "looks_like_hub",
    "named",
    "place_of",
    "scaled",
    "settings_of",
    "store",
    "unsettled",
    "without_input_bias",
    "write_set",
    "writers",
]
