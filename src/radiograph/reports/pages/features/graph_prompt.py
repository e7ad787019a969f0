"""The page of `graph prompt`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from radiograph.reports.pages.features._circuit import circuit

Document = Mapping[str, Any]
KINDS = {
    "natural": "every component that is alive on this prompt",
    "selected": "the components that were named",
    "optimised": "the smallest set that was found",
    "imported": "read from a file of another program; nothing was measured here",
}


def figures(document: Document) -> dict[str, bytes]:
    """The circuit."""
    return circuit(document["picture"], document["prompt_tokens"]) if document["picture"] else {}


def view(document: Document) -> dict[str, Any]:
    """What the kind means; predictions side by side."""
    masked = {row["token"]: row for row in document["masked"]}
    return {
        "kind": KINDS[document["facts"]["kind"]],
        "predictions": [(row, masked.get(row["token"])) for row in document["targets"]],
    }
