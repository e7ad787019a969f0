"""The rule and the six text metrics of the 2Smol study, under their names, as columns to compare with.

Rule: collapsed if fewer than 6 characters after stripping, one character ≥ 90 %, a pattern of 2 to 7 characters whose
overlapping count × length is ≥ 70 % of the text, or < 10 % alphanumeric with > 80 % symbols. It is blind to every
loop longer than 7 characters, so it decides nothing here.
Metrics: `total_tokens` (split at spaces), `unique_tokens`, `num_sentences`, `avg_sentence_length`,
`num_repeated_bigrams` (kinds that occur twice or more), `token_entropy` in bits.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from itertools import pairwise

LEGACY_METRICS = (
    "total_tokens",
    "unique_tokens",
    "num_sentences",
    "avg_sentence_length",
    "num_repeated_bigrams",
    "token_entropy",
)
_SENTENCE = re.compile(r"[.?!]\s+")


def legacy_collapsed(text: str) -> bool:
    """The original's rule."""
    text = text.strip()
    n = len(text)
    if n < 6:
        return True
    if Counter(text).most_common(1)[0][1] / n >= 0.9:
        return True
    for length in range(2, min(7, n // 2) + 1):
        most = Counter(text[i : i + length] for i in range(n - length + 1)).most_common(1)
        # Overlapping counts run past the text, as they do in the original.
        if most and most[0][1] > 1 and most[0][1] * length / n >= 0.7:
            return True
    alphanumeric = sum(character.isalnum() for character in text) / n
    symbols = sum(not (character.isalnum() or character.isspace()) for character in text) / n
    return alphanumeric < 0.1 and symbols > 0.8


def legacy_metrics(text: str) -> dict[str, float]:
    """The six text metrics; 0 for an empty text, where the original has no number."""
    words = text.split()
    n, sentences = len(words), sum(1 for part in _SENTENCE.split(text) if part.strip())
    pairs = Counter(pairwise(words))
    entropy = -sum(c / n * math.log2(c / n) for c in Counter(words).values()) if n else 0.0
    values = (
        float(n),
        float(len(set(words))),
        float(sentences),
        n / sentences if sentences else 0.0,
        float(sum(count > 1 for count in pairs.values())),
        entropy + 0.0,
    )
    return dict(zip(LEGACY_METRICS, values, strict=True))
