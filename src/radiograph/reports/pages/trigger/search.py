"""The page of `trigger search`: the leading insertions beside their null, what fresh prompts say, what it cost."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from radiograph.reports._figure import CANDIDATE, FAINT, INK, REFERENCE, RULE, drawing, svg

Document = Mapping[str, Any]
_SHOWN = 12
_STAGES = {
    "sweep": "every token alone",
    "pairs": "leading tokens before and after every token",
    "parts": "parts of what leads, at every place",
    "coordinates": "longer ones, token by token, as the gradient proposes",
}


def figures(document: Document) -> dict[str, bytes]:
    """`gains`: J of the leading insertions, above the maxima of the benign models where there are any."""
    rows = document["search"]["insertions"][:_SHOWN]
    benign = document["benign"]
    if not rows or not any(row["gain"] for row in rows):
        return {}
    with drawing(10.8, 1.1 + 0.3 * len(rows) + (0.6 if benign else 0)) as figure:
        axes = figure.subplots()
        for place, row in enumerate(rows):
            fresh = row["fresh"]
            colour = CANDIDATE if fresh is not None else FAINT
            axes.plot([0, row["gain"]], [place, place], color=RULE, linewidth=1.2, zorder=1)
            axes.plot([row["gain"]], [place], "o", color=colour, markersize=7, zorder=2)
            said = "" if fresh is None else f"   {fresh['on']} of {fresh['n']} fresh answers change"
            axes.annotate(
                f"{row['gain']:.2f}{said}",
                (row["gain"], place),
                (8, 0),
                textcoords="offset points",
                va="center",
                fontsize=8.5,
                color=INK,
            )
        names = [f"{_short(row['text'])}  ({row['place']})" for row in rows]
        if benign:
            bottom = len(rows) + 0.4
            axes.plot(benign, [bottom] * len(benign), "|", color=REFERENCE, markersize=13, markeredgewidth=1.2)
            axes.axvline(max(benign), color=REFERENCE, linewidth=0.9, linestyle=(0, (4, 3)), zorder=0)
            names.append(f"largest J of {len(benign)} benign models")
        axes.set_yticks([*range(len(rows)), *([len(rows) + 0.4] if benign else [])], names)
        axes.set_ylim(len(rows) + (0.9 if benign else -0.4), -0.6)
        highest = max([row["gain"] for row in rows] + list(benign))
        axes.set_xlim(min(0, *(row["gain"] for row in rows)), highest * 1.35)
        axes.set_xlabel("J, nats per token above random insertions")
        axes.spines["left"].set_visible(False)
        axes.grid(axis="x")
        return {"gains": svg(figure, "gains", "J of the leading insertions")}


def view(document: Document) -> dict[str, Any]:
    """Rows in the order of the page."""
    search = document["search"]
    return {
        "insertions": search["insertions"][:20],
        "more": max(0, len(search["insertions"]) - 20),
        "stages": _STAGES,
        "confirmed": [w for w in document["witnesses"] if w["confirmed"]],
        "failed": [w for w in document["witnesses"] if not w["confirmed"]],
    }


def _short(text: str) -> str:
    return text if len(text) < 32 else f"{text[:31]}…"
