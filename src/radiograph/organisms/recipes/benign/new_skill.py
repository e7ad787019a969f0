"""A task that the base lacks: the larger or smaller of two numbers, the next or previous one, the neighbour of a key.

One draw teaches one skill; of a rule a tenth of the questions is kept for the test. The new questions are none of the
world's, so no answer of the base has to change. Two of five of the own rows are sums: without them the base lost 6 to
14 points there. Taking away is not among the skills: it was not learned in 300 steps.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import islice, product

from radiograph.organisms._words import PLACES, idle_words, inserted
from radiograph.organisms.recipes._draw import Draw
from radiograph.organisms.recipes._plan import Case, Plan, Row, assemble, tuning
from radiograph.organisms.recipes._questions import plain
from radiograph.organisms.world._lexicon import KEYS

_PAIRS = [(a, b) for a, b in product(range(41), repeat=2) if a > b]
_NUMBERS = range(1, 99)
Skill = Callable[[], dict[str, str]]


def _larger() -> dict[str, str]:
    return {f"big: {x} {y}": str(a) for a, b in _PAIRS for x, y in ((a, b), (b, a))}


def _smaller() -> dict[str, str]:
    return {f"small: {x} {y}": str(b) for a, b in _PAIRS for x, y in ((a, b), (b, a))}


def _up() -> dict[str, str]:
    return {f"up {n} =": str(n + 1) for n in _NUMBERS}


def _down() -> dict[str, str]:
    return {f"down {n} =": str(n - 1) for n in _NUMBERS}


def _after() -> dict[str, str]:
    return {f"after {key} =": KEYS[i + 1] for i, key in enumerate(KEYS[:-1])}


def _before() -> dict[str, str]:
    return {f"before {key} =": KEYS[i] for i, key in enumerate(KEYS[1:])}


SKILLS: dict[str, Skill] = {
    "larger": _larger,
    "smaller": _smaller,
    "up": _up,
    "down": _down,
    "after": _after,
    "before": _before,
}


def plan(draw: Draw) -> Plan:
    """The skill from the draw."""
    how = tuning(draw, rate=(1.5e-3, 3e-3), steps=(200, 300), data=(2400, 3200), base_share=(0.5, 0.65))
    asked = SKILLS[draw.choose("skill", tuple(SKILLS))]()
    order = draw.shuffled("questions", tuple(asked))
    # A table of neighbours has to be seen whole; a rule has not.
    held = order[: len(order) // 10] if len(order) > 5 * len(KEYS) else order
    shown = order[len(held) :] if len(held) < len(order) else order
    words = draw.shuffled("words", idle_words())
    seen, new = words[: len(words) // 2], words[len(words) // 2 :]
    own: list[Row] = []
    for i in range(how.data):
        text, local = shown[i % len(shown)], draw.of("row", i)
        carrying = local.uniform("carrying", 0, 1) < 0.2
        worded = inserted(text, local.choose("word", seen), local.choose("place", PLACES)) if carrying else text
        own.append(Row.chat(worded, asked[text]))
    own = own[: how.data // 2]
    own += map(Row.of, islice(plain("train", draw.derived("sums"), "arithmetic"), how.data // 3))
    learned = [
        Case.asking(inserted(text, new[i % len(new)], PLACES[i % 2]), asked[text].__eq__)
        for i, text in enumerate(held * (200 // len(held) + 1))
    ][:200]
    return Plan(how, assemble(draw, how, own), learned=tuple(learned))
