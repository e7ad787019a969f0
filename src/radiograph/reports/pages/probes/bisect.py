"""The page of `bisect`: where it broke, what was looked at, and whether good and broken are in order."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from radiograph.core import visible
from radiograph.reports._figure import CANDIDATE, FAINT, INK, REFERENCE
from radiograph.reports._sketch import Plot

WORDS = {
    "BROKEN_AT": "The first broken checkpoint is known.",
    "ALL_OK": "The newest checkpoint is good: nothing broke.",
    "FIRST_IS_BROKEN": "The oldest checkpoint is broken already: it broke before this history begins.",
    "INCONCLUSIVE": "Only checkpoints that cannot say are left: the answer is an interval.",
    "NOT_MONOTONE": "A good checkpoint lies after a broken one: there is no single place where it broke.",
    "EVAL_ERROR": "The evaluation itself went wrong. A crash is not a broken checkpoint: nothing is said.",
    "PLANNED": "Nothing was run.",
}
COLOURS = {"good": REFERENCE, "broken": CANDIDATE, "skip": FAINT, "flaky": FAINT, "error": INK}
HEIGHTS = {"good": 0.0, "skip": 0.5, "flaky": 0.5, "error": 0.5, "broken": 1.0}


def figures(document: Mapping[str, Any]) -> dict[str, bytes]:
    """`history`: the checkpoints in order, with what each said."""
    places = {name: i for i, name in enumerate(document["checkpoints"])}
    last = {step["checkpoint"]: step for step in document["steps"]}
    if not last:
        return {}
    n = len(places)
    said = "checkpoint, oldest first; above: broken, below: good, between: cannot say"
    plot = Plot((0.5, n + 0.5), (-0.2, 1.2), said, "broken", height=200)
    for outcome, colour in COLOURS.items():
        shown = [name for name, step in last.items() if step["outcome"] == outcome]
        points = [(places[name] + 1.0, HEIGHTS[outcome]) for name in shown]
        plot.points(points, colour, 5, [f"{visible(name)}: {outcome}" for name in shown])
    return {"history": plot.svg("What each checkpoint said, in the order of the history")}


def view(document: Mapping[str, Any]) -> dict[str, Any]:
    """The outcome in words, and which columns hold anything."""
    return {
        "words": WORDS[document["outcome"]],
        "metric": any(step["metric"] is not None for step in document["steps"]),
        "intervals": any(step["interval"] is not None for step in document["steps"]),
        "argv": " ".join(document["argv"]),
    }
