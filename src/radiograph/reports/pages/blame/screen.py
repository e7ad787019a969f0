"""The page of `blame --screen`: what rows are ranked by, how far they lie from the reference, and the rows in order."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from radiograph.evidence.influence import STRONG, UNTRAINED
from radiograph.reports._figure import CANDIDATE, FAINT, INK, RULE, drawing, svg
from radiograph.reports.pages.blame import STAMPS

Document = Mapping[str, Any]
_SHOWN = 25
_BARS = 20
POOLS = {None: "the mean over the tokens of an answer", "mean": "the mean row of an answer", "max": "the largest token"}
WORDS = {**STAMPS, "single_prompt": "all rows answer one prompt: no interval goes over prompts"}


def figures(document: Document) -> dict[str, bytes]:
    """`scores`: the leading rows, and what random directions give them."""
    rows = document["top"][:_BARS]
    with drawing(10.8, 1.1 + 0.28 * len(rows)) as figure:
        axes = figure.subplots()
        for place, row in enumerate(rows):
            reach = STRONG * row["score"] / row["z"] if row["z"] else 0.0
            axes.plot([-reach, reach], [place, place], color=RULE, linewidth=4, zorder=1)
            axes.plot([row["score"]], [place], "o", color=CANDIDATE, markersize=6, zorder=2)
        axes.axvline(0, color=FAINT, linewidth=0.8, zorder=0)
        axes.set_yticks(range(len(rows)), [f"line {row['line']}" for row in rows], color=INK)
        axes.set_ylim(len(rows) - 0.4, -0.6)
        axes.set_xlabel("score of the row's answer less that of the reference's own; the bar: ±2 of random directions")
        axes.spines["left"].set_visible(False)
        axes.grid(axis="x")
        return {"scores": svg(figure, "scores", "Scores of the leading rows")}


def view(document: Document) -> dict[str, Any]:
    """Words for what is only named."""
    pool = document["probe"]["pool"]
    return {
        "rows": document["top"][:_SHOWN],
        "more": max(0, len(document["top"]) - _SHOWN),
        "stamps": [(WORDS.get(stamp.partition(":")[0], stamp), stamp) for stamp in document["stamps"]],
        "untrained": UNTRAINED,
        "pool": POOLS.get(pool, "the last token of an answer"),
    }
