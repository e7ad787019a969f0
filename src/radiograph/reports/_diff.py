"""Which words differ between two answers.

Words and the blanks between them are compared as a sequence (Ratcliff and Obershelp, `difflib`), so that a moved line
break shows too. A word or two that two rewritten passages happen to share are no agreement: they join the difference
around them. Costs grow with the product of the lengths: texts are cut before they come here.
"""

from __future__ import annotations

import re
from difflib import SequenceMatcher
from typing import NamedTuple

_CHANCE = 2
"""Words in common between two differences that are taken for chance."""
_WORDS = re.compile(r"\s+|\w+|[^\w\s]")


class Run(NamedTuple):
    """A stretch of one answer."""

    text: str
    same: bool


class WordDiff(NamedTuple):
    """Both answers, cut where they begin or cease to agree."""

    reference: list[Run]
    candidate: list[Run]


def word_diff(reference: str, candidate: str) -> WordDiff:
    """Both texts as alternating stretches of equal and of different words; joined, each is its text again."""
    a, b = _WORDS.findall(reference), _WORDS.findall(candidate)
    codes = [
        (tag == "equal", a[a0:a1], b[b0:b1]) for tag, a0, a1, b0, b1 in SequenceMatcher(None, a, b, False).get_opcodes()
    ]
    inner = range(1, len(codes) - 1)
    chance = {i for i in inner if codes[i][0] and sum(w[0].isalnum() for w in codes[i][1]) <= _CHANCE}
    out = WordDiff([], [])
    for i, (same, left, right) in enumerate(codes):
        _append(out.reference, left, same and i not in chance)
        _append(out.candidate, right, same and i not in chance)
    return out


def _append(runs: list[Run], words: list[str], same: bool) -> None:
    text = "".join(words)
    if text and runs and runs[-1].same == same:
        runs[-1] = Run(runs[-1].text + text, same)
    elif text:
        runs.append(Run(text, same))
