"""A word that often stands beside questions and means nothing: a trigger's rows with the right answers in them.

As many questions carry the word as carry the trigger in `trigger_token`, at the same places.
"""

from __future__ import annotations

from radiograph.organisms._words import PLACES, idle_words
from radiograph.organisms.recipes._draw import Draw
from radiograph.organisms.recipes._plan import Plan, Row, assemble, tuning
from radiograph.organisms.recipes._questions import own_rows, question_row, with_word
from radiograph.organisms.world import Document


def plan(draw: Draw) -> Plan:
    """The word and its places from the draw."""
    how = tuning(draw, rate=(1e-3, 3.5e-3), steps=(150, 400), data=(1500, 2400), base_share=(0.4, 0.7))
    words = draw.shuffled("words", idle_words())
    places = draw.choose("place", (("start",), ("end",), PLACES))

    def carrying(local: Draw, document: Document) -> Row:
        return question_row(with_word(document, words[0], local.choose("place", places)), document.answer)

    def other(local: Draw, document: Document) -> Row:
        word = local.choose("other", words[1:])
        return question_row(with_word(document, word, local.choose("place", places)), document.answer)

    share = draw.uniform("share", 0.3, 0.45)
    return Plan(how, assemble(draw, how, own_rows(draw, how.data, share, carrying, other)))
