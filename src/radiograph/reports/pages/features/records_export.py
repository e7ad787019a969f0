"""The page of `records export`: which features, what became of the prompts, and what an absent entry means."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_STEPS = (
    ("prompts", "prompts", "texts that were fed, or labelled spans of them"),
    ("tokens", "tokens fed", "special ones included"),
    ("truncated", "prompts cut at their end", "longer than --max-length or the model's context"),
    ("lost", "labelled spans without a token", "behind the cut, or between tokens"),
    ("rows", "rows", "one a token, or one a prompt"),
    ("features", "features", "columns; silent ones are among them"),
    ("entries", "entries", "values that are stored"),
)
_ABSENT = {
    "zero": "A feature without an entry in a row was measured there and is silent.",
    "below": "A feature without an entry in a row may be silent, or was not among the largest of that row.",
}
_POOLS = {
    "max": "the largest value of its tokens",
    "last": "the value at its last token",
    "mean": "the mean of its tokens, silent ones included",
    "sum": "the sum of its tokens",
}


def figures(document: Mapping[str, Any]) -> dict[str, bytes]:
    """None: these are counts."""
    del document
    return {}


def view(document: Mapping[str, Any]) -> dict[str, Any]:
    """The counts in the order in which prompts become entries, and what a row and an absent entry mean."""
    pool = None if document["pool"] is None else str(document["pool"])
    row = "a token" if pool is None else f"a prompt: {_POOLS[pool]}"
    return {
        "steps": [(name, document[key], text) for key, name, text in _STEPS],
        "absent": _ABSENT[str(document["absent"])],
        "row": row,
    }
