"""The page of `resonance capture`: what each write did to the texts, where in the grid, and some side by side."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from radiograph.reports._diff import word_diff
from radiograph.reports._figure import drawing, svg

Document = Mapping[str, Any]
METRICS = {
    "changed": "share of texts that differ from the one without writes",
    "shift": "mean |change| of a row's mean log-probability, nats a token",
}
DOSES = (
    ("dose_value", "dose", ".3g"),
    ("dose_raw", "raw", ".3g"),
    ("dose_sd", "sd", "+.2f"),
    ("dose_quantile", "natural quantile", ".3f"),
    ("dose_norm", "share of norm", ".3f"),
)
_LONG = 600
STOPS = {
    "stop": "reached an end token or stop text",
    "length": "used up their new tokens",
    "context": "filled the model's context",
    "non-finite": "broke: logits not finite",
}


def figures(document: Document) -> dict[str, bytes]:
    """`cells`: the metric over two factors, one panel a condition."""
    found = document["cells"]
    return {} if found is None else {"cells": _cells(found)}


def view(document: Document) -> dict[str, Any]:
    """Pairs as differences of words; conditions that write; words for stops."""
    pairs = [
        {"pair": pair, "diff": word_diff(str(pair["before"])[:_LONG], str(pair["after"])[:_LONG])}
        for pair in document["pairs"]
    ]
    written = [effect for effect in document["effects"] if effect["condition"] != "none"]
    return {
        "pairs": pairs,
        "written": written,
        "doses": [(k, *told) for k, *told in DOSES if any(effect[k] is not None for effect in written)],
        "broke": any("non-finite" in effect["stops"] for effect in written),
        "stops": STOPS,
        "metric": None if document["cells"] is None else METRICS[str(document["cells"]["metric"])],
    }


def _cells(found: Document) -> bytes:
    cells = found["cells"]
    names, first, second = (list(dict.fromkeys(str(c[k]) for c in cells)) for k in ("condition", "first", "second"))
    shares = found["metric"] == "changed"
    top = 1.0 if shares else max(float(c["value"]) for c in cells) or 1.0
    across = min(2, len(names))
    down = -(-len(names) // across)
    with drawing(10.8 if across == 2 else 6.4, down * (1.1 + 0.34 * len(first))) as figure:
        panels = figure.subplots(down, across, squeeze=False).ravel()
        for axes in panels[len(names) :]:
            axes.set_axis_off()
        for axes, name in zip(panels, names, strict=False):
            own = {(str(c["first"]), str(c["second"])): float(c["value"]) for c in cells if c["condition"] == name}
            table = [[own.get((a, b), float("nan")) for b in second] for a in first]
            axes.pcolormesh(table, vmin=0, vmax=top, cmap="Oranges", edgecolors="white", linewidth=1)
            axes.invert_yaxis()
            for (a, b), value in own.items():
                at = (second.index(b) + 0.5, first.index(a) + 0.5)
                colour = "white" if value > 0.6 * top else "black"
                text = f"{value:.0%}" if shares else f"{value:.2f}"
                axes.text(*at, text, ha="center", va="center", fontsize=8.5, color=colour)
            axes.set_xticks([x + 0.5 for x in range(len(second))], second)
            axes.set_yticks([y + 0.5 for y in range(len(first))], first)
            if len(found["factors"]) > 1:
                axes.set_xlabel(str(found["factors"][1]))
            axes.set_ylabel(str(found["factors"][0]))
            axes.set_title(name if len(name) < 60 else f"{name[:59]}…", loc="left", fontsize=9)
        return svg(figure, "cells", METRICS[str(found["metric"])])
