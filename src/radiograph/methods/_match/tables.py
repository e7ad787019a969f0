"""The tables of a comparison, and the pairs that a result lists."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import numpy as np

from radiograph.evidence.matches import MatchLine, MatchPair

if TYPE_CHECKING:
    from radiograph.methods._match.fingerprints import Features
    from radiograph.methods._match.sides import Side
    from radiograph.numerics.matching import Component, Nearest
    from radiograph.numerics.matching import Matches as Numbers

BINS = 40


def table(
    sides: tuple[Side, Side], numbers: Numbers, found: dict[str, Component | None], causal: list[str]
) -> dict[str, list[Any]]:
    """A line for every left feature that was compared, with its best partner."""
    left, right = sides
    columns: dict[str, list[Any]] = {
        "left": [left.ids[i] for i in numbers.left.tolist()],
        "right": [right.ids[i] for i in numbers.best.tolist()],
        "left_label": [left.labels[i] for i in numbers.left.tolist()],
        "right_label": [right.labels[i] for i in numbers.best.tolist()],
        "score": numbers.score.tolist(),
        "low": _known(numbers.low),
        "high": _known(numbers.high),
        "p": numbers.p.tolist(),
        "q": numbers.q.tolist(),
        "mutual": numbers.mutual.tolist(),
        "margin": _known(numbers.margin),
        "matched": numbers.matched.tolist(),
        "ambiguous": numbers.ambiguous.tolist(),
        "assigned": [right.ids[i] if i >= 0 else None for i in numbers.assigned.tolist()],
        "causal": causal,
    }
    for name, component in found.items():
        absent: list[float | None] = [None] * len(numbers.left)
        columns[name] = absent if component is None else _known(component.value)
        columns[f"{name}_percentile"] = absent if component is None else _known(component.percentile)
    return columns


def _known(values: np.ndarray) -> list[float | None]:
    return [None if value != value else value for value in values.tolist()]


def structural_table(sides: tuple[Side, Side], numbers: Nearest, among: Features) -> dict[str, list[Any]]:
    """A line for every left direction, with its nearest right one; what only a null could say is null."""
    left, right = sides
    ours, theirs = among.left.tolist(), among.right[numbers.place].tolist()
    absent: list[Any] = [None] * len(ours)
    margin = np.where(np.isfinite(numbers.runner_up), numbers.score - numbers.runner_up, np.nan)
    return {
        "left": [left.ids[i] for i in ours],
        "right": [right.ids[i] for i in theirs],
        "left_label": [left.labels[i] for i in ours],
        "right_label": [right.labels[i] for i in theirs],
        "score": numbers.score.tolist(),
        "low": absent,
        "high": absent,
        "p": absent,
        "q": absent,
        "mutual": numbers.mutual.tolist(),
        "margin": _known(margin),
        "ambiguous": [False] * len(ours),
        "causal": ["untested"] * len(ours),
        "decoder": numbers.score.tolist(),
        "decoder_percentile": absent,
    }


def pair(table: dict[str, list[Any]], row: int, components: Iterable[str]) -> MatchPair:
    """A line of the table."""
    return pair_of_row({name: values[row] for name, values in table.items()}, components)


def pair_of_row(row: dict[str, Any], components: Iterable[str]) -> MatchPair:
    """The same from one line."""
    lines = {name: MatchLine(value=row[name], percentile=row[f"{name}_percentile"]) for name in components}
    own = ("left", "right", "left_label", "right_label", "score", "p", "q", "mutual", "margin", "ambiguous", "causal")
    interval = None if row["low"] is None else (row["low"], row["high"])
    return MatchPair(interval=interval, components=lines, **{name: row[name] for name in own})


def fates(sides: tuple[Side, Side], numbers: Numbers) -> dict[str, list[str]]:
    """What became of every feature of either side."""
    out: dict[str, list[str]] = {"side": [], "feature_id": [], "fate": []}
    matched = numbers.left[numbers.matched], numbers.best[numbers.matched]
    for name, side, compared, own in zip(("left", "right"), sides, (numbers.left, numbers.right), matched, strict=True):
        fate = np.full(len(side.ids), "few_active", dtype=object)
        for reason, out_of in side.excluded.items():
            fate[out_of] = reason
        fate[compared] = f"{name}_only"
        fate[own] = "matched"
        out["side"] += [name] * len(side.ids)
        out["feature_id"] += side.ids
        out["fate"] += fate.tolist()
    return out


def few_active(sides: tuple[Side, Side], numbers: Numbers) -> tuple[int, int]:
    """Features active too seldom, those that cannot be compared aside."""
    left, right = (few - int((~side.comparable).sum()) for few, side in zip(numbers.few_active, sides, strict=True))
    return left, right


def histogram(numbers: Numbers) -> tuple[tuple[float, float, int, int], ...]:
    """Best scores of matches and of others, for a figure."""
    low = min(0.0, float(numbers.score.min()))
    edges = np.linspace(low, 1.0, BINS + 1)
    clipped = np.clip(numbers.score, low, 1.0)
    counts = [np.histogram(clipped[own], edges)[0].tolist() for own in (numbers.matched, ~numbers.matched)]
    return tuple(zip(edges[:-1].tolist(), edges[1:].tolist(), *counts, strict=True))
