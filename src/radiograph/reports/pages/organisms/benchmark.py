"""The page of `organisms benchmark`: which verdicts were due and given, what is detected, what is missed."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from radiograph.numerics.benchmark import roc_curve
from radiograph.reports._figure import CANDIDATE, FAINT, INK, REFERENCE, RULE, drawing, svg

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Document = Mapping[str, Any]
WIDTH = 10.8
COLUMNS = 5
VERDICTS = ("no-evidence", "degraded", "targeted-change", "degraded+targeted", "inconclusive")
DUE = {
    "no-evidence": "clean",
    "degraded": "degraded",
    "targeted-change": "targeted",
    "degraded+targeted": "both",
}
VARIANTS = ("all planted", "plain", "mixed", "adaptive", "both", "broken")


def figures(document: Document) -> dict[str, bytes]:
    """`roc`, `detection`, `uniformity`, `recovery`: those that have something to show."""
    drawn = {"roc": _roc, "detection": _detection, "uniformity": _uniformity, "recovery": _recovery}
    return {name: image for name, draw in drawn.items() if (image := draw(document)) is not None}


def view(document: Document) -> dict[str, Any]:
    """Rows in the order of the page."""
    metrics = document["metrics"]
    return {
        "due": DUE,
        "verdicts": VERDICTS,
        "grid": _grid(document),
        "rates": _matrix(metrics, [m for m in _names(metrics) if m.startswith("TPR")], VARIANTS),
        "alarms": [m for m in metrics if m["metric"].startswith("realised FPR") and _headline(m["group"])],
        "areas": _areas(metrics),
        "verdict_rows": [m for m in metrics if m["metric"] in _VERDICT_ROWS],
        "witnesses": [m for m in metrics if m["metric"] == "witness rate"],
        "triggers": [m for m in metrics if "trigger" in m["metric"] or "fresh answers" in m["metric"]],
        "causes": [m for m in metrics if "planted word" in m["metric"]],
        "costs": [m for m in metrics if m["metric"] == "tokens per model" and m["value"] is not None],
        "stability": [m for m in metrics if m["metric"].startswith("stability") and m["value"] is not None],
        "missing": _missing(metrics),
        "wrong": [o for o in document["outcomes"] if o["verdict"] != o["due"]],
    }


_VERDICT_ROWS = frozenset(
    {
        *("four-way accuracy", "right verdict", "abstention", "broken called targeted-change"),
        *("broken with targeted yes", "benign outside support", "benign with a witness"),
    }
)


def _headline(group: str) -> bool:
    return not group or group.startswith("worst family")


def _names(metrics: Sequence[Document]) -> list[str]:
    return list(dict.fromkeys(m["metric"] for m in metrics))


def _grid(document: Document) -> list[dict[str, Any]]:
    """One row a kind of model that is there."""
    cells = {(c["due"], c["verdict"]): c for c in document["confusion"]}
    rows: list[dict[str, Any]] = []
    for due, name in DUE.items():
        own = [cells[due, v] for v in VERDICTS if (due, v) in cells]
        total = sum(c["n"] for c in own)
        if total:
            rows.append(
                {
                    "name": name,
                    "due": due,
                    "n": int(total),
                    "cells": [
                        {"cell": c, "shade": round(c["n"] / total, 2), "right": c["verdict"] == due} for c in own
                    ],
                }
            )
    return rows


def _matrix(metrics: Sequence[Document], names: Sequence[str], first: Sequence[str]) -> dict[str, Any]:
    """Groups down, metrics across; known groups first."""
    found = {(m["metric"], m["group"]): m for m in metrics if m["metric"] in names and m["n"]}
    groups = list(dict.fromkeys(g for _, g in found))
    ordered = [g for g in first if g in groups] + [g for g in groups if g not in first]
    return {"names": names, "rows": [(g, [found.get((n, g)) for n in names]) for g in ordered]}


def _areas(metrics: Sequence[Document]) -> list[dict[str, Any]]:
    gaps = {m["group"]: m for m in metrics if m["metric"].startswith("AUROC minus")}
    rows = [m for m in metrics if m["metric"] == "AUROC" and m["value"] is not None]
    return [{"area": m, "gap": gaps.get(m["group"])} for m in sorted(rows, key=lambda m: -m["value"])]


def _missing(metrics: Sequence[Document]) -> list[dict[str, Any]]:
    """Reasons, each with all that it silences."""
    found: dict[str, list[str]] = {}
    for m in metrics:
        if m["reason"] is not None:
            found.setdefault(m["reason"], []).append(f"{m['metric']}{', ' + m['group'] if m['group'] else ''}")
    return [{"reason": why, "what": list(dict.fromkeys(what))} for why, what in found.items()]


def _roc(document: Document) -> bytes | None:
    """One small curve a detector, the best first."""
    rows = [(r["area"]["group"], r["area"]["value"]) for r in _areas(document["metrics"])]
    curves = [(name, area, curve) for name, area in rows if (curve := _curve(document, name)) is not None]
    if not curves:
        return None
    lines = math.ceil(len(curves) / COLUMNS)
    with drawing(WIDTH, 0.3 + 2.4 * lines) as figure:
        panels = figure.subplots(lines, COLUMNS, squeeze=False, sharex=True, sharey=True).ravel()
        for axes, (name, area, curve) in zip(panels, curves, strict=False):
            axes.plot([0, 1], [0, 1], color=RULE, linewidth=0.9, zorder=0)
            axes.plot(curve[:, 0], curve[:, 1], color=REFERENCE if name in _simple(document) else CANDIDATE)
            axes.set_title(name.replace(".", ".\n", 1), fontsize=8, color=INK, loc="left")
            axes.text(0.96, 0.06, f"{area:.2f}", ha="right", color=INK, fontsize=11)
            axes.set_aspect("equal")
            axes.set_xticks([0, 1])
            axes.set_yticks([0, 1])
        for axes in panels[len(curves) :]:
            axes.set_axis_off()
        figure.supxlabel("share of benign test models at or above a score", fontsize=9.5, color=FAINT)
        figure.supylabel("share of planted models", fontsize=9.5, color=FAINT)
        return svg(figure, "roc", "ROC of every detector")


def _simple(document: Document) -> Sequence[str]:
    return document["protocol"]["baselines"]


def _curve(document: Document, name: str) -> np.ndarray | None:
    sides = [
        np.array(list(_column([o for o in document["outcomes"] if o["part"] == part], name)), dtype=float)
        for part in ("planted", "test")
    ]
    return roc_curve(*sides) if all(len(side) for side in sides) else None


def _column(outcomes: Iterable[Document], name: str) -> Iterable[float]:
    for o in outcomes:
        value = o["statistic"] if name == "combined" else o["scores"].get(name)
        if value is not None:
            yield value


def _detection(document: Document) -> bytes | None:
    """Detected share of each family, with its interval, at every rate."""
    found = _matrix(document["metrics"], [m for m in _names(document["metrics"]) if m.startswith("TPR")], VARIANTS)
    if not found["rows"]:
        return None
    with drawing(WIDTH, 1.0 + 0.34 * len(found["rows"])) as figure:
        axes = figure.subplots()
        for line, (_, cells) in enumerate(found["rows"]):
            for place, cell in enumerate(cells):
                if cell is None or cell["value"] is None:
                    continue
                y = line + 0.18 * (place - (len(cells) - 1) / 2)
                colour = (CANDIDATE, REFERENCE)[place % 2]
                axes.plot([cell["low"], cell["high"]], [y, y], color=colour, linewidth=1.4)
                axes.plot([cell["value"]], [y], "oD"[place % 2], color=colour, markersize=5)
        axes.set_yticks(range(len(found["rows"])), [_sized(group, cells) for group, cells in found["rows"]])
        axes.set_ylim(len(found["rows"]) - 0.5, -0.5)
        axes.set_xlim(-0.02, 1.02)
        axes.set_xlabel("share detected, 95 % interval over models")
        axes.grid(axis="x")
        for place, name in enumerate(found["names"]):
            axes.plot([], [], "oD"[place % 2], color=(CANDIDATE, REFERENCE)[place % 2], label=name)
        _legend(axes)
        return svg(figure, "detection", "Detected share by family")


def _sized(group: str, cells: Sequence[Document | None]) -> str:
    n = next((c["n"] for c in cells if c is not None), 0)
    return f"{group}  ({n})"


def _uniformity(document: Document) -> bytes | None:
    """P-values of benign test models in ten bins."""
    found = document["uniformity"]
    if found is None:
        return None
    expected = found["n"] / len(found["counts"])
    spread = 1.96 * math.sqrt(expected * (1 - 1 / len(found["counts"])))
    with drawing(WIDTH, 2.4) as figure:
        axes = figure.subplots()
        axes.axhspan(max(0.0, expected - spread), expected + spread, color=RULE, alpha=0.45, zorder=0, linewidth=0)
        axes.axhline(expected, color=INK, linewidth=0.9, linestyle=(0, (4, 3)))
        places = [(i + 0.5) / len(found["counts"]) for i in range(len(found["counts"]))]
        axes.bar(places, found["counts"], width=0.092, color=REFERENCE)
        axes.set_xlim(0, 1)
        axes.set_xlabel("combined p of benign test models, ties broken by chance")
        axes.set_ylabel("models")
        return svg(figure, "uniformity", "P-values of benign test models")


def _recovery(document: Document) -> bytes | None:
    """Share of planted insertions that led a stage, against tokens read."""
    rows = document["recoveries"]
    if not rows:
        return None
    with drawing(WIDTH, 2.8) as figure:
        axes = figure.subplots()
        families = sorted({r["family"] for r in rows})
        marks = ((CANDIDATE, "-"), (REFERENCE, "-"), (INK, "-"), (FAINT, "--"))
        end = max(r["total"] for r in rows)
        for place, family in enumerate(families):
            own = [r for r in rows if r["family"] == family]
            when = sorted(r["tokens"] for r in own if r["tokens"] is not None)
            xs = [min([*when, end]) / 3, *when, end]
            ys = [0, *((i + 1) / len(own) for i in range(len(when))), len(when) / len(own)]
            colour, style = marks[place % len(marks)]
            axes.step(xs, ys, where="post", color=colour, linestyle=style, label=f"{family} ({len(own)})")
        axes.set_xscale("log")
        axes.xaxis.set_major_formatter(lambda x, _: f"{x:,.0f}")
        axes.xaxis.set_minor_formatter(lambda x, _: "")
        axes.set_ylim(-0.03, 1.05)
        axes.set_xlabel("tokens that the candidate had read, logarithmic")
        axes.set_ylabel("planted insertion had led")
        axes.grid(axis="y")
        _legend(axes)
        return svg(figure, "recovery", "Trigger recovery against budget")


def _legend(axes: Axes) -> None:
    axes.legend(frameon=False, fontsize=9, loc="upper left", bbox_to_anchor=(1.0, 1.0))
