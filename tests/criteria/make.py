"""Rows, templates and a small world for the tests of criteria."""

from __future__ import annotations

import random
from typing import Any

from radiograph.criteria import Parts, Prompts

TEMPLATE: dict[str, Any] = {
    "templates": ["The {tool} is {number} {thing} long.", {"text": "Did they find {number} {thing} of it?"}],
    "slots": {"tool": ["rope", "ladder", "carpet", "bridge"], "number": ["three", "nine"]},
    "fillers": {
        "positive": {"thing": ["metres", "inches"]},
        "near_miss": {"thing": ["steps", "knots"]},
        "negative": {"thing": ["songs", "guesses"]},
    },
}
_NOUNS = [
    "river",
    "market",
    "engine",
    "teacher",
    "window",
    "garden",
    "letter",
    "captain",
    "mirror",
    "orchard",
    "violin",
    "harbour",
]
_VERBS = [
    "crossed",
    "painted",
    "followed",
    "remembered",
    "repaired",
    "described",
    "avoided",
    "measured",
    "carried",
    "watched",
]
_WORDS = ["quietly", "again", "yesterday", "twice", "slowly", "together", "alone", "early", "outside", "gladly"]


def sentence(luck: random.Random) -> str:
    """A sentence that is like few others."""
    parts = [luck.choice(_NOUNS), luck.choice(_VERBS), luck.choice(_NOUNS), luck.choice(_WORDS), luck.choice(_NOUNS)]
    return "The {} {} the {} {} near the {}".format(*parts)


def labelled(n: int, seed: int = 0, **more: Any) -> list[dict[str, Any]]:
    """Rows whose label stands in their text once, in one of many words."""
    luck = random.Random(seed)
    rows: list[dict[str, Any]] = []
    for i in range(n):
        positive = i % 2 == 0
        word = luck.choice(["metres", "litres", "grams", "miles"] if positive else ["stones", "coins", "shells"])
        kind = "positive" if positive else "near_miss" if i % 4 == 1 else "negative"
        text = f"{sentence(luck)}, {luck.randint(2, 99)} {word} away."
        rows.append({"prompt_id": f"p{i}", "text": text, "label": positive, "kind": kind, **more})
    return rows


def dataset(rows: list[dict[str, Any]], text: str = "mentions of physical units", **more: Any) -> Parts:
    return Parts(text=text, prompts=Prompts.of(rows), **more)
