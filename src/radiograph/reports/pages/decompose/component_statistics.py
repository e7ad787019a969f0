"""The page of `decompose harvest`: what was counted, of how many tokens, and how often components fire."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from radiograph.reports._figure import CANDIDATE, REFERENCE, drawing, svg


def figures(document: Mapping[str, Any]) -> dict[str, bytes]:
    """`weights`: components of each weight, those that fired, and how many fire on a token."""
    weights, tokens = document["weights"], max(1, document["tokens"])
    with drawing(10.8, 0.9 + 0.22 * len(weights)) as figure:
        axes = figure.subplots()
        places = range(len(weights))
        axes.barh(places, [w["alive"] for w in weights], color=REFERENCE, alpha=0.35, height=0.7)
        axes.barh(places, [w["firings"] / tokens for w in weights], color=CANDIDATE, height=0.35)
        axes.set_yticks(list(places), [w["address"] for w in weights])
        axes.invert_yaxis()
        axes.grid(axis="x")
        axes.set_title("components: wide, fired at least once; narrow, firing on a token (mean)", loc="left")
        return {"weights": svg(figure, "weights", "Components of each weight that fired, and mean firings a token")}


def view(document: Mapping[str, Any]) -> dict[str, Any]:
    """Nothing beside the document."""
    del document
    return {}
