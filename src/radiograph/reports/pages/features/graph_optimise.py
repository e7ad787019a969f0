"""The page of `graph optimise`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from radiograph.reports.pages.features._circuit import circuit

Document = Mapping[str, Any]
REGIMES = {
    "importance": "the set alone, everything else off",
    "stochastic": "everything else random (mean of 64 draws)",
    "adversarial": "everything else attacked: the worst masks that were found",
}


def figures(document: Document) -> dict[str, bytes]:
    """The circuit."""
    return circuit(document["picture"], document["prompt_tokens"]) if document["picture"] else {}


def view(document: Document) -> dict[str, Any]:
    """Regimes in words."""
    return {"regimes": REGIMES}
