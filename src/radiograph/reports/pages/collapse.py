"""The page of `collapse`: rescued beside broken, inside what controls do, and every moved text with its baseline."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from radiograph.reports._figure import CANDIDATE, DOWN, FAINT, INK, REFERENCE, RULE, UP, drawing, svg

_CURVES = 6
_COLOURS = (REFERENCE, CANDIDATE, UP, DOWN, INK, FAINT)
MEANS = {
    "score": "collapse score",
    "loop": "loop share",
    "nll_band": "surprise of the plain model\n(MADs from healthy text)",
    "relevance": "relevance to the prompt\n(cosine beyond other prompts)",
    "next_token_entropy": "entropy of the next token, nats",
    "kl": "KL from no write, nats a token",
}
"""Metric to what its panel is called."""
Curves = Mapping[str, Sequence[Mapping[str, Any]]]


def figures(document: Mapping[str, Any]) -> dict[str, bytes]:
    """`doses`: rescued and broken against dose. `metrics`: means. `roc`: of the score. `map`: type × level."""
    drawn: dict[str, bytes] = {}
    curves = _curves(document["rows"])
    if curves:
        drawn["doses"] = _doses(curves, {band["condition"]: band for band in document["band"]})
        drawn["metrics"] = _metrics(curves, document["baseline_means"])
    if document["curve"]:
        drawn["roc"] = _roc(document)
    cells = document["by_factor"]
    if len({cell["b"] for cell in cells}) > 1 or len({cell["a"] for cell in cells}) > 1:
        drawn["map"] = _map(cells)
    return drawn


def view(document: Mapping[str, Any]) -> dict[str, Any]:
    """Moved texts, parted where they begin to differ; the chosen rows first."""
    pairs: list[dict[str, Any]] = []
    for pair in document["pairs"]:
        before, after = str(pair["before"]), str(pair["after"])
        same = _shared(before, after)
        pairs.append(
            {
                "pair": pair,
                "same": before[:same],
                "before": before[same:] or "(ends)",
                "after": after[same:] or "(ends)",
            }
        )
    return {"pairs": pairs, "chosen": [row for row in document["rows"] if row["condition"] in document["chosen"]]}


def _shared(before: str, after: str) -> int:
    """Characters that both begin with."""
    short = min(len(before), len(after))
    return next((k for k in range(short) if before[k] != after[k]), short)


def _curves(rows: Sequence[Mapping[str, Any]]) -> dict[str, list[Mapping[str, Any]]]:
    """Rows with a dose, by target, in the order of doses."""
    out: dict[str, list[Mapping[str, Any]]] = {}
    for row in rows:
        if row["dose"] is not None:
            out.setdefault(str(row["target"]), []).append(row)
    return {name: sorted(own, key=lambda r: float(r["dose"])) for name, own in list(out.items())[:_CURVES]}


def _doses(curves: Curves, bands: Mapping[str, Mapping[str, Any]]) -> bytes:
    """A row a target: rescued, broken and net, each inside what matched units do at the same doses."""
    shares = [row[key] / row["n"] for rows in curves.values() for row in rows for key in ("rescued", "broken")]
    top = max(0.1, 1.08 * max([*shares, *(band[key][2] for band in bands.values() for key in ("rescued", "broken"))]))
    with drawing(9.0, 0.5 + 2.3 * len(curves)) as figure:
        grid = figure.subplots(len(curves), 3, squeeze=False)
        for line, (name, rows) in zip(grid, curves.items(), strict=True):
            places = range(len(rows))
            for axes, (key, colour) in zip(line, (("rescued", DOWN), ("broken", UP), ("net", INK)), strict=True):
                known = [(x, bands[row["condition"]][key]) for x, row in zip(places, rows, strict=True)
                         if row["condition"] in bands]  # fmt: skip
                if known:
                    xs = [x for x, _ in known]
                    low, median, high = (list(column) for column in zip(*(band for _, band in known), strict=True))
                    axes.fill_between(xs, low, high, color=FAINT, alpha=0.2, linewidth=0, label="matched units, 5-95 %")
                    axes.plot(xs, median, color=FAINT, linewidth=1, linestyle="--", label="their median")
                    if len(xs) == 1:
                        axes.errorbar(xs, median, yerr=[[median[0] - low[0]], [high[0] - median[0]]], color=FAINT)
                values = [row["net"] if key == "net" else row[key] / row["n"] for row in rows]
                axes.plot(places, values, color=colour, marker="o", markersize=3.5, linewidth=1.3, label="tested unit")
                axes.axhline(0, color=RULE, linewidth=1, zorder=0)
                # One scale for all: a rescue is as large as it is beside the breakage.
                axes.set_ylim(-top if key == "net" else -0.03 * top, top)
                axes.set_title(f"{key}, share of pairs" if key != "net" else "net = rescued - broken", fontsize=9)
                _dose_axis(axes, rows)
            line[0].set_ylabel(_short(name), fontsize=8)
        if bands or len(curves) == 1:
            grid[0][0].legend(frameon=False, fontsize=7.5)
        return svg(figure, "doses", "Rescued, broken and net share against dose, with the band of matched units")


def _metrics(curves: Curves, baseline: Mapping[str, float | None]) -> bytes:
    """A panel a metric, a line a target; dashed: texts without a write."""
    known = [
        name for name in MEANS if any(row["means"].get(name) is not None for rows in curves.values() for row in rows)
    ]
    with drawing(9.0, 0.4 + 2.1 * -(-len(known) // 3)) as figure:
        grid = figure.subplots(-(-len(known) // 3), 3, squeeze=False)
        panels = [axes for line in grid for axes in line]
        for axes in panels[len(known) :]:
            axes.axis("off")
        for axes, metric in zip(panels, known, strict=False):
            if (base := baseline.get(metric)) is not None:
                axes.axhline(base, color=FAINT, linestyle="--", linewidth=1)
            for (name, rows), colour in zip(curves.items(), _COLOURS, strict=False):
                values = [float("nan") if row["means"][metric] is None else row["means"][metric] for row in rows]
                axes.plot(range(len(rows)), values, color=colour, marker="o", markersize=3, label=_short(name))
            axes.set_title(MEANS[metric], fontsize=8.5)
            _dose_axis(axes, max(curves.values(), key=len))
        if len(curves) > 1:
            panels[0].legend(frameon=False, fontsize=7)
        return svg(figure, "metrics", "Mean metrics of the texts against dose; dashed: without a write")


def _dose_axis(axes: Any, rows: Sequence[Mapping[str, Any]]) -> None:
    """Doses in order, in standard deviations where all have them; not to scale."""
    in_sd = all(row["dose_sd"] is not None for row in rows)
    labels = [f"{row['dose_sd']:+.1f}" if in_sd else f"{row['dose']:.3g}" for row in rows]
    axes.set_xticks(range(len(rows)), labels, rotation=60, fontsize=7)
    axes.set_xlabel("dose, in sd of the unit" if in_sd else "dose, as written", fontsize=8)
    axes.tick_params(axis="y", labelsize=7.5)


def _short(name: str) -> str:
    return name if len(name) <= 28 else f"{name[:27]}…"


def _roc(document: Mapping[str, Any]) -> bytes:
    with drawing(3.4, 3.2) as figure:
        axes = figure.subplots()
        axes.plot([0, 1], [0, 1], color=RULE)
        points = document["curve"]
        axes.plot([0.0, *(p[0] for p in points)], [0.0, *(p[1] for p in points)], color=REFERENCE)
        axes.set_xlabel("false alarms on fine texts")
        axes.set_ylabel("collapsed texts found")
        axes.set_title(f"held-out labels, area {document['roc']:.3f}", color=FAINT)
        return svg(figure, "roc", "ROC curve of the collapse score on held-out labels")


def _map(cells: Sequence[Mapping[str, Any]]) -> bytes:
    names = list(dict.fromkeys(str(cell["condition"]) for cell in cells))
    first = sorted({str(cell["a"]) for cell in cells})
    second = sorted({str(cell["b"]) for cell in cells})
    with drawing(3.6 * len(names), 0.9 + 0.42 * len(first)) as figure:
        grid = figure.subplots(1, len(names), squeeze=False)[0]
        for axes, name in zip(grid, names, strict=True):
            own = {(str(c["a"]), str(c["b"])): float(c["share"]) for c in cells if c["condition"] == name}
            table = [[own.get((a, b), float("nan")) for b in second] for a in first]
            axes.pcolormesh(table, vmin=0, vmax=1, cmap="Oranges")
            axes.invert_yaxis()
            for y, a in enumerate(first):
                for x, b in enumerate(second):
                    if (a, b) in own:
                        share = own[a, b]
                        colour = "white" if share > 0.6 else "black"
                        axes.text(x + 0.5, y + 0.5, f"{share:.0%}", ha="center", va="center", fontsize=8, color=colour)
            axes.set_xticks([x + 0.5 for x in range(len(second))], second)
            axes.set_yticks([y + 0.5 for y in range(len(first))], first)
            axes.set_title(name[:40], fontsize=8.5)
        return svg(figure, "map", "Share of collapsed texts by the first two factors of the grid")
