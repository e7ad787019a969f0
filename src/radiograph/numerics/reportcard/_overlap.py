"""How much of a text stands word for word in other texts.

Words are runs of letters and digits, compatible characters unified, case folded: blanks and punctuation do not count.
The containment of an item is the share of its n-grams of words that stand in one of the texts; an item shorter than n
words is one gram of its own length.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence

_WORD = re.compile(r"[^\W_]+")


def contained(items: Sequence[str], texts: Sequence[str], n: int) -> list[float]:
    """The containment of each item in the texts; 0 for one without a word."""
    spelled = [_words(item) for item in items]
    sizes = {min(n, len(words)) for words in spelled if words}
    known: dict[int, set[tuple[str, ...]]] = {size: set() for size in sizes}
    for text in texts:
        words = _words(text)
        for size in sizes:
            known[size].update(_grams(words, size))
    return [_share(words, known, n) for words in spelled]


def _share(words: list[str], known: dict[int, set[tuple[str, ...]]], n: int) -> float:
    if not words:
        return 0.0
    size = min(n, len(words))
    grams = _grams(words, size)
    return len(grams & known[size]) / len(grams)


def _words(text: str) -> list[str]:
    return _WORD.findall(unicodedata.normalize("NFKC", text).casefold())


def _grams(words: list[str], size: int) -> set[tuple[str, ...]]:
    return {tuple(words[i : i + size]) for i in range(len(words) - size + 1)}
