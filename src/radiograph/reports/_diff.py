"""Which words differ between two answers.

Words and the blanks between them are compared as a sequence (Ratcliff and Obershelp, `difflib`), so that a moved line
break shows too. Costs grow with the product of the lengths: texts are cut before they come here.
"""

from __future__ import annotations

import re
from difflib import SequenceMatcher
from typing import NamedTuple

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
    out = WordDiff([], [])
    for tag, a0, a1, b0, b1 in SequenceMatcher(None, a, b, autojunk=False).get_opcodes():
        same = tag == "equal"
        if a1 > a0:
            out.reference.append(Run("".join(a[a0:a1]), same))
        if b1 > b0:
            out.candidate.append(Run("".join(b[b0:b1]), same))
    return out
