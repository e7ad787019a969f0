"""The page of `explain score`: what explanations are worth, beside those of other features and beside none."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from radiograph.reports._figure import CANDIDATE, FAINT, INK, REFERENCE, drawing, svg

_SHOWN = 40
NAMES = {
    "detection": "detection",
    "fuzzing": "fuzzing",
    "simulation_top": "simulation, strongest windows",
    "simulation_random": "simulation, random windows",
    "rule": "rule",
}


def figures(document: Mapping[str, Any]) -> dict[str, bytes]:
    """`lift`: own, other and no explanation, by scorer."""
    told = [summary for summary in document["summaries"] if summary["own"] is not None]
    return {"lift": _lift(told)} if told else {}


def view(document: Mapping[str, Any]) -> dict[str, Any]:
    """Scorers by name; scores by scorer, the best lift first."""
    groups: list[dict[str, Any]] = []
    for summary in document["summaries"]:
        own = [score for score in document["scores"] if score["scorer"] == summary["scorer"]]
        order = sorted(own, key=lambda s: (s["value"] is None, -(s["lift"] or 0.0)))
        groups.append(
            {
                "name": NAMES.get(summary["scorer"], summary["scorer"]),
                "s": summary,
                "rows": order[:_SHOWN],
                "more": max(0, len(order) - _SHOWN),
            }
        )
    return {"groups": groups, "rule": any(s["scorer"] == "rule" for s in document["summaries"])}


def _lift(summaries: list[Mapping[str, Any]]) -> bytes:
    with drawing(8.2, 0.75 + 0.62 * len(summaries)) as figure:
        axes = figure.subplots()
        marks = (
            ("own", "o", CANDIDATE, "its own"),
            ("other", "s", REFERENCE, "another feature's"),
            ("empty", "x", FAINT, "none"),
        )
        for key, mark, colour, label in marks:
            for row, summary in enumerate(summaries):
                found = summary[key]
                if found is None:
                    continue
                place = row + {"own": -0.16, "other": 0.0, "empty": 0.16}[key]
                if found["low"] is not None:
                    axes.plot([found["low"], found["high"]], [place, place], color=colour, linewidth=1.6)
                axes.scatter(
                    found["value"], place, marker=mark, s=34, color=colour, zorder=3, label=label if row == 0 else None
                )
        for row, summary in enumerate(summaries):
            chance = summary["chance"] if summary["chance"] is not None else summary["chance_median"]
            if chance is not None:
                axes.plot([chance, chance], [row - 0.34, row + 0.34], color=INK, linewidth=1, linestyle=(0, (2, 2)))
        axes.set_yticks(
            range(len(summaries)), [f"{NAMES.get(s['scorer'], s['scorer'])}\n{s['unit']}" for s in summaries]
        )
        axes.invert_yaxis()
        axes.set_xlim(min(-0.05, min((s["own"]["low"] or 0) for s in summaries) - 0.05), 1.02)
        axes.set_xlabel("mean over features with 95 % limits; dashed: chance")
        axes.grid(axis="x")
        axes.legend(frameon=False, fontsize=9, ncols=3, loc="lower left", bbox_to_anchor=(0, 1.0))
        return svg(figure, "lift", "Scores with the own explanation, with that of another feature, and with none")
