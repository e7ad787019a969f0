"""The page of `resonance basis`: what the vectors are, and how they lie to each other."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from radiograph.reports._figure import FAINT, PAPER, REFERENCE, UP, drawing, svg
from radiograph.reports.pages.resonance import _figures

Document = Mapping[str, Any]
_SHOWN = 32


def figures(document: Document) -> dict[str, bytes]:
    """`cosines`: a map of the cosines of every pair, where there are three vectors or more."""
    cosines = document["cosines"]
    if len(cosines) < 3:
        return {}
    with drawing(10.8, 4.6) as figure:
        axes = figure.subplots()
        for y, row in enumerate(cosines):
            for x, value in enumerate(row):
                size = max(0.06, abs(value)) ** 0.5 * 0.92
                colour = FAINT if x == y else REFERENCE if value >= 0 else UP
                axes.bar([x], [size], size, bottom=y - size / 2, color=colour, alpha=0.85, edgecolor=PAPER)
                if len(cosines) <= 12 and x != y:
                    axes.annotate(f"{value:.2f}", (x, y), ha="center", va="center", fontsize=7.5)
        names = [label if len(label) < 28 else f"{label[:27]}…" for label in document["basis"]["labels"][:_SHOWN]]
        axes.set_yticks(range(len(names)), names)
        axes.set_xticks([])
        axes.set_xlim(-0.6, len(cosines) - 0.4)
        axes.set_ylim(len(cosines) - 0.4, -0.6)
        axes.set_aspect("equal")
        axes.spines[:].set_visible(False)
        return {"cosines": svg(figure, "cosines", "Cosines between the vectors of the basis")}


def view(document: Document) -> dict[str, Any]:
    """Labels and counts that a page shows."""
    basis = document["basis"]
    return {"labels": basis["labels"][:60], "null": _figures.NULLS[basis["null"]]}
