"""The page of `edit search`: which parts carry it, in the order in which they are taken out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

ASKED = {
    "examples": "nats that taking it out alone takes off, to first order",
    "writes": "cosine of what it writes with the token",
    "reads": "cosine of what it reads with the token",
    "like": "write x read cosine with the part",
    "label": "nats that taking it out alone makes where it fires, mean KL",
}


def figures(document: Mapping[str, Any]) -> dict[str, bytes]:
    """None: the steps are a table."""
    del document
    return {}


def view(document: Mapping[str, Any]) -> dict[str, Any]:
    """Words for codes."""
    return {
        "asked": ASKED[str(document["asked"])],
        "one": "piece" if document["kind"] == "pieces" else "component",
        "labels": document["labels"] is not None,
        "pieces": document["kind"] == "pieces",
    }
