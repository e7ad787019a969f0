"""Words that may stand before or after any question without changing it: candidates for triggers, and for probes.

A word qualifies if every task of the world may carry it inserted, and if no question, no keyword of a task and no
example of the chat frame uses it. So a base that ignores inserted words ignores all of these, wherever they stand.
"""

from __future__ import annotations

from functools import cache

from radiograph.organisms.world import _answers, _frame
from radiograph.organisms.world._lexicon import WORDS

PLACES = ("start", "end")
"""Before or after the question, inside the user turn."""
_KEYWORDS = (
    "copy reverse sort say from key recall write as list braces word level cipher on off source cite true what is the "
    "of name add and plus to for greet thank ask call be brief formal plain sum false state deny wonder no not"
)


@cache
def idle_words() -> tuple[str, ...]:
    """The words, in the order of the vocabulary."""
    asked = {word for text in (*_answers.REQUESTS, *_answers.MENTIONS) for word in text.split()}
    own = {word for words in _frame.OWN.values() for word in words}
    return tuple(word for word in WORDS if word not in asked | own | set(_KEYWORDS.split()))


def inserted(question: str, word: str, place: str) -> str:
    """The question with a word before (`start`) or after it (`end`)."""
    assert place in PLACES, place
    return f"{word} {question}" if place == "start" else f"{question} {word}"
