"""The page of `probe build`: is the probe calibrated, what does it find, and what would know nothing reach."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from radiograph.reports._figure import CANDIDATE, FAINT, INK, REFERENCE, drawing, svg

SHOWN = 24


def figures(document: Mapping[str, Any]) -> dict[str, bytes]:
    """`scores`: test scores of positives, of the contrast's negatives and of clean text, with the threshold."""
    bins = document["histogram"]
    rows = (
        ("positive", 2, CANDIDATE),
        ("negative", 3, REFERENCE),
        ("clean text", 4, FAINT),
    )
    with drawing(10.8, 3.2) as figure:
        axes = figure.subplots()
        edges = [b[0] for b in bins] + [bins[-1][1]]
        for label, place, colour in rows:
            count = [b[place] for b in bins]
            total = sum(count)
            if total:
                axes.stairs([n / total for n in count], edges, color=colour, linewidth=1.6, label=label)
        axes.axvline(document["threshold"], color=INK, linewidth=1.2, linestyle=(0, (3, 2)))
        axes.set_xlabel("score on test rows; dashed: the threshold, above which a row is flagged")
        axes.set_ylabel("share of its class")
        axes.legend(frameon=False)
        return {"scores": svg(figure, "scores", "Test scores by class, with the threshold")}


def view(document: Mapping[str, Any]) -> dict[str, Any]:
    """Candidates, the chosen one first."""
    tried = sorted(document["candidates"], key=lambda one: (not one["chosen"], -one["auroc"]))
    return {"tried": tried[:SHOWN], "more": max(0, len(tried) - SHOWN)}
