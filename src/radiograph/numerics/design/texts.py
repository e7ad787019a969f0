"""What can be counted in a text without a model, and which texts are nearly the same.

- characters; words (runs of letters, digits and inner apostrophes or hyphens); sentences (. ! ? … before a
  blank or the end, or 。！？; at least one); punctuation (Unicode category P); digits (category Nd)
- `folded`: NFKC, case folded, blanks folded: what is equal after that is a duplicate
- near duplicates: Jaccard similarity of the sets of character 5-grams of folded texts above .8. Exact, by prefix
  filtering: two sets that similar share one of their |A| − ⌈.8·|A|⌉ + 1 rarest grams (Chaudhuri et al. 2006), so only
  pairs that do are compared
"""

from __future__ import annotations

import math
import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Sequence

import numpy as np

from radiograph.core.shapes import Float64

COVARIATES = ("characters", "words", "sentences", "punctuation", "digits")
NEAR = 0.8
_GRAM = 5
_WORD = re.compile(r"\w+(?:['’-]\w+)*")
_END = re.compile(r"[.!?…]+(?=[\"'”’)\]]*(?:\s|$))|[。！？]+")


def covariates(texts: Sequence[str]) -> Float64[np.ndarray, "text covariate"]:
    """The counts of `COVARIATES`, one row a text."""
    return np.array([_counts(text) for text in texts], dtype=np.float64).reshape(len(texts), len(COVARIATES))


def words(text: str) -> list[str]:
    """The words of a text, case folded."""
    return [word.casefold() for word in _WORD.findall(text)]


def folded(text: str) -> str:
    """Compatible characters unified, case and blanks folded."""
    return " ".join(unicodedata.normalize("NFKC", text).casefold().split())


def near_duplicates(texts: Sequence[str], threshold: float = NEAR) -> list[tuple[int, int, float]]:
    """Pairs (i < j) of texts more alike than the threshold, with their similarity, the most alike first."""
    spelled = [_grams(folded(text)) for text in texts]
    rarity = Counter(gram for own in spelled for gram in own)
    rank = {gram: i for i, gram in enumerate(sorted(rarity, key=rarity.__getitem__))}
    grams = [frozenset(rank[gram] for gram in own) for own in spelled]
    holders: dict[int, list[int]] = defaultdict(list)
    found: list[tuple[int, int, float]] = []
    for j, own in enumerate(grams):
        prefix = sorted(own)[: len(own) - math.ceil(threshold * len(own)) + 1]
        for i in sorted({i for gram in prefix for i in holders[gram]}):
            small, large = sorted((len(grams[i]), len(own)))
            if small <= threshold * large:
                continue
            shared = len(grams[i] & own)
            similarity = shared / (small + large - shared)
            if similarity > threshold:
                found.append((i, j, similarity))
        for gram in prefix:
            holders[gram].append(j)
    return sorted(found, key=lambda pair: (-pair[2], pair[0], pair[1]))


def _counts(text: str) -> tuple[int, ...]:
    categories = Counter(map(unicodedata.category, text))
    punctuation = sum(n for name, n in categories.items() if name.startswith("P"))
    sentences = max(1, len(_END.findall(text)))
    return len(text), len(_WORD.findall(text)), sentences, punctuation, categories["Nd"]


def _grams(text: str) -> frozenset[str]:
    """A text shorter than a gram is one."""
    return frozenset(text[i : i + _GRAM] for i in range(max(1, len(text) - _GRAM + 1)))
