"""What a plane looks like: compasses, curves with cones, an overlay, violins beside their null, a map.

A group keeps its colour and mark through every figure; marks differ too, so that colour is never the only sign.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np

from radiograph.reports._figure import CANDIDATE, DOWN, FAINT, INK, PAPER, REFERENCE, RULE, UP, drawing, svg

Document = Mapping[str, Any]
Axes = Any
WIDTH = 10.8
COLOURS = (REFERENCE, CANDIDATE, INK, UP, FAINT, DOWN)
MARKS = "o^sDvP"
_LONG = 44
NULLS = {
    "labels": "labels exchanged within cores",
    "matched": "units alike in mean, spread and firing rate",
    "gaussian": "planes with the covariance of the rows",
    "pool": "features of the same firing-rate decile",
    "haar": "random planes",
}
"""Nulls as a stranger would call them."""


def compass(document: Document) -> bytes | None:
    """Rows, Grey arrows, the axes as they lie, and two rings: what chance does to a row, and to a mean."""
    found = document["compass"][:2]
    if not found:
        return None
    with drawing(WIDTH, 7.0) as figure:
        for axes, plane in _panels(figure, found):
            _compass(axes, plane)
        return svg(figure, "compass", "Rows and Grey vectors in the plane, with null rings")


def _compass(axes: Axes, plane: Document) -> None:
    points = [p for group in plane["groups"] for p in group["points"]]
    far = max([math.hypot(*p) for p in points] + [plane["row_ring"], plane["mean_ring"], 1e-9]) * 1.12
    around = np.linspace(0, 2 * np.pi, 181)
    for radius, dash, words in (
        (plane["row_ring"], (0, (2, 3)), "95 % of single isotropic rows"),
        (plane["mean_ring"], (0, (5, 3)), f"95 % of means: {NULLS.get(plane['ring_of'], plane['ring_of'])}"),
    ):
        axes.plot(
            radius * np.cos(around), radius * np.sin(around), color=FAINT, linewidth=1, linestyle=dash, label=words
        )
    # Names of nearly parallel vectors would cover each other and the rows: the axes carry symbols, the title names.
    for angle, label, side in ((0.0, "b₁", "top"), (plane["second_angle"], "b₂", "bottom")):
        x, y = far * math.cos(math.radians(angle)), far * math.sin(math.radians(angle))
        axes.plot([-x, x], [-y, y], color=RULE, linewidth=1, zorder=0)
        axes.annotate(label, (x, y), ha="right" if x > 0 else "left", va=side, color=FAINT, fontsize=9)
    for place, group in enumerate(plane["groups"]):
        colour, mark = COLOURS[place % 6], MARKS[place % 6]
        x, y = zip(*group["points"], strict=True) if group["points"] else ((), ())
        axes.plot(x, y, mark, color=colour, markersize=3.2, alpha=0.45, markeredgewidth=0)
        gx, gy = group["grey"]
        axes.annotate("", (gx, gy), (0, 0), arrowprops={"arrowstyle": "-|>", "color": colour, "linewidth": 2})
        axes.plot([gx], [gy], mark, color=colour, markersize=7, markeredgecolor=PAPER, label=_short(group["name"]))
    axes.set_box_aspect(1)
    axes.set_xlim(-far, far)
    axes.set_ylim(-far, far)
    axes.set_xticks([])
    axes.set_yticks([])
    axes.spines[:].set_visible(False)
    circular = ", circular" if plane["circular"] else ""
    one, two = (_short(label, 26) for label in plane["labels"])
    title = f"b₁ {one}\nb₂ {two}, at {plane['second_angle']:.0f}°\n{plane['transform']}{circular}"
    axes.set_title(title, loc="left", fontsize=9.5)
    axes.legend(frameon=False, loc="upper center", bbox_to_anchor=(0.5, 0.0), ncols=2, fontsize=8.5)


def curves(document: Document) -> bytes | None:
    """Mean similarity against the angle, cone fractions on a second axis."""
    found = document["compass"][:2]
    if not found:
        return None
    with drawing(WIDTH, 3.4) as figure:
        for axes, plane in _panels(figure, found):
            angles = np.array(plane["angles"])
            cones = axes.twinx()
            for place, group in enumerate(plane["groups"]):
                colour = COLOURS[place % 6]
                theta = np.radians(angles)
                mean = group["grey"][0] * np.cos(theta) + group["grey"][1] * np.sin(theta)
                axes.plot(angles, mean, color=colour, linewidth=1.8, label=_short(group["name"]))
                step = max(1, len(angles) // 8)
                axes.plot(angles[::step], mean[::step], MARKS[place % 6], color=colour, markersize=5)
                cones.plot(angles, plane["cones"][place][0], color=colour, linewidth=1, linestyle=(0, (1, 2)))
            axes.axhspan(-plane["mean_ring"], plane["mean_ring"], color=FAINT, alpha=0.12, linewidth=0)
            for angle in (0, plane["second_angle"]):
                axes.axvline(angle, color=RULE, linewidth=1, zorder=0)
            axes.set_xticks(range(0, 361, 90))
            axes.set_xlabel("angle, degrees")
            axes.set_title(f"{_short(plane['plane'])}, {plane['transform']}", loc="left")
            cones.set_ylim(0, 1)
            cones.set_ylabel(f"dotted: share of rows in the cone of {plane['epsilons'][0]:g}")
        figure.axes[0].set_ylabel("mean cosine; band: the null")
        figure.axes[0].legend(frameon=False, loc="lower left", fontsize=8.5)
        return svg(figure, "curves", "Mean similarity and cone fractions against the angle")


def overlay(document: Document) -> bytes | None:
    """Every drawn plane on one dial: mean curves, and a bar where each peaks. Their zeros differ."""
    found = document["compass"]
    if len(found) < 2:
        return None
    with drawing(WIDTH, 4.6) as figure:
        axes = figure.subplots(subplot_kw={"projection": "polar"})
        for place, plane in enumerate(found):
            group = plane["groups"][0]
            theta = np.radians(np.array([*plane["angles"], plane["angles"][0]]))
            mean = group["grey"][0] * np.cos(theta) + group["grey"][1] * np.sin(theta)
            colour = COLOURS[place % 6]
            words = f"{_short(plane['plane'])}, {plane['transform']}: {_short(group['name'])}"
            axes.plot(theta, np.maximum(mean, 0), color=colour, linewidth=1.4, label=words)
            peak = math.atan2(group["grey"][1], group["grey"][0])
            axes.bar([peak], [math.hypot(*group["grey"])], width=0.05, color=colour, alpha=0.5)
        axes.set_yticks([])
        axes.legend(frameon=False, loc="center left", bbox_to_anchor=(1.12, 0.5), fontsize=8.5)
        return svg(figure, "overlay", "Mean curves of several planes on one dial")


def violins(document: Document) -> bytes | None:
    """R over all planes of a basis, beside 95 % of the null of the same planes."""
    found = [spread for spread in document["spreads"] if len(spread["r"]) > 2][:10]
    if not found:
        return None
    with drawing(WIDTH, 1.4 + 0.42 * len(found)) as figure:
        axes = figure.subplots()
        for place, spread in enumerate(found):
            sides: tuple[tuple[Sequence[float], str, Literal["high", "low"]], ...]
            sides = ((spread["r"], REFERENCE, "high"), (spread["null"], FAINT, "low"))
            for values, colour, side in sides:
                if max(values) - min(values) > 1e-12:
                    parts = axes.violinplot(
                        [list(values)], [place], orientation="horizontal", widths=0.85, showextrema=False, side=side
                    )
                    bodies: Any = parts["bodies"]
                    for body in bodies:
                        body.set(facecolor=colour, alpha=0.55, edgecolor=colour)
                axes.plot([float(np.median(values))], [place], "|", color=colour, markersize=14)
        names = [f"{s['basis']}, {s['transform']}: {_short(s['group'])}" for s in found]
        axes.set_yticks(range(len(found)), names)
        axes.invert_yaxis()
        axes.set_xlim(left=0)
        axes.grid(axis="x")
        axes.set_xlabel("r of the Grey vector over planes (coloured), 95 % of its null in the same planes (grey)")
        return svg(figure, "violins", "Length of the Grey vector over planes, beside its null")


def planes_map(document: Document) -> bytes | None:
    """Planes laid out by principal angles; a number marks a cluster, the size is r."""
    found = document["maps"][:2]
    if not found:
        return None
    with drawing(WIDTH, 3.8) as figure:
        for axes, plane in _panels(figure, found):
            largest = max(plane["r"]) or 1.0
            sizes = [20 + 160 * r / largest for r in plane["r"]]
            colours = [COLOURS[c % 6] for c in plane["cluster"]]
            axes.scatter(plane["x"], plane["y"], s=sizes, c=colours, alpha=0.7, edgecolors=PAPER, linewidths=0.6)
            if len(plane["x"]) <= 40:
                for x, y, cluster in zip(plane["x"], plane["y"], plane["cluster"], strict=True):
                    axes.annotate(str(cluster + 1), (x, y), (4, 4), textcoords="offset points", fontsize=8, color=INK)
            clusters = max(plane["cluster"]) + 1
            words = "1 cluster" if clusters == 1 else f"{clusters} clusters"
            axes.set_title(f"{plane['basis']}, {plane['transform']}: {words}", loc="left")
            # Planes that coincide lie within rounding of each other: an axis of its own would show that as a spread.
            for values, limits in ((plane["x"], axes.set_xlim), (plane["y"], axes.set_ylim)):
                middle, half = (max(values) + min(values)) / 2, max(5.0, 0.56 * (max(values) - min(values)))
                limits(middle - half, middle + half)
            axes.ticklabel_format(useOffset=False)
            axes.set_xlabel("degrees")
            axes.grid()
        return svg(figure, "planes", "Planes by their principal angles")


def arrows(document: Document) -> bytes | None:
    """Where groups stood and where they went, in the most surprising planes."""
    found = _planes(document["moved"])[:2]
    if not found:
        return None
    with drawing(WIDTH, 7.2) as figure:
        for axes, rows in _panels(figure, found):
            far = 1.15 * max(1e-9, *(abs(v) for row in rows for v in (*row["left"], *row["right"])))
            axes.axhline(0, color=RULE, linewidth=1, zorder=0)
            axes.axvline(0, color=RULE, linewidth=1, zorder=0)
            for place, row in enumerate(rows[:6]):
                colour, mark = COLOURS[place % 6], MARKS[place % 6]
                line = {"arrowstyle": "-|>", "color": colour, "linewidth": 1.8, "shrinkA": 0, "shrinkB": 0}
                axes.annotate("", row["right"], row["left"], arrowprops=line)
                words = f"{_short(row['group'])} (q {row['q']:.2g})" if row["q"] is not None else _short(row["group"])
                axes.plot([row["left"][0]], [row["left"][1]], mark, color=colour, markersize=6, label=words)
                if row["direct"] is not None:
                    axes.plot([row["direct"][0]], [row["direct"][1]], "x", color=colour, markersize=7)
            axes.set_box_aspect(1)
            axes.set_xlim(-far, far)
            axes.set_ylim(-far, far)
            axes.grid()
            axes.set_title(f"{_short(rows[0]['plane'])}, {rows[0]['transform']}", loc="left")
            axes.legend(frameon=False, loc="upper center", bbox_to_anchor=(0.5, -0.08), fontsize=8.5)
        return svg(figure, "arrows", "Grey vectors before and after")


def _panels(figure: Any, found: Sequence[Any]) -> list[tuple[Axes, Any]]:
    """Two panels beside each other, the second empty where there is one thing to draw."""
    every = figure.subplots(1, 2, squeeze=False)[0]
    for axes in every[len(found) :]:
        axes.set_axis_off()
    return list(zip(every, found, strict=False))


def _planes(rows: Sequence[Document]) -> list[list[Document]]:
    """Movements by plane, in the order of the first."""
    out: dict[tuple[str, ...], list[Document]] = {}
    for row in rows:
        out.setdefault((row["basis"], row["transform"], row["plane"]), []).append(row)
    return list(out.values())


def _short(text: str, most: int = _LONG) -> str:
    return text if len(text) <= most else f"{text[: most - 1]}…"
