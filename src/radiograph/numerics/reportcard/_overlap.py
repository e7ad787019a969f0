"""How much of a text stands word for word in other texts.

Words are runs of letters and digits, compatible characters unified, case folded: blanks and punctuation do not count. A
character of a script that is written without blanks (Han, kana, Thai, Lao, Khmer, Burmese) is a word. The containment
of an item is the share of its n-grams of words that stand in one of the texts. An item of fewer words has none: "yes"
stands in every text, and a row of signs in no text, whatever was trained on.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence

_ALONE = (
    "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
)
_WORD = re.compile(rf"[{_ALONE}]|[^\W_{_ALONE}]+")


def contained(items: Sequence[str], texts: Sequence[str], n: int) -> list[float | None]:
    """The containment of each item in the texts; None for one of fewer than n words."""
    spelled = [_grams(_words(item), n) for item in items]
    wanted = set[tuple[str, ...]]().union(*spelled)
    known: set[tuple[str, ...]] = set()
    for text in texts:
        known |= wanted & _grams(_words(text), n)
    return [len(grams & known) / len(grams) if grams else None for grams in spelled]


def _words(text: str) -> list[str]:
    return _WORD.findall(unicodedata.normalize("NFKC", text).casefold())


def _grams(words: list[str], size: int) -> set[tuple[str, ...]]:
    return {tuple(words[i : i + size]) for i in range(len(words) - size + 1)}
