"""The page of `collapse`: rescued beside broken, inside what controls do, and every moved text with its baseline."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from radiograph.reports._figure import CANDIDATE, DOWN, FAINT, INK, REFERENCE, RULE, UP, drawing, svg

_CURVES = 6


def figures(document: Mapping[str, Any]) -> dict[str, bytes]:
    """`doses`: rescue and breakage against dose. `scores`: mean score. `roc`: of the score. `map`: type × level."""
    drawn: dict[str, bytes] = {}
    curves = _curves(document["rows"])
    if curves:
        drawn["doses"] = _doses(curves, document["controls"])
        drawn["scores"] = _scores(curves)
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


def _doses(curves: Mapping[str, Sequence[Mapping[str, Any]]], controls: Sequence[Mapping[str, Any]]) -> bytes:
    band = next((c for c in controls if c["null_low"] is not None), None)
    with drawing(7.2, 3.6) as figure:
        axes = figure.subplots()
        axes.axhline(0, color=RULE, linewidth=1)
        if band is not None:
            axes.axhspan(band["null_low"], band["null_high"], color=FAINT, alpha=0.18, linewidth=0)
            said = "net of controls at the chosen dose, 5-95 %"
            axes.annotate(said, (1, band["null_high"]), xycoords=("axes fraction", "data"),
                          ha="right", va="bottom", fontsize=8, color=FAINT)  # fmt: skip
        for number, (name, rows) in enumerate(curves.items()):
            places = range(len(rows))
            only = len(curves) == 1
            for key, colour, mark in (("rescued", DOWN, "o"), ("broken", UP, "s"), ("net", INK, "D")):
                if not only and key != "net":
                    continue
                values = [row[key] / row["n"] if key != "net" else row["net"] for row in rows]
                label = f"{key} share" if only else name
                drawn = colour if only else (REFERENCE, CANDIDATE, UP, DOWN, INK, FAINT)[number]
                axes.plot(places, values, marker=mark, markersize=4, linewidth=1.3, label=label, color=drawn)
        longest = max(curves.values(), key=len)
        axes.set_xticks(range(len(longest)), [f"{row['dose']:.3g}" for row in longest], rotation=45)
        axes.set_xlabel("dose (raw), in order")
        axes.set_ylabel("share of pairs")
        axes.legend(frameon=False, fontsize=8)
        return svg(figure, "doses", "Rescued, broken and net share against dose, with the band of controls")


def _scores(curves: Mapping[str, Sequence[Mapping[str, Any]]]) -> bytes:
    with drawing(7.2, 2.6) as figure:
        axes = figure.subplots()
        for number, (name, rows) in enumerate(curves.items()):
            for key, style in (("mean_score", "-"), ("identical", ":")):
                values = [float("nan") if row[key] is None else row[key] for row in rows]
                axes.plot(
                    range(len(rows)),
                    values,
                    style,
                    color=(REFERENCE, CANDIDATE, UP, DOWN, INK, FAINT)[number],
                    label=f"{name}: {'collapse score' if key == 'mean_score' else 'identical texts'}",
                )
        longest = max(curves.values(), key=len)
        axes.set_xticks(range(len(longest)), [f"{row['dose']:.3g}" for row in longest], rotation=45)
        axes.set_ylim(-0.02, 1.02)
        axes.set_xlabel("dose (raw), in order")
        axes.legend(frameon=False, fontsize=8)
        return svg(figure, "scores", "Mean collapse score and share of identical texts against dose")


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
