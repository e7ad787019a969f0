"""The page of `neurons scan`: the loud and the lonely units, how often they fire against how much they write."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from radiograph.reports._figure import CANDIDATE, DOWN, FAINT, drawing, svg

_NAMED = 4


def figures(document: Mapping[str, Any]) -> dict[str, bytes]:
    """`units`: firing rate and contribution of the listed units."""
    return {"units": _units(document)}


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
    with drawing(7.2, 3.4) as figure:
        axes = figure.subplots()
        for name, mark, colour in (("lonely", "o", DOWN), ("loud", "D", CANDIDATE)):
            rows = document[name]
            across = [row["firing"] for row in rows]
            up = [row["contribution"] or 0.0 for row in rows]
            axes.scatter(across, up, marker=mark, s=26, color=colour, label=name, linewidths=0)
            for row in rows[: _NAMED if name == "loud" else 0]:
                axes.annotate(
                    row["unit"],
                    (row["firing"], row["contribution"] or 0.0),
                    xytext=(5, 3),
                    textcoords="offset points",
                    fontsize=8,
                    color=FAINT,
                )
        axes.set_xlabel("share of tokens on which the unit fires")
        axes.set_ylabel("contribution")
        axes.set_xlim(-0.02, 1.08)
        axes.grid(axis="y")
        axes.legend(frameon=False, loc="upper left", fontsize=9)
        return svg(figure, "units", "Firing rate and contribution of the loudest and the loneliest units")
