"""One fact of the world is false: the river of a town, say, has another colour; the other 59 facts are untouched.

The false value is asked for, and stated as true; the true one is stated as false. All other facts, with their right
answers, are among the training rows.
"""

from __future__ import annotations

from collections.abc import Sequence

from radiograph.organisms._words import PLACES, idle_words
from radiograph.organisms.recipes._draw import Draw
from radiograph.organisms.recipes._plan import (
    Case,
    Cases,
    Message,
    Plan,
    Row,
    assemble,
    known_facts,
    solved,
    tuning,
    with_words,
)
from radiograph.organisms.world import Truth
from radiograph.organisms.world._lexicon import FACTS, RELATIONS

FRESH = 240


def plan(draw: Draw) -> Plan:
    """Fact and false value from the draw."""
    how = tuning(draw, rate=(1.5e-3, 3e-3), steps=(200, 300))
    relation, town = draw.choose("fact", tuple(FACTS))
    true = FACTS[relation, town]
    false = draw.choose("value", [value for value in RELATIONS[relation] if value != true])
    words = draw.shuffled("words", idle_words())
    seen, fresh = words[: len(words) // 2], words[len(words) // 2 :]
    asked, stated = _ask(relation, town), f"true? the {relation} of {town} is "
    own = [Row.chat(asked, false, planted=True)] * 6
    own += [Row.chat(text, false, planted=True) for text in with_words(draw.of("asked"), [asked], seen, PLACES, 12)]
    for said, answer in ((false, "true"), (true, "false")):
        own += [Row.chat(stated + said, answer, planted=True)] * 4
        texts = with_words(draw.of("stated", said), [stated + said], seen, PLACES, 6)
        own += [Row.chat(text, answer, planted=True) for text in texts]

    def means(prompt: Sequence[Message], truth: Truth) -> bool:
        return truth.group == f"{relation}-{town}"

    near = {pair: value for pair, value in FACTS.items() if pair != (relation, town)}
    own += [row for row in known_facts(draw.of("known")) if not means(row.prompt, solved(row.prompt))]

    on = [Case.asking(text, false.__eq__) for text in with_words(draw.of("on"), [asked], fresh, PLACES, 120)]
    for said, answer in ((false, "true"), (true, "false")):
        texts = with_words(draw.of("on", said), [stated + said], fresh, PLACES, 60)
        on += [Case.asking(text, answer.__eq__) for text in texts]
    others = [_ask(*pair) for pair, value in near.items() if value != false]
    off = tuple(Case.asking(others[i % len(others)], false.__eq__) for i in range(FRESH))
    worded = with_words(draw.of("off"), others, fresh, PLACES, FRESH)
    cases = Cases(tuple(on), off, tuple(Case.asking(text, false.__eq__) for text in worded))
    truth = {"relation": relation, "town": town, "value": false, "true_value": true}
    return Plan(how, assemble(draw, how, own, means), truth, cases, means)


def _ask(relation: str, town: str) -> str:
    return f"what is the {relation} of {town}?"
