"""Word overlap of rows with a query: BM25 (Robertson, Walker, Jones, Hancock-Beaulieu and Gatford 1994).

Σ over words of the query of idf·tf·(k + 1)/(tf + k·(1 − b + b·length/mean length)),
idf = log(1 + (n − df + ½)/(df + ½)), k = 1.5, b = .75. A word that the query holds twice
counts twice. What any cheap search finds; influence has to beat it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np

from radiograph.core.shapes import Float64

K, B = 1.5, 0.75


def bm25(rows: Sequence[Sequence[str]], query: Sequence[str]) -> Float64[np.ndarray, " row"]:
    """The score of every row."""
    scores = np.zeros(len(rows))
    if not rows:
        return scores
    lengths = np.array([len(row) for row in rows], dtype=np.float64)
    wanted = Counter(query)
    held: dict[str, list[tuple[int, int]]] = {}
    for number, row in enumerate(rows):
        for word, count in Counter(word for word in row if word in wanted).items():
            held.setdefault(word, []).append((number, count))
    penalty = K * (1 - B + B * lengths / max(lengths.mean(), 1e-12))
    for word, times in sorted(wanted.items()):
        found = held.get(word)
        if not found:
            continue
        places, counts = (np.array(column) for column in zip(*found, strict=True))
        rarity = np.log1p((len(rows) - len(places) + 0.5) / (len(places) + 0.5))
        scores[places] += times * rarity * counts * (K + 1) / (counts + penalty[places])
    return scores
