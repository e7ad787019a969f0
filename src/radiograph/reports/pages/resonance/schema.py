"""The page of `resonance schema`: what chance gives, what was found beside it, one sentence; curves, arrows, a map."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from radiograph.reports._figure import CANDIDATE, FAINT, INK, PAPER, REFERENCE, RULE, drawing, svg

_SHOWN = 16
_WIDTH = 10.8


def figures(document: Mapping[str, Any]) -> dict[str, bytes]:
    """`measures` beside their null, `curves`, `arrows`; `grid1`, `grid2`: a number by the levels of two factors."""
    out = {f"grid{place}": _grid(cells, place) for place, cells in enumerate(document["maps"], start=1)}
    if rows := _comparable(document["measures"]):
        out["measures"] = _measures(rows)
    if document["curves"]:
        out["curves"] = _curves(document["curves"])
    if document["arrows"] is not None:
        out["arrows"] = _arrows(document["arrows"])
    return out


def view(document: Mapping[str, Any]) -> dict[str, Any]:
    """Figures below the sentence in order, and whether any measure has an interval."""
    more = [name for name in ("curves", "arrows") if document[name]]
    return {
        "more": [*more, *(f"grid{place}" for place in range(1, len(document["maps"]) + 1))],
        "intervals": any(m["low"] is not None for m in document["measures"]),
    }


def _comparable(measures: Any) -> list[Mapping[str, Any]]:
    """Measures of the statistic that most of those with a null have; each needs a null, a p or an interval."""
    known = [m for m in measures if m["null"] is not None and m["null_high"] is not None]
    names = [m["statistic"] for m in known]
    most = max(names, key=names.count, default=None)
    return [m for m in measures if m["statistic"] == most and (m in known or m["low"] is not None)][:_SHOWN]


def _measures(rows: list[Mapping[str, Any]]) -> bytes:
    """Dots over the span from the null's median to its 95 %: shape and colour both say which is which."""
    with drawing(_WIDTH, 1.0 + 0.3 * len(rows)) as figure:
        axes = figure.subplots()
        for place, row in enumerate(reversed(rows)):
            if row["null"] is not None:
                high = max(row["null_high"], row["null"])
                axes.plot([row["null"], high], [place, place], color=RULE, linewidth=7, solid_capstyle="butt")
                axes.plot([row["null"]] * 2, [place - 0.22, place + 0.22], color=FAINT, linewidth=1.4)
            if row["low"] is not None and row["high"] is not None:
                axes.plot([row["low"], row["high"]], [place, place], color=CANDIDATE, linewidth=1.2)
            axes.scatter([row["estimate"]], [place], marker="D", s=26, color=CANDIDATE, zorder=3, linewidths=0)
        axes.set_yticks(range(len(rows)), [row["what"][:60] for row in reversed(rows)])
        axes.set_ylim(-0.6, len(rows) - 0.4)
        if min(min(row["estimate"], row["null"] or 0.0) for row in rows) >= 0:
            axes.set_xlim(left=0)
        without = "; no bar: no null, or a law in place of draws" if any(row["null"] is None for row in rows) else ""
        axes.set_xlabel(f"{rows[0]['statistic']}; grey: null, median to 95 %{without}")
        axes.grid(axis="x")
        return svg(figure, "measures", "Each measure beside the median and the 95 % quantile of its null")


def _curves(curves: list[Mapping[str, Any]]) -> bytes:
    """Each number against the axis that was turned; the band is the null from its median to its 95 %."""
    with drawing(_WIDTH, 3.0) as figure:
        panels = figure.subplots(1, len(curves), squeeze=False)[0]
        for axes, curve in zip(panels, curves, strict=True):
            axes.fill_between(curve["x"], curve["null"], curve["null_high"], color=RULE, linewidth=0, label="null")
            axes.plot(curve["x"], curve["null"], color=FAINT, linewidth=1.2)
            axes.plot(curve["x"], curve["y"], color=CANDIDATE, marker="D", markersize=4, linewidth=1.6)
            axes.set_title(curve["title"], loc="left")
            axes.set_xlabel(curve["across"])
            axes.set_ylabel(curve["up"])
            axes.set_ylim(bottom=0)
            axes.grid(axis="y")
        found = [panels[0].lines[1], panels[0].collections[0]]
        figure.legend(found, ["measured", "null, median to 95 %"], frameon=False, loc="outside lower left", ncols=2)
        return svg(figure, "curves", "; ".join(f"{curve['title']} against {curve['across']}" for curve in curves))


def _arrows(found: Mapping[str, Any]) -> bytes:
    """Each row with its derivative, and the mean arrow beside the ring of chance."""
    with drawing(_WIDTH, 4.4) as figure:
        rows, mean = figure.subplots(1, 2)
        rows.quiver(
            found["x"], found["y"], found["dx"], found["dy"],
            angles="xy", scale_units="xy", scale=2.5, color=CANDIDATE, width=0.004,
        )  # fmt: skip
        rows.plot(found["x"], found["y"], "o", color=REFERENCE, markersize=4)
        rows.margins(0.15)
        rows.set_title(f"{found['title']}, drawn at 0.4 sd", loc="left")
        rows.set_xlabel("first axis of the plane")
        rows.set_ylabel("second axis")
        around = [2 * math.pi * step / 180 for step in range(181)]
        ring = found["null_high"]
        words = "95 % of mean arrows of random directions"
        mean.plot(
            [ring * math.cos(a) for a in around], [ring * math.sin(a) for a in around],
            color=FAINT, linewidth=1, linestyle=(0, (4, 3)), label=words,
        )  # fmt: skip
        line = {"arrowstyle": "-|>", "color": CANDIDATE, "linewidth": 2, "shrinkA": 0, "shrinkB": 0}
        mean.annotate("", found["mean"], (0, 0), arrowprops=line)
        far = 1.15 * max(ring, math.hypot(*found["mean"]))
        mean.set_xlim(-far, far)
        mean.set_ylim(-far, far)
        mean.set_box_aspect(1)
        mean.set_title("mean over prompts, Δz per sd", loc="left")
        mean.legend(frameon=False, loc="upper center", bbox_to_anchor=(0.5, -0.08))
        for axes in (rows, mean):
            axes.grid()
        return svg(figure, "arrows", "Where a push of one standard deviation takes each prompt, and their mean")


def _grid(cells: Mapping[str, Any], place: int) -> bytes:
    """Every cell says its number; the shade only helps."""
    values = [list(line) for line in cells["values"]]
    flat = [value for line in values for value in line]
    low, high = min(flat), max(flat)
    span = high - low or 1.0
    with drawing(2.4 + 1.1 * len(cells["columns"]), 1.1 + 0.5 * len(cells["rows"])) as figure:
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
