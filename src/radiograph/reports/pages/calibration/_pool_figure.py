"""One row a detector: where benign models lie on its scale, and where the candidate lies among them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from radiograph.numerics.conformal import centre_and_spread
from radiograph.reports._figure import CANDIDATE, DOWN, FAINT, INK, PAPER, RULE, drawing, svg

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Document = Mapping[str, Any]
WIDTH = 10.8
LEFT, RIGHT = -5.0, 12.0
"""Robust deviations shown; what lies beyond stands at the edge, as an arrow."""


def pool_figure(rows: Sequence[Document], name: str, title: str) -> bytes | None:
    """Rows hold `id`, `scale`, `benign`, and of a candidate `score`, `p`, `frozen`; None where there is nothing."""
    if not rows:
        return None
    with drawing(WIDTH, 1.0 + 0.42 * len(rows)) as figure:
        axes = figure.subplots()
        for y, row in enumerate(reversed(rows)):
            _row(axes, y, row)
        axes.set_xlim(LEFT - 0.4, RIGHT + 2.6)
        axes.set_ylim(-0.6, len(rows) - 0.4)
        axes.axvline(0, color=RULE, linewidth=1.2, zorder=0)
        axes.set_xticks(range(int(LEFT) + 1, int(RIGHT) + 1, 2))
        axes.set_yticks(range(len(rows)), [r["id"] for r in reversed(rows)])
        for tick, row in zip(axes.get_yticklabels(), reversed(rows), strict=True):
            tick.set_color(INK if row["frozen"] else FAINT)
        axes.grid(axis="x")
        axes.spines["left"].set_visible(False)
        axes.set_xlabel("distance from the median of benign fine-tunes, in robust standard deviations")
        return svg(figure, name, title)


def _row(axes: Axes, y: int, row: Document) -> None:
    values = [_scaled(v, row["scale"]) for v in row["benign"]]
    centre, spread = (float(x[0, 0]) for x in centre_and_spread(np.array(values)[None, :, None]))
    if spread <= 0:
        spread = max((abs(v - centre) for v in values), default=0.0) or 1.0
    across = np.clip((np.array(values) - centre) / spread, LEFT, RIGHT)
    up = y + 0.24 * ((np.arange(len(values)) * 0.618034) % 1 * 2 - 1)
    axes.plot(across, up, "o", color=DOWN, markersize=3.2, alpha=0.45, markeredgewidth=0, zorder=1)
    score = row.get("score")
    if score is None:
        return
    x = (_scaled(score, row["scale"]) - centre) / spread
    mark = "<" if x < LEFT else ">" if x > RIGHT else "D"
    at = min(max(x, LEFT), RIGHT)
    axes.plot(at, y, mark, color=CANDIDATE, markersize=7.5, markeredgecolor=PAPER, markeredgewidth=0.7, zorder=3)
    if row.get("p") is not None:
        axes.text(RIGHT + 0.5, y, f"p {row['p']:.3g}", va="center", color=INK if row["frozen"] else FAINT, fontsize=9)


def _scaled(value: float, scale: str) -> float:
    return value if scale == "linear" else math.log(max(value, 1e-9))
