"""The page of `resonance schema`: what chance gives, what was found beside it, one sentence, the map of the grid."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from radiograph.reports._figure import CANDIDATE, FAINT, INK, PAPER, REFERENCE, RULE, drawing, svg

_SHOWN = 16


def figures(document: Mapping[str, Any]) -> dict[str, bytes]:
    """`measures`: those of one statistic beside their null. `grid1`, `grid2`: a number by the levels of two factors."""
    out = {f"grid{place}": _grid(cells, place) for place, cells in enumerate(document["maps"], start=1)}
    rows = _comparable(document["measures"])
    return out | ({"measures": _measures(rows)} if rows else {})


def view(document: Mapping[str, Any]) -> dict[str, Any]:
    """The figures of the grid in order, and whether anything was measured."""
    return {"grids": [f"grid{place}" for place in range(1, len(document["maps"]) + 1)]}


def _comparable(measures: Any) -> list[Mapping[str, Any]]:
    """Measures with a null, of the statistic that most of them have."""
    known = [m for m in measures if m["null"] is not None and m["null_high"] is not None]
    names = [m["statistic"] for m in known]
    most = max(names, key=names.count, default=None)
    return [m for m in known if m["statistic"] == most][:_SHOWN]


def _measures(rows: list[Mapping[str, Any]]) -> bytes:
    """Dots over the span from the null's median to its 95 %: shape and colour both say which is which."""
    with drawing(7.2, 1.0 + 0.3 * len(rows)) as figure:
        axes = figure.subplots()
        for place, row in enumerate(reversed(rows)):
            high = max(row["null_high"], row["null"])
            axes.plot([row["null"], high], [place, place], color=RULE, linewidth=7, solid_capstyle="butt")
            axes.plot([row["null"]] * 2, [place - 0.22, place + 0.22], color=FAINT, linewidth=1.4)
            if row["low"] is not None and row["high"] is not None:
                axes.plot([row["low"], row["high"]], [place, place], color=CANDIDATE, linewidth=1.2)
            axes.scatter([row["estimate"]], [place], marker="D", s=26, color=CANDIDATE, zorder=3, linewidths=0)
        axes.set_yticks(range(len(rows)), [row["what"][:60] for row in reversed(rows)])
        axes.set_xlabel(f"{rows[0]['statistic']}; grey: null, median to 95 %")
        axes.grid(axis="x")
        return svg(figure, "measures", "Each measure beside the median and the 95 % quantile of its null")


def _grid(cells: Mapping[str, Any], place: int) -> bytes:
    """Every cell says its number; the shade only helps."""
    values = [list(line) for line in cells["values"]]
    flat = [value for line in values for value in line]
    low, high = min(flat), max(flat)
    span = high - low or 1.0
    with drawing(1.8 + 1.0 * len(cells["columns"]), 1.1 + 0.5 * len(cells["rows"])) as figure:
        axes = figure.subplots()
        for up, line in enumerate(values):
            for across, value in enumerate(line):
                share = (value - low) / span
                box = {"color": REFERENCE, "alpha": 0.08 + 0.82 * share, "linewidth": 0}
                axes.add_patch(_rectangle(across - 0.48, up - 0.46, 0.96, 0.92, box))
                ink = PAPER if share > 0.6 else INK
                axes.text(across, up, f"{value:.3g}", ha="center", va="center", color=ink, fontsize=9)
        axes.set_xlim(-0.5, len(cells["columns"]) - 0.5)
        axes.set_ylim(len(values) - 0.5, -0.5)
        axes.set_xticks(range(len(cells["columns"])), cells["columns"])
        axes.set_yticks(range(len(values)), cells["rows"])
        for spine in axes.spines.values():
            spine.set_visible(False)
        axes.set_title(f"{cells['title']}: {cells['unit']}", color=FAINT, loc="left")
        return svg(figure, f"grid{place}", f"{cells['unit']} of {cells['title']} in every cell of the grid")


def _rectangle(left: float, bottom: float, width: float, height: float, how: Mapping[str, Any]) -> Any:
    from matplotlib.patches import Rectangle

    return Rectangle((left, bottom), width, height, **how)
