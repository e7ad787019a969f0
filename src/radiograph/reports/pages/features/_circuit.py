"""The picture of a circuit: positions from left to right, the forward pass from below, edges wide if strong.

Blue adds to its target, orange takes from it; dashed edges modulate (queries, keys, gates). Heights without a node are
left out; nodes at one place stand side by side.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

from radiograph.core import visible
from radiograph.reports._figure import CANDIDATE, FAINT, INK, PAPER, REFERENCE, RULE, drawing, svg

SLOT, ROW, LETTER = 0.82, 0.62, 0.072
"""Inches between nodes, between heights, of a letter."""
LEAST_WIDTH, MOST_WIDTH = 6.0, 13.0


def circuit(picture: Mapping[str, Any], tokens: Sequence[str], name: str = "circuit") -> dict[str, bytes]:
    """The figure, or none where there are no edges."""
    nodes, edges = picture["nodes"], picture["edges"]
    if not edges:
        return {}
    places, columns = _places(nodes)
    rows = sorted({node["row"] for node in nodes})
    height = {row: number for number, row in enumerate(rows)}
    inches = min(MOST_WIDTH, max(LEAST_WIDTH, SLOT * columns + 1.2))
    with drawing(inches, ROW * len(rows) + 0.9) as figure:
        axes = figure.subplots()
        at = [(places[number], height[node["row"]]) for number, node in enumerate(nodes)]
        for edge in sorted(edges, key=lambda edge: edge["size"]):
            _edge(axes, edge, at[edge["source"]], at[edge["target"]])
        for node, place in zip(nodes, at, strict=True):
            axes.annotate(
                _text(node, tokens),
                place,
                ha="center",
                va="center",
                fontsize=7.5,
                color=INK,
                bbox={
                    "boxstyle": "round,pad=0.28",
                    "facecolor": PAPER,
                    "edgecolor": _colour(node["kind"]),
                    "linewidth": 1.0,
                },
            )
        for row in rows:
            axes.annotate(
                visible(picture["rows"][row], 16),
                (-0.9, height[row]),
                ha="right",
                va="center",
                fontsize=8,
                color=FAINT,
            )
        axes.set_xlim(-1.0, columns - 0.3)
        axes.set_ylim(-0.55, len(rows) - 0.45)
        axes.set_axis_off()
        return {
            name: svg(figure, name, "Components that carry the prompt to its next token, and the edges between them")
        }


def _places(nodes: Sequence[Mapping[str, Any]]) -> tuple[list[float], int]:
    """Where every node stands: positions side by side, each as wide as its fullest height."""
    by_place: dict[tuple[int, int], list[int]] = defaultdict(list)
    for number, node in enumerate(nodes):
        by_place[node["position"], node["row"]].append(number)
    widest: dict[int, int] = defaultdict(lambda: 1)
    for (position, _), members in by_place.items():
        widest[position] = max(widest[position], len(members))
    start: dict[int, float] = {}
    total = 0
    for position in sorted(widest):
        start[position] = total
        total += widest[position]
    found = [0.0] * len(nodes)
    for (position, _), members in by_place.items():
        step = widest[position] / len(members)
        for order, number in enumerate(members):
            found[number] = start[position] + (order + 0.5) * step - 0.5
    return found, total


def _edge(axes: Any, edge: Mapping[str, Any], start: tuple[float, float], end: tuple[float, float]) -> None:
    from matplotlib.patches import FancyArrowPatch

    axes.add_patch(
        FancyArrowPatch(
            start,
            end,
            arrowstyle="-",
            connectionstyle="arc3,rad=0.06",
            shrinkA=6,
            shrinkB=6,
            linestyle=(0, (3, 2)) if edge["modulating"] else "-",
            linewidth=0.4 + 2.8 * edge["size"],
            color=REFERENCE if edge["weight"] >= 0 else CANDIDATE,
            alpha=0.35 + 0.5 * edge["size"],
        )
    )


def _text(node: Mapping[str, Any], tokens: Sequence[str]) -> str:
    match node["kind"]:
        case "token" | "position":
            place = node["position"]
            text = str(tokens[place]) if place < len(tokens) else ""
            return f"{visible(text, 10)}\n{place}"
        case "logit":
            return visible(node["text"].removeprefix("Output "), 18)
        case "delta" | "rest":
            return f"{visible(node['address'].split('/')[0], 10)}\n{node['kind']}"
        case _:
            return visible(node["address"].split("/")[0], 14)


def _colour(kind: str) -> str:
    return {"token": REFERENCE, "logit": CANDIDATE, "delta": RULE, "rest": RULE}.get(kind, FAINT)
