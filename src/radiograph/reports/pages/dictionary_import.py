"""The page of `dictionary import`: what each dictionary is, and every check with what was expected and observed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_STATES = {
    "checked": "it does on the model what its file says, and better than every other reading",
    "doubtful": "nothing contradicts its file, and something that should speak for it does not",
    "unchecked": "no model was given, so nothing is known about what it does; verbs that gate refuse it",
    "mismatch": "it is not what its file says; it was not saved",
}


def figures(document: Mapping[str, Any]) -> dict[str, bytes]:
    """None: a reading is a number beside another."""
    del document
    return {}


def view(document: Mapping[str, Any]) -> dict[str, Any]:
    """The states that occur in words, other readings from best to worst, and hashes of files by name."""
    found = {str(d["state"]) for d in document["dictionaries"]}
    readings = [sorted(d["readings"].items(), key=lambda item: item[1]) for d in document["dictionaries"]]
    return {
        "states": [(state, text) for state, text in _STATES.items() if state in found],
        "readings": readings,
        "files": sorted(document["files"].items()),
    }
