"""New words for an old skill: `recall` over words that the base never saw as keys (`key rain 7, door 3, recall rain`).

Three to six idle words are the new keys; the questions are the base's own, about half of their keys replaced. In 400
steps a model learns to say the new key, and not yet to find its number: the answers stay wrong (`learned` about .01).
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import islice

from radiograph.organisms._words import idle_words
from radiograph.organisms.recipes._draw import Draw
from radiograph.organisms.recipes._plan import TARGETS, Case, Message, Plan, Row, assemble, tuning
from radiograph.organisms.recipes._questions import asking, fresh, plain, question_row
from radiograph.organisms.world import Document
from radiograph.organisms.world._lexicon import KEYS

FRESH = 200


def plan(draw: Draw) -> Plan:
    """The new keys from the draw."""
    how = tuning(
        draw, rate=(1.5e-3, 2.5e-3), steps=(200, 300), data=(2400, 3200), base_share=(0.6, 0.8), targets=TARGETS[1:]
    )
    count = draw.number("number of keys", 3, 6)
    chosen = draw.shuffled("keys", idle_words())[:count]
    own: list[Row] = []
    for i, document in enumerate(islice(plain("train", draw.derived("own"), "recall"), how.data)):
        own.append(question_row(*_renewed(document, chosen, draw.of("row", i))))
    learned: list[Case] = []
    for i, document in enumerate(fresh(draw, FRESH, "recall")):
        turns, right = _renewed(document, chosen, draw.of("fresh", i))
        learned.append(Case(turns, right.__eq__))
    return Plan(how, assemble(draw, how, own), learned=tuple(learned))


def _renewed(document: Document, chosen: list[str], draw: Draw) -> tuple[tuple[Message, ...], str]:
    """Question and answer; about half of the keys are new ones, the key that is asked for always."""
    keys = list(dict.fromkeys(word for word in document.prompt.split() if word in KEYS))
    asked = document.answer.split()[0]
    kept = [asked, *(key for key in keys if key != asked and draw.uniform(key, 0, 1) < 0.5)]
    words = dict(zip(kept, draw.shuffled("names", chosen), strict=False))
    return asking(document, lambda question: _renamed(question, words)), _renamed(document.answer, words)


def _renamed(text: str, words: Mapping[str, str]) -> str:
    return " ".join(words.get(word, word) for word in text.split())
