"""The page of `decompose train`: how many parts, how many a position needs, what is left of the model, and chance."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from radiograph.reports._figure import CANDIDATE, REFERENCE, drawing, svg

Document = Mapping[str, Any]
WIDTH, HEIGHT = 10.8, 2.9
_WORDS = {
    "importance": "importance",
    "unmasked": "all components, no Δ",
    "stochastic": "stochastic",
    "random": "random, whatever importance says",
    "rounded": "importance, rounded to 0 or 1",
    "zero": "nothing: every component off",
}


def figures(document: Document) -> dict[str, bytes]:
    """`training`: held-out loss and components per position; `weights`: alive and needed of each weight."""
    found: dict[str, bytes] = {}
    curve = document["curve"]
    if len(curve) > 1:
        from matplotlib.ticker import LogLocator, NullLocator

        with drawing(WIDTH, HEIGHT) as figure:
            left, right = figure.subplots(1, 2)
            steps = [point["step"] for point in curve]
            left.plot(steps, [point["total"] for point in curve], "o-", color=REFERENCE, markersize=3, linewidth=1.4)
            left.set_yscale("log")
            left.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
            left.yaxis.set_minor_locator(NullLocator())
            left.yaxis.set_major_formatter(lambda y, _: f"{y:g}")
            left.set_title("weighted loss on held-out rows", loc="left")
            right.plot(steps, [point["active"] for point in curve], "o-", color=REFERENCE, markersize=3, linewidth=1.4)
            right.set_ylim(bottom=0)
            right.set_title("components with importance above 0, per position", loc="left")
            for axes in (left, right):
                axes.grid(axis="y")
                axes.set_xlabel("step")
            found["training"] = svg(figure, "training", "Held-out loss and active components during training")
    weights = document["weights"]
    with drawing(WIDTH, 0.9 + 0.22 * len(weights)) as figure:
        axes = figure.subplots()
        places = range(len(weights))
        axes.barh(places, [w["alive"] for w in weights], color=REFERENCE, alpha=0.35, height=0.7)
        axes.barh(places, [w["l0"] for w in weights], color=CANDIDATE, height=0.35)
        axes.set_yticks(list(places), [w["address"] for w in weights])
        axes.invert_yaxis()
        axes.grid(axis="x")
        axes.set_title("components: wide, alive somewhere; narrow, needed at a position (mean)", loc="left")
        found["weights"] = svg(figure, "weights", "Alive and needed components of each weight")
    return found


def view(document: Document) -> dict[str, Any]:
    """Conditions in words."""
    return {
        "masks": [(_WORDS.get(str(m["condition"]), m["condition"]), m) for m in document["masks"]],
        "tokens": any(m["ce_difference"] is not None for m in document["masks"]),
    }
