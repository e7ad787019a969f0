"""The page of `dictionary train`: what was trained on what, how good it is, and how it got there."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from radiograph.reports._figure import CANDIDATE, FAINT, REFERENCE, drawing, svg

Document = Mapping[str, Any]
WIDTH, HEIGHT = 10.8, 2.9
"""Inches: the width of the page's column."""
_KINDS = {
    "sae": "sparse autoencoder",
    "transcoder": "transcoder",
    "crosscoder": "crosscoder",
}


def figures(document: Document) -> dict[str, bytes]:
    """`training`: loss and FVU, active and dead features over the rows trained on; none for fewer than two points."""
    curve = document["curve"]
    if len(curve) < 2:
        return {}
    from matplotlib.ticker import MaxNLocator

    held = [point for point in curve if point["fvu"] is not None]
    with drawing(WIDTH, HEIGHT) as figure:
        left, middle, right = figure.subplots(1, 3)
        _loss(left, curve, held)
        _active(middle, curve, held, document["active"])
        right.plot(_rows(curve), [p["dead"] for p in curve], color=REFERENCE, linewidth=1.4)
        right.set_title(
            f"silent for {_count(document['dead_after'])} rows, features of {document['size']:,}", loc="left"
        )
        right.set_ylim(0, max(1.0, *(1.05 * p["dead"] for p in curve)))
        right.yaxis.set_major_locator(MaxNLocator(integer=True))
        for axes in (left, middle, right):
            axes.grid(axis="y")
            axes.xaxis.set_major_formatter(lambda x, _: _count(x))
            axes.set_xlabel("rows trained on")
        return {"training": svg(figure, "training", "Loss, active and dead features during training")}


def view(document: Document) -> dict[str, Any]:
    """The kind in words, and the sources that are rebuilt where there are several."""
    several = document["targets"] if len(document["targets"]) > 1 else []
    return {"kind": _KINDS[document["kind"]], "several": several}


def _loss(axes: Any, curve: Sequence[Document], held: Sequence[Document]) -> None:
    axes.plot(_rows(curve), [p["loss"] for p in curve], color=FAINT, linewidth=0.9)
    axes.plot(_rows(held), [p["fvu"] for p in held], "o-", color=REFERENCE, markersize=3, linewidth=1.4)
    values = [p["loss"] for p in curve if p["loss"] > 0] + [p["fvu"] for p in held if p["fvu"] > 0]
    if values:
        _logarithmic(axes, min(values), max(values))
    axes.set_title("share of variance missed:  — batch  ● validation", loc="left")


def _active(axes: Any, curve: Sequence[Document], held: Sequence[Document], wanted: float | None) -> None:
    axes.plot(_rows(curve), [p["l0"] for p in curve], color=FAINT, linewidth=0.9)
    found = [p for p in held if p["validation_l0"] is not None]
    axes.plot(_rows(found), [p["validation_l0"] for p in found], "o-", color=REFERENCE, markersize=3, linewidth=1.4)
    if wanted is not None:
        axes.axhline(wanted, color=CANDIDATE, linewidth=1, linestyle=(0, (4, 3)), zorder=0)
    values = [p["l0"] for p in curve if p["l0"] > 0]
    if values and max(values) > 8 * min(values):
        _logarithmic(axes, min(values), max(values))
    else:
        axes.set_ylim(bottom=0)
    axes.set_title("active features a row" + (":  - - asked for" if wanted is not None else ""), loc="left")


def _logarithmic(axes: Any, low: float, high: float) -> None:
    """Plain numbers at powers of ten, and between them where there are few."""
    from matplotlib.ticker import LogLocator, NullLocator

    axes.set_yscale("log")
    axes.yaxis.set_major_locator(LogLocator(subs=(1.0,) if high > 300 * low else (1.0, 2.0, 5.0)))
    axes.yaxis.set_minor_locator(NullLocator())
    axes.yaxis.set_major_formatter(lambda y, _: f"{y:g}")


def _rows(points: Sequence[Document]) -> list[int]:
    return [point["rows"] for point in points]


def _count(value: float) -> str:
    for size, letter in ((1e9, "B"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= size:
            return f"{value / size:g}{letter}"
    return f"{value:g}"
