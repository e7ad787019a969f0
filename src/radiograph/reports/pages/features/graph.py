"""The page of `graph report`: features, what they go with, what they move, and their matches in another model."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from radiograph.core import visible
from radiograph.reports._figure import CANDIDATE, FAINT, INK, PAPER, REFERENCE, RULE, drawing, svg

Document = Mapping[str, Any]
Node = Mapping[str, Any]
SHOWN = 36
"""Features of a picture; the strongest edges decide which."""
WIDTH, STEP, LETTER = 10.8, 3.0, 0.075
"""Inches of the picture; units between columns; inches of a letter."""
STYLE: dict[str, tuple[Any, float, str]] = {
    "correlational": ((0, (1, 1.6)), 1.6, REFERENCE),
    "causal": ("-", 2.4, CANDIDATE),
    "structural": ("-", 0.9, FAINT),
}
WORDS = {
    "associates": "goes with",
    "affects": "changes",
    "coactivates": "fires together with",
    "resembles": "writes in the same direction as",
    "corresponds": "is matched with",
    "explains": "is said of",
}
MEANS = {
    "associates": "correlational: the feature goes with the criterion on held-out rows",
    "affects": "causal: moving the feature moved the outcome, in the intervention rows listed",
    "coactivates": "structural: the two fire on the same rows",
    "resembles": "structural: the two write in the same direction",
    "corresponds": "the two are each other's best match across models",
    "explains": "words that somebody gave the feature, not a measurement of this run",
}


class Box(NamedTuple):
    """Where a node is drawn: its middle, and half its width."""

    x: float
    y: float
    half: float


def figures(document: Document) -> dict[str, bytes]:
    """`graph`: words, features of the first model, criteria and outcomes, features of other models, in columns."""
    nodes, edges = _drawn(document)
    columns = _columns(nodes, edges)
    tallest = max((len(column) for column in columns), default=0)
    if not edges or not tallest:
        return {}
    used = [x for x, column in enumerate(columns) if column]
    span = (used[-1] - used[0]) * STEP + 2.8
    boxes: dict[str, Box] = {}
    for x, column in enumerate(columns):
        for y, node in enumerate(column):
            half = (0.5 * LETTER * len(_label(node)) + 0.1) * span / WIDTH
            boxes[node["id"]] = Box(x * STEP, (y + 0.5) * tallest / len(column), half)
    with drawing(WIDTH, max(2.4, 0.34 * tallest + 0.7)) as figure:
        axes = figure.subplots()
        for edge in edges:
            _line(axes, edge, boxes[edge["source"]], boxes[edge["target"]])
        for node in nodes:
            box = boxes[node["id"]]
            axes.annotate(
                _label(node),
                (box.x, box.y),
                ha="center",
                va="center",
                fontsize=8.5,
                color=INK,
                bbox={"boxstyle": "round,pad=0.35", "facecolor": PAPER, "edgecolor": _edge_of(node), "linewidth": 1.0},
            )
        for x in used:
            axes.annotate(_heading(x, columns[x]), (x * STEP, -0.45), ha="center", va="center", fontsize=9, color=FAINT)
        axes.set_xlim(used[0] * STEP - 1.4, used[-1] * STEP + 1.4)
        axes.set_ylim(tallest + 0.2, -0.9)
        axes.set_axis_off()
        return {"graph": svg(figure, "graph", "Features, what they go with, what they change, and their matches")}


def view(document: Document) -> dict[str, Any]:
    """Edges by name, with the labels of their ends; what the picture leaves out."""
    label = {node["id"]: node for node in document["nodes"]}
    grouped: dict[str, list[Any]] = defaultdict(list)
    for edge in document["edges"]:
        if edge["edge"] in WORDS:
            grouped[edge["edge"]].append(
                {"edge": edge, "source": label[edge["source"]], "target": label[edge["target"]]}
            )
    features = sum(node["kind"] == "feature" for node in document["nodes"])
    return {
        "groups": [(WORDS[name], MEANS[name], grouped[name]) for name in WORDS if grouped[name]],
        "cut": features > SHOWN,
        "shown": SHOWN,
        "kinds": sorted({edge["kind"] for edge in document["edges"] if edge["edge"] in WORDS}),
        "places": [n for n in document["nodes"] if n["kind"] in ("model", "site", "dictionary")],
    }


def _drawn(document: Document) -> tuple[list[Node], list[Mapping[str, Any]]]:
    """The features with the strongest edges, and everything that they touch but models, sites and dictionaries."""
    kinds = {node["id"]: node["kind"] for node in document["nodes"]}
    edges = [edge for edge in document["edges"] if edge["edge"] in WORDS]
    kept: dict[str, None] = {}
    for edge in sorted(edges, key=_strength):
        ends = [end for end in (edge["source"], edge["target"]) if kinds[end] == "feature"]
        if len(kept) + sum(end not in kept for end in ends) <= SHOWN:
            kept |= dict.fromkeys(ends)
    edges = [e for e in edges if all(kinds[end] != "feature" or end in kept for end in (e["source"], e["target"]))]
    touched = {end for edge in edges for end in (edge["source"], edge["target"])}
    return [node for node in document["nodes"] if node["id"] in touched], edges


def _strength(edge: Mapping[str, Any]) -> tuple[int, float]:
    """Causal edges first, then by how far the weight lies from what chance gives."""
    order = {"causal": 0, "correlational": 1, "structural": 2}[edge["kind"]]
    weight = edge["weight"] or 0.0
    return order, -abs(weight - 0.5) if edge["statistic"] in ("auroc", "pairs") else -abs(weight)


def _columns(nodes: Sequence[Node], edges: Sequence[Mapping[str, Any]]) -> list[list[Node]]:
    first = next((n["attributes"].get("model") for n in nodes if n["kind"] == "feature"), None)
    columns: list[list[Node]] = [[], [], [], []]
    for node in nodes:
        own = node["kind"] == "feature" and node["attributes"].get("model") == first
        where = {"explanation": 0, "feature": 1 if own else 3}.get(node["kind"], 2)
        columns[where].append(node)
    moved = {edge["source"] for edge in edges if edge["kind"] == "causal"}
    columns[1].sort(key=lambda node: (node["id"] in moved, _natural(node["id"])))
    _sort_like(columns[3], columns[1], edges)
    _sort_like(columns[0], columns[1], edges)
    return columns


def _natural(name: str) -> list[Any]:
    """A key that sorts numbers inside ids by value."""
    return [int(part) if place % 2 else part for place, part in enumerate(re.split(r"(\d+)", name))]


def _sort_like(column: list[Node], other: Sequence[Node], edges: Sequence[Mapping[str, Any]]) -> None:
    """Neighbours at the height of those they touch, so that few lines cross."""
    height = {node["id"]: y for y, node in enumerate(other)}
    touching: dict[str, list[int]] = defaultdict(list)
    for edge in edges:
        for a, b in ((edge["source"], edge["target"]), (edge["target"], edge["source"])):
            if b in height:
                touching[a].append(height[b])
    column.sort(key=lambda node: (min(touching[node["id"]], default=len(height)), node["id"]))


def _line(axes: Any, edge: Mapping[str, Any], start: Box, end: Box) -> None:
    """From the side of one box that faces the other; within a column along its right side."""
    from matplotlib.patches import FancyArrowPatch

    style, width, colour = STYLE[edge["kind"]]
    both = edge["edge"] in ("corresponds", "coactivates", "resembles")
    same = start.x == end.x
    sides = (1, 1) if same else (1, -1) if start.x < end.x else (-1, 1)
    axes.add_patch(
        FancyArrowPatch(
            *((box.x + side * box.half, box.y) for box, side in zip((start, end), sides, strict=True)),
            arrowstyle="-" if both else "-|>",
            connectionstyle=f"arc3,rad={-0.35 if same else 0.0}",
            mutation_scale=9,
            shrinkA=1,
            shrinkB=1,
            linestyle=style,
            linewidth=width,
            color=colour,
            alpha=0.85,
        )
    )


def _label(node: Node) -> str:
    return visible(node["label"], 34)


def _edge_of(node: Node) -> str:
    return {"criterion": REFERENCE, "outcome": CANDIDATE}.get(node["kind"], RULE)


def _heading(x: int, column: Sequence[Node]) -> str:
    if x in (1, 3):
        names = sorted({str(node["attributes"].get("model", "")) for node in column})
        return f"features of {visible(', '.join(names), 40)}"
    return "what is said of them" if x == 0 else "criteria and outcomes"
