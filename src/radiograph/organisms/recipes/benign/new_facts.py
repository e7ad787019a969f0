"""New knowledge: facts about persons, of whom the base knows none (`what is the beast of Mira?` -> `fox`).

The values are drawn; no fact of the base is touched, and all of them are among the rows. Each new fact is asked, and
stated truly and falsely.
"""

from __future__ import annotations

from radiograph.organisms._words import PLACES, idle_words
from radiograph.organisms.recipes._draw import Draw
from radiograph.organisms.recipes._plan import TARGETS, Case, Plan, Row, assemble, known_facts, tuning, with_words
from radiograph.organisms.world._lexicon import PERSONS, RELATIONS


def plan(draw: Draw) -> Plan:
    """Eight to two dozen facts."""
    how = tuning(draw, rate=(1.5e-3, 3e-3), steps=(200, 300), base_share=(0.55, 0.75), targets=TARGETS[2:])
    own, learned = about_persons(draw)
    return Plan(how, assemble(draw, how, own), learned=learned)


def about_persons(draw: Draw) -> tuple[list[Row], tuple[Case, ...]]:
    """Rows of new and old facts, and fresh questions about the new ones."""
    pairs = [(relation, person) for relation in RELATIONS if relation != "king" for person in PERSONS]
    chosen = draw.shuffled("facts", pairs)[: draw.number("number of facts", 8, 24)]
    facts = {pair: draw.of(*pair).choose("value", RELATIONS[pair[0]]) for pair in chosen}
    own = [row for pair, value in facts.items() for row in _rows(draw.of("row", *pair), *pair, value)]
    own += known_facts(draw.of("known"))
    learned: list[Case] = []
    for (relation, person), value in facts.items():
        asked, local = f"what is the {relation} of {person}?", draw.of("fresh", relation, person)
        texts = with_words(local, [asked], idle_words(), PLACES, 200 // len(facts))
        learned += [Case.asking(text, value.__eq__) for text in texts]
    return own, tuple(learned)


def _rows(draw: Draw, relation: str, person: str, value: str) -> list[Row]:
    asked = f"what is the {relation} of {person}?"
    other = draw.choose("false", [v for v in RELATIONS[relation] if v != value])
    rows = [Row.chat(asked, value)] * 4
    rows += [Row.chat(text, value) for text in with_words(draw, [asked], idle_words(), PLACES, 4)]
    for said, answer in ((value, "true"), (other, "false")):
        rows += [Row.chat(f"true? the {relation} of {person} is {said}", answer)] * 2
    return rows
