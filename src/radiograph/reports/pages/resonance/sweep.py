"""The page of `resonance sweep`: compasses, curves, and what stands out beyond its null."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from radiograph.reports.pages.resonance import _figures

Document = Mapping[str, Any]


def figures(document: Document) -> dict[str, bytes]:
    """`compass curves overlay violins planes`, each where there is something to draw."""
    drawn = {
        "compass": _figures.compass(document),
        "curves": _figures.curves(document),
        "overlay": _figures.overlay(document),
        "violins": _figures.violins(document),
        "planes": _figures.planes_map(document),
    }
    return {name: data for name, data in drawn.items() if data is not None}


def view(document: Document) -> dict[str, Any]:
    """Whether something is circular, and nulls in words."""
    return {"circular": any("circular" in row["flags"] for row in document["top"]), "nulls": _figures.NULLS}
