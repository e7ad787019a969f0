"""The figures of an audit. Each draws one question, and is left out where the answer is nothing.

Marks differ in shape as well as in colour. Shading is opacity over the paper, so that it reads on light and dark.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from radiograph.core import visible
from radiograph.reports._figure import CANDIDATE, DOWN, FAINT, INK, PAPER, REFERENCE, RULE, UP, drawing, svg
from radiograph.reports.pages.calibration._pool_figure import pool_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Document = Mapping[str, Any]
BARS = 12
MAP_PROMPTS, MAP_FEATURES = 20, 18
STRIPS, STRIP_DOTS = 14, 120
"""Rows, and the most divergent prompts of each; those whose answer changed come first."""
WIDTH = 10.8
"""Inches: the width of the page's column."""
NAMED_LAYERS = 40
"""Above this many layers a cell is too small for its value."""
KINDS = ("q", "k", "v", "o", "gate", "up", "down")


def figures(document: Document) -> dict[str, bytes]:
    """`divergence`, `feature_shifts`, `feature_map`, `random_control`, `weight_changes`: those that show something."""
    drawn = {name: draw(document) for name, draw in _FIGURES.items()}
    return {name: image for name, image in drawn.items() if image is not None}


def _calibrated(document: Document) -> bytes | None:
    """The candidate among the benign models, a row a detector."""
    found = document["calibration"]
    return None if found is None else pool_figure(found["detectors"], "calibrated", "The candidate among benign models")


def _divergence(document: Document) -> bytes | None:
    """One dot for each prompt: where the two models' next-token distributions part."""
    items = [i for i in (document["behaviour"] or {"items": []})["items"] if i["kl_mean"] is not None]
    if not any(i["kl_mean"] > 0 for i in items):
        return None
    rows = _rows(items)
    order = sorted(rows, key=lambda name: max(i["kl_mean"] for i in rows[name]))[-STRIPS:]
    for name in order:
        rows[name].sort(key=lambda i: (not i["flip"], i["same_text"], -i["kl_mean"]))
    floor = min(i["kl_mean"] for i in items if i["kl_mean"] > 0) / 2
    with drawing(WIDTH, 0.95 + 0.42 * len(order)) as figure:
        axes = figure.subplots()
        _log_axis(axes, floor, max(i["kl_mean"] for i in items))
        dots: dict[str, list[tuple[float, float]]] = {kind: [] for kind in _DOTS}
        for y, name in enumerate(order):
            for place, item in enumerate(rows[name][:STRIP_DOTS]):
                jitter = 0.17 * ((place * 0.618034) % 1 * 2 - 1)
                kind = "flip" if item["flip"] else "same" if item["same_text"] else "other"
                dots[kind].append((max(item["kl_mean"], floor), y + jitter))
        for kind, places in dots.items():
            across, up = zip(*places, strict=True) if places else ((), ())
            axes.plot(across, up, linestyle="none", **_DOTS[kind])
        axes.set_yticks(range(len(order)), [f"{visible(n, 30)} ({len(rows[n])})" for n in order], color=INK)
        axes.set_ylim(-0.6, len(order) - 0.4)
        axes.grid(axis="x")
        axes.spines["left"].set_visible(False)
        axes.set_xlabel("mean KL(candidate ‖ reference), nats per token, logarithmic")
        return svg(figure, "divergence", "Divergence of the two models on each prompt")


def _rows(items: Sequence[Document]) -> dict[str, list[Document]]:
    """Prompts by task, else by the group that they share with others, else by bank."""
    sizes = Counter(item["group"] for item in items)
    rows: dict[str, list[Document]] = {}
    for item in items:
        group = item["group"] if sizes[item["group"]] > 1 else None
        rows.setdefault(item["task"] or group or item["bank"], []).append(item)
    return rows


def _log_axis(axes: Axes, low: float, high: float) -> None:
    """A logarithmic axis with plain numbers: powers of ten, and steps between them where there are too few."""
    from matplotlib.ticker import LogLocator, NullLocator

    decades = math.log10(high / low)
    steps = (1.0,) if decades > 4 else (1.0, 2.0, 5.0) if decades > 1 else (1.0, 1.5, 2.0, 2.5, 3.0, 4.0, 5.0, 6.0, 8.0)
    axes.set_xscale("log")
    axes.xaxis.set_major_locator(LogLocator(subs=steps))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(lambda x, _: f"{x:g}")


_DOTS: dict[str, dict[str, Any]] = {
    "same": {"marker": "o", "mfc": "none", "mec": FAINT, "markersize": 4, "markeredgewidth": 0.9, "alpha": 0.8},
    "other": {"marker": "o", "color": REFERENCE, "markersize": 5.5, "mec": PAPER, "markeredgewidth": 0.6, "zorder": 2},
    "flip": {"marker": "D", "color": CANDIDATE, "markersize": 6, "mec": PAPER, "markeredgewidth": 0.6, "zorder": 3},
}
"""Answers that are the same, others, and others with another check; each kind is drawn at once, for there are many."""


def _feature_shifts(document: Document) -> bytes | None:
    """Mean shift of the leading features, and their activation in both models where they moved most."""
    totals, peaks = _totals(document)
    order = sorted(totals, key=lambda f: (-abs(totals[f]), f))[:BARS][::-1]
    if not any(totals[f] for f in order):
        return None
    labels = _labels(document)
    with drawing(WIDTH, 1.05 + 0.32 * len(order)) as figure:
        left, right = figure.subplots(1, 2, sharey=True, width_ratios=(1.1, 1))
        for y, feature in enumerate(order):
            total, peak = totals[feature], peaks[feature]
            left.barh(y, total, height=0.62, color=UP if total > 0 else DOWN)
            before, after = peak["reference_activation"], peak["candidate_activation"]
            right.plot([before, after], [y, y], "-", color=RULE, linewidth=3, solid_capstyle="round", zorder=1)
            right.plot(before, y, "o", color=PAPER, markeredgecolor=REFERENCE, markeredgewidth=1.6, markersize=6.5)
            right.plot(after, y, "D", color=CANDIDATE, markersize=6)
        left.axvline(0, color=FAINT, linewidth=0.9)
        left.set_yticks(range(len(order)), [_feature_name(f, labels) for f in order], color=INK)
        left.set_xlabel("mean shift over all prompts")
        right.set_xlabel("where it moved most: ○ reference  ◆ candidate")
        for axes in (left, right):
            axes.grid(axis="x")
            axes.spines["left"].set_visible(False)
        return svg(figure, "feature_shifts", "Features that shifted most")


def _feature_map(document: Document) -> bytes | None:
    """Prompts by features: a column is a drift that all share, a block is a change that some prompts set off."""
    totals, _ = _totals(document)
    features = sorted(totals, key=lambda f: (-abs(totals[f]), f))[:MAP_FEATURES]
    prompts = sorted(document["score"]["prompt_scores"], key=lambda p: (-p["score"], p["id"]))[:MAP_PROMPTS]
    column = {feature: x for x, feature in enumerate(features)}
    cells = [
        (column[d["feature_idx"]], y, d["corrected_diff"])
        for y, prompt in enumerate(prompts)
        for d in prompt["top_diffs"]
        if d["feature_idx"] in column
    ]
    largest = max((abs(v) for _, _, v in cells), default=0.0)
    if largest == 0:
        return None
    with drawing(WIDTH, 1.0 + 0.24 * len(prompts)) as figure:
        axes = figure.subplots()
        for x, y, value in cells:
            _cell(axes, x, y, UP if value > 0 else DOWN, 0.1 + 0.9 * abs(value) / largest)
            if value < 0:
                axes.plot([x - 0.18, x + 0.18], [y, y], "-", color=INK, linewidth=1)
        axes.set_xticks(range(len(features)), [f"#{f}" for f in features], rotation=45, ha="right")
        axes.set_yticks(range(len(prompts)), [visible(p["id"], 28) for p in prompts], color=INK)
        _frame(axes, len(features), len(prompts))
        return svg(figure, "feature_map", "Shift of each leading feature on each of the most shifted prompts")


def _random_control(document: Document) -> bytes | None:
    """The score beside the same score with dictionaries of random directions."""
    control, real = document["score"]["random_control"], document["score"]["aggregate_score"]
    if control is None or not control["scores"] or real is None or not any((real, *control["scores"])):
        return None
    with drawing(WIDTH, 1.25) as figure:
        axes = figure.subplots()
        axes.plot(
            control["scores"], [0] * len(control["scores"]), "o", color="none", markeredgecolor=FAINT, markersize=8
        )
        axes.plot(real, 0, "D", color=CANDIDATE, markersize=9)
        axes.annotate("this dictionary", (real, 0), (0, 10), textcoords="offset points", ha="center", color=INK)
        lowest = (min(control["scores"]), 0)
        axes.annotate("random ones", lowest, (-12, -3.5), textcoords="offset points", ha="right", color=FAINT)
        axes.set_xlim(left=0)
        axes.margins(x=0.1)
        axes.set_ylim(-0.5, 1)
        axes.set_yticks([])
        axes.spines["left"].set_visible(False)
        axes.set_xlabel("aggregate score")
        return svg(figure, "random_control", "Score of the dictionary beside random dictionaries")


def weight_changes(document: Document) -> bytes | None:
    """Relative change of every matrix, layer by kind."""
    matrices = [m for m in (document["weights"] or {"matrices": []})["matrices"] if m["relative"] is not None]
    largest = max((m["relative"] for m in matrices), default=0.0)
    if largest == 0:
        return None
    inner = {(m["layer"], m["kind"]): m["relative"] for m in matrices if m["layer"] is not None}
    kinds = [k for k in KINDS if any(kind == k for _, kind in inner)] or ["all"]
    ends = {m["kind"]: m["relative"] for m in matrices if m["layer"] is None}
    layers = sorted({layer for layer, _ in inner})
    names = [*(["embed"] if "embed" in ends else []), *layers, *(["unembed"] if "unembed" in ends else [])]
    write = len(names) <= NAMED_LAYERS
    with drawing(WIDTH, 0.6 + (0.34 if write else 0.14) * len(names)) as figure:
        axes = figure.subplots()
        for y, name in enumerate(names):
            if name in ends:
                _share(axes, (len(kinds) - 1) / 2, y, ends[name], largest, write=write, width=len(kinds))
            for x, kind in enumerate(kinds):
                _share(axes, x, y, inner.get((name, kind)), largest, write=write)
        axes.set_xticks(range(len(kinds)), kinds, color=INK)
        axes.xaxis.tick_top()
        step = 1 + len(names) // NAMED_LAYERS
        labels = [f"layer {name}" if isinstance(name, int) else name for name in names]
        axes.set_yticks(range(0, len(names), step), labels[::step], color=FAINT)
        _frame(axes, len(kinds), len(names))
        return svg(figure, "weight_changes", "Relative change of each weight matrix, layer by kind")


def _share(axes: Axes, x: float, y: int, value: float | None, largest: float, *, write: bool, width: float = 1) -> None:
    if value is None:
        return
    if value > 0:
        _cell(axes, x, y, CANDIDATE, 0.06 + 0.6 * value / largest, width)
    if write:
        text = f"{100 * value:.2g} %" if value else "·"
        axes.text(x, y, text, ha="center", va="center", color=INK if value else FAINT, fontsize=9)


def _cell(axes: Axes, x: float, y: float, colour: str, alpha: float, width: float = 1) -> None:
    from matplotlib.patches import Rectangle

    corner, size = (x - width / 2 + 0.03, y - 0.45), (width - 0.06, 0.9)
    axes.add_patch(Rectangle(corner, *size, facecolor=colour, edgecolor="none", alpha=round(alpha, 3)))


def _frame(axes: Axes, columns: int, rows: int) -> None:
    axes.set_xlim(-0.5, columns - 0.5)
    axes.set_ylim(rows - 0.5, -0.5)
    for side in axes.spines.values():
        side.set_visible(False)


def _totals(document: Document) -> tuple[dict[int, float], dict[int, Document]]:
    """Mean corrected shift over prompts (0 where a feature is not among a prompt's largest), and its strongest case."""
    prompts: Sequence[Document] = document["score"]["prompt_scores"]
    totals: dict[int, float] = {}
    peaks: dict[int, Document] = {}
    for prompt in prompts:
        for diff in prompt["top_diffs"]:
            feature = int(diff["feature_idx"])
            totals[feature] = totals.get(feature, 0.0) + diff["corrected_diff"] / len(prompts)
            if feature not in peaks or abs(diff["corrected_diff"]) > abs(peaks[feature]["corrected_diff"]):
                peaks[feature] = diff
    return totals, peaks


def _labels(document: Document) -> dict[int, str]:
    """Texts of explained features; a borrowed one says so, with its cosine."""
    found: dict[int, str] = {}
    for prompt in document["interp_evidence"]["per_prompt"]:
        for f in prompt["features"]:
            if f["label_kind"] == "direct" and f["explanation"]:
                found[f["feature_idx"]] = f["explanation"]
            elif f["label_kind"] == "proxy" and f["proxy_explanation"]:
                found[f["feature_idx"]] = f"proxy {f['proxy_explanation_cosine']:.2f}: {f['proxy_explanation']}"
    return found


def _feature_name(feature: int, labels: Mapping[int, str]) -> str:
    label = labels.get(feature)
    return f"{' '.join(visible(label, 34).split())}  #{feature}" if label else f"#{feature}"


_FIGURES: Mapping[str, Callable[[Document], bytes | None]] = {
    "calibrated": _calibrated,
    "divergence": _divergence,
    "feature_shifts": _feature_shifts,
    "feature_map": _feature_map,
    "random_control": _random_control,
    "weight_changes": weight_changes,
}
