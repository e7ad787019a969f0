"""The page of `neurons scan`: the loud and the lonely units, how often they fire against how much they write."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from radiograph.reports._figure import CANDIDATE, DOWN, FAINT, INK, drawing, svg

_NAMED = 4
_GAP = 0.075
"""Between names, as a share of the height."""
_DECADES = 5.2


def figures(document: Mapping[str, Any]) -> dict[str, bytes]:
    """`units`: firing rate and contribution of all units, the first of the lists by name."""
    return {"units": _units(document)} if document["cloud"] else {}


def view(document: Mapping[str, Any]) -> dict[str, Any]:
    """The lists in the order in which they are read."""
    lists = [
        ("Loud", "highest contribution: mean |a − median| · ‖w‖", document["loud"]),
        ("Lonely", "lowest firing rate, then lowest contribution", document["lonely"]),
    ]
    if document["rank"]:
        lists.append((f"Lowest {document['rank']}", "asked for with --rank; see the note", document["ranked"]))
    return {"lists": lists, "has_writes": any(row["write_norm"] is not None for row in document["loud"])}


def _units(document: Mapping[str, Any]) -> bytes:
    cells = document["cloud"]
    top = max(row["contribution"] for row in (*document["loud"], *cells))
    with drawing(10.8, 4.2) as figure:
        axes = figure.subplots()
        sizes = [5 + 5 * math.log2(cell["units"]) for cell in cells]
        axes.scatter(
            [cell["firing"] for cell in cells],
            [_height(cell, top) for cell in cells],
            s=sizes,
            color=FAINT,
            alpha=0.35,
            linewidths=0,
            label="all units",
        )
        for name, mark, colour in (("lonely", "o", DOWN), ("loud", "D", CANDIDATE)):
            rows = document[name]
            up = [_height(row, top) for row in rows]
            axes.scatter([row["firing"] for row in rows], up, marker=mark, s=24, color=colour, label=name, linewidths=0)
        axes.set_xlim(-0.02, 1.02)
        low = min(_height(row, top) for row in (*document["lonely"], *cells)) - 0.9
        axes.set_ylim(low, 0.25)
        quiet = document["lonely"][:_NAMED]
        _named(axes, document["loud"][:_NAMED], top, 1.03)
        _named(axes, quiet, top, min(max(row["firing"] for row in quiet) + 0.06, 1.03))
        ticks = range(math.ceil(math.log10(top) + low), math.floor(math.log10(top)) + 1)
        axes.set_yticks([tick - math.log10(top) for tick in ticks], [f"{10.0**tick:g}" for tick in ticks])
        axes.set_xlabel("share of tokens on which the unit fires")
        axes.set_ylabel("contribution, logarithmic")
        axes.grid(axis="y")
        axes.legend(frameon=False, loc="upper left", fontsize=9, ncols=3, bbox_to_anchor=(0, 1.12))
        return svg(figure, "units", "Firing rate and contribution of all units, the loudest and the loneliest by name")


def _height(row: Mapping[str, Any], top: float) -> float:
    """Decades below the largest contribution; what lies below the picture stands on its edge."""
    return math.log10(max((row["contribution"] or 0.0) / top, 10.0 ** (0.1 - _DECADES)))


def _named(axes: Any, rows: Sequence[Mapping[str, Any]], top: float, at: float) -> None:
    """Names beside the units, apart from each other, each with a line to its unit."""
    low, high = axes.get_ylim()
    gap = _GAP * (high - low)
    order = sorted(rows, key=lambda row: -_height(row, top))
    place = math.inf
    for row in order:
        up = _height(row, top)
        place = min(up, place - gap)
        line = {"arrowstyle": "-", "color": FAINT, "linewidth": 0.5, "shrinkA": 0, "shrinkB": 3, "relpos": (0, 0.5)}
        axes.annotate(
            row["unit"],
            (row["firing"], up),
            (at, place),
            va="center",
            fontsize=8.5,
            color=INK,
            arrowprops=line,
            annotation_clip=False,
        )
