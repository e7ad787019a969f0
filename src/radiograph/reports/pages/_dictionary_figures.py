"""The figures of a dictionary's evaluation. Each draws one question, and is left out where it was not asked.

What knows nothing is an outline, the dictionary is filled: they differ in shape as well as in colour.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from radiograph.reports._figure import CANDIDATE, DOWN, FAINT, INK, PAPER, REFERENCE, UP, drawing, svg

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Document = Mapping[str, Any]
WIDTH = 10.8
COLOURS = (REFERENCE, CANDIDATE, UP, DOWN)
MARKS = ("o", "D", "^", "s")
STATES = {"exclusive": ("D", CANDIDATE), "attenuated": ("^", UP), "shared": ("o", REFERENCE)}
CLIP = 1.6
"""Largest |ν| drawn; beyond it a point stands at the edge."""


def figures(document: Document) -> dict[str, bytes]:
    """`density`, `fvu_bands`, `neighbours`, `curve`, `exclusivity`: those that show something."""
    drawn = {name: draw(document) for name, draw in _FIGURES.items()}
    return {name: image for name, image in drawn.items() if image is not None}


def _density(document: Document) -> bytes | None:
    """How many features fire how often."""
    found = document["densities"]
    if found is None or not any(found["histogram"]):
        return None
    edges = [-7 + i / 10 for i in range(71)]
    with drawing(WIDTH, 2.6) as figure:
        axes = figure.subplots()
        axes.bar(edges[:-1], found["histogram"], width=0.1, align="edge", color=REFERENCE, label="this dictionary")
        if found["random"] is not None:
            axes.stairs(found["random"], edges, color=INK, linewidth=1.1, label="random directions, same L0")
        bound = math.log10(found["dead_below"])
        for place, text, side in ((bound, "3 / n", "right"), (-1.0, "dense", "left")):
            axes.axvline(place, color=INK, linewidth=0.9, linestyle=(0, (3, 3)))
            offset = -4 if side == "right" else 4
            axes.annotate(
                text,
                (place, 0.97),
                (offset, 0),
                xycoords=("data", "axes fraction"),
                textcoords="offset points",
                ha=side,
                va="top",
                color=INK,
            )
        low = min([i for i, n in enumerate(found["histogram"]) if n], default=0)
        axes.set_xlim(min(edges[low], bound) - 0.4, 0)
        axes.set_xticks(range(math.ceil(min(edges[low], bound) - 0.4), 1))
        axes.xaxis.set_major_formatter(lambda x, _: f"{10.0**x:g}")
        axes.set_xlabel("share of tokens on which a feature fires, logarithmic")
        axes.set_ylabel("features")
        _whole(axes)
        _legend(axes)
        return svg(figure, "density", "How often features fire")


def _fvu_bands(document: Document) -> bytes | None:
    """Where the dictionary is bad: early tokens, short rows, long rows."""
    if not document["bands"]:
        return None
    sources = list(dict.fromkeys(band["source"] for band in document["bands"]))[: len(COLOURS)]
    whole = {m["source"]: m["estimate"]["value"] for m in document["metrics"] if m["name"] == "fvu"}
    with drawing(WIDTH, 2.9) as figure:
        panels = figure.subplots(1, 2, sharey=True)
        for axes, by in zip(panels, ("position", "norm"), strict=True):
            for place, source in enumerate(sources):
                bands = [b for b in document["bands"] if (b["source"], b["by"]) == (source, by)]
                _points(axes, bands, place, len(sources))
                overall = whole.get(source if len(sources) > 1 else None)
                if overall is not None:
                    axes.axhline(overall, color=COLOURS[place], linewidth=0.9, linestyle=(0, (3, 3)))
            bands = [b for b in document["bands"] if (b["source"], b["by"]) == (sources[0], by)]
            names = [_span(b) for b in bands] if by == "position" else [f"{b['low']:.3g}" for b in bands]
            axes.set_xticks(range(len(names)), names, rotation=45 if by == "norm" else 0)
            axes.set_xlabel("token position in its text" if by == "position" else "norm of the activation, from")
            axes.grid(axis="y")
        panels[0].set_ylim(bottom=0)
        panels[0].set_ylabel("FVU")
        if len(sources) > 1:
            _legend(panels[0])
        return svg(figure, "fvu_bands", "FVU by position and by norm")


def _points(axes: Axes, bands: Sequence[Document], place: int, of: int) -> None:
    shift = 0.16 * (place - (of - 1) / 2)
    for x, band in enumerate(bands):
        fvu = band["fvu"]
        if fvu["low"] is not None:
            axes.plot([x + shift] * 2, [fvu["low"], fvu["high"]], "-", color=COLOURS[place], linewidth=1.6)
    label = bands[0]["source"] if bands else ""
    axes.plot(
        [x + shift for x in range(len(bands))],
        [band["fvu"]["value"] for band in bands],
        MARKS[place],
        color=COLOURS[place],
        markersize=5.5,
        markeredgecolor=PAPER,
        markeredgewidth=0.6,
        label=label,
    )


def _span(band: Document) -> str:
    low, high = int(band["low"]), band["high"]
    if high is None:
        return f"{low}+"
    return str(low) if int(high) - low == 1 else f"{low}-{int(high) - 1}"


def _neighbours(document: Document) -> bytes | None:
    """How close decoder rows lie to each other."""
    found = document["geometry"]
    if not any(found["nearest"]):
        return None
    edges = [-1 + i / 20 for i in range(41)]
    # Fewer random rows may have been looked at: both are drawn as shares.
    shares = [[n / max(1, sum(counts)) for n in counts] for counts in (found["nearest"], found["random"])]
    with drawing(WIDTH, 2.3) as figure:
        axes = figure.subplots()
        axes.bar(edges[:-1], shares[0], width=0.05, align="edge", color=REFERENCE, label="this dictionary")
        axes.stairs(shares[1], edges, color=INK, linewidth=1.1, label="as many random directions")
        axes.axvline(0.95, color=INK, linewidth=0.9, linestyle=(0, (3, 3)))
        axes.annotate(
            "duplicates",
            (0.95, 0.97),
            (-4, 0),
            xycoords=("data", "axes fraction"),
            textcoords="offset points",
            ha="right",
            va="top",
            color=INK,
        )
        axes.set_xlim(min(0.0, *(e for e, *n in zip(edges, *shares, strict=False) if any(n))), 1)
        axes.yaxis.set_major_formatter(lambda y, _: f"{100 * y:.0f} %")
        axes.set_xlabel("cosine of a decoder row with its nearest other row")
        axes.set_ylabel("rows")
        _legend(axes)
        return svg(figure, "neighbours", "Nearest neighbours among decoder rows")


def _curve(document: Document) -> bytes | None:
    """The run that made the dictionary."""
    points = [p for p in document["curve"] if "rows" in p]
    if len(points) < 2:
        return None
    panels = [
        (name, label) for name, label in (("loss", "training loss"), ("fvu", "validation FVU")) if _has(points, name)
    ]
    if not panels:
        return None
    with drawing(WIDTH, 2.4) as figure:
        every = figure.subplots(1, len(panels), squeeze=False)[0]
        for axes, (name, label) in zip(every, panels, strict=True):
            line = [(p["rows"], p[name]) for p in points if name in p]
            marks = "o-" if len(line) < 40 else "-"
            axes.plot([x for x, _ in line], [y for _, y in line], marks, color=REFERENCE, linewidth=1.4, markersize=3.5)
            axes.set_ylim(bottom=0)
            axes.xaxis.set_major_formatter(
                lambda x, _: f"{x / 1e6:g} M" if x >= 1e6 else f"{x / 1e3:g} k" if x else "0"
            )
            axes.set_xlabel("rows trained on")
            axes.set_ylabel(label)
            axes.grid(axis="y")
        return svg(figure, "curve", "Loss while the dictionary was trained")


def _exclusivity(document: Document) -> bytes | None:
    """What the norms suggest against what the rows hold."""
    records = [r for r in document["exclusivity"] if any(f["nu_error"] is not None for f in r["features"])]
    if not records:
        return None
    with drawing(WIDTH, 3.6) as figure:
        every = figure.subplots(1, min(len(records), 3), squeeze=False, sharey=True)[0]
        for axes, record in zip(every, records, strict=False):
            for low, high in ((0, 0.1), (0.9, 1)):
                axes.axvspan(low, high, color=FAINT, alpha=0.1, linewidth=0)
            for level in (0.2, 0.8):
                axes.axhline(level, color=INK, linewidth=0.9, linestyle=(0, (3, 3)))
            shown = [f for f in record["features"] if f["nu_error"] is not None]
            _scatter(axes, [f for f in shown if f["role"] == "random_direction"], ".", FAINT, "random directions")
            _scatter(axes, [f for f in shown if f["role"] == "copy"], "x", INK, "reference beside its own copy")
            _scatter(axes, [f for f in shown if f["role"] == "shared"], "+", FAINT, "features of equal norms")
            for state, (mark, colour) in STATES.items():
                mine = [f for f in shown if f["role"] == "nominee" and f["state"] == state]
                _scatter(axes, mine, mark, colour, f"{state} ({len(mine)})")
            axes.set_xlim(-0.03, 1.03)
            axes.set_ylim(-CLIP, CLIP)
            axes.set_xlabel(f"share of the decoder norm in {record['candidate']}")
        every[0].set_ylabel("ν: what the weak side has of it")
        every[-1].legend(frameon=False, loc="upper left", bbox_to_anchor=(1, 1))
        return svg(figure, "exclusivity", "Norms nominate, rows decide: exclusivity of features")


def _scatter(axes: Axes, features: Iterable[Document], mark: str, colour: str, label: str) -> None:
    points = [(f["rho"], max(-CLIP, min(CLIP, f["nu_error"]))) for f in features]
    if points:
        edge = {} if mark in "x+" else {"markeredgecolor": PAPER, "markeredgewidth": 0.5}
        axes.plot(
            [x for x, _ in points], [y for _, y in points], mark, color=colour, markersize=5.5, label=label, **edge
        )


def _has(points: Sequence[Document], name: str) -> bool:
    return sum(name in p for p in points) > 1


def _legend(axes: Axes) -> None:
    """Above the axes, where no mark can stand."""
    axes.legend(frameon=False, loc="lower left", bbox_to_anchor=(0, 1), ncols=2, borderaxespad=0.2)


def _whole(axes: Axes) -> None:
    from matplotlib.ticker import MaxNLocator

    axes.yaxis.set_major_locator(MaxNLocator(integer=True, nbins=5))


_FIGURES: Mapping[str, Callable[[Document], bytes | None]] = {
    "density": _density,
    "fvu_bands": _fvu_bands,
    "neighbours": _neighbours,
    "curve": _curve,
    "exclusivity": _exclusivity,
}
