"""The page of `harvest`: what was read from which models, what became of the texts, and what lies on disk."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_STEPS = (
    ("documents", "documents taken", "longer ones are several windows"),
    ("documents_left_out", "documents left out", "the subset did not draw them"),
    ("documents_empty", "texts without a token to keep", "not harvested"),
    ("documents_cut", "documents longer than a window", "divided, or truncated where windows are off"),
    ("windows", "windows", "no window holds two documents"),
    ("tokens_fed", "tokens fed", "special ones included"),
    ("rows", "rows kept", "the same tokens of every source"),
    ("validation_rows", "of them held out", "whole groups, duplicates united"),
    ("rows_dropped", "rows left out for their norm", "by --drop-norm"),
)


def figures(document: Mapping[str, Any]) -> dict[str, bytes]:
    """None: these are counts."""
    del document
    return {}


def view(document: Mapping[str, Any]) -> dict[str, Any]:
    """The counts in the order in which texts become rows, each with its name and what it means."""
    held_out = bool(document["sources"])
    steps = [(name, document[key], text) for key, name, text in _STEPS if held_out or key != "validation_rows"]
    return {"steps": steps, "models": sorted(document["models"].items(), key=lambda item: item[0] != "reference")}
