"""Training rows that a fine-tune learned more than rows like them, rows that are nearly the same, words that stand out.

1. z of a row's loss drop: distance from the median of the rows nearest to it in length, in units of 1.4826·MAD of the
   same (lengths as ranks; 50 neighbours, or all rows where there are fewer). Reference loss does not count among what
   is alike: what a fine-tune is taught against its reference is what the reference finds least likely, so such rows
   would be compared with each other (four planted organisms: AUROC .53 to .82 with it, 1 for the drop alone)
2. near-duplicates: rows whose sets of 5-grams have a Jaccard similarity ≥ .8, joined into clusters. Found exactly, by
   the shortest-prefix filter (Bayardo, Ma and Srikant 2007): similar sets share one of their rarest 5-grams
3. enrichment: log-odds ratio of a token between two texts with an informative Dirichlet prior, over its standard
   deviation (Monroe, Colaresi and Quinn 2008); the prior is both texts together, `PRIOR` tokens of weight
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Hashable, Sequence
from typing import Final

import numpy as np

from radiograph.core.shapes import Float, Float64, Int
from radiograph.numerics._finite import finite

NEIGHBOURS: Final = 50
GRAM: Final = 5
SIMILAR: Final = 0.8
PRIOR: Final = 500.0


def drop_z(drop: Float[np.ndarray, " row"], length: Int[np.ndarray, " row"]) -> Float64[np.ndarray, " row"]:
    """Robust z of each row's loss drop among rows of like length; 0 where all of these drop equally."""
    values = finite(drop, "loss drop").astype(np.float64)
    n = len(values)
    order = np.argsort(length, kind="stable")
    ranks = _ranks(length)[order]
    k = min(NEIGHBOURS, n)
    out = np.zeros(n)
    sorted_values = values[order]
    ends = (np.searchsorted(ranks, ranks, side).tolist() for side in ("left", "right"))
    for at, (first, last) in enumerate(zip(*ends, strict=True)):
        low, high = first, last  # every row of the same length, then the next shorter and longer ones
        while high - low < k:
            below = ranks[at] - ranks[low - 1] if low > 0 else np.inf
            above = ranks[high] - ranks[at] if high < n else np.inf
            low, high = (low - 1, high) if below <= above else (low, high + 1)
        near = sorted_values[low:high]
        middle = np.median(near)
        spread = 1.4826 * np.median(np.abs(near - middle))
        out[order[at]] = (sorted_values[at] - middle) / spread if spread > 0 else 0.0
    return out


def _ranks(values: np.ndarray) -> Float64[np.ndarray, " row"]:
    """Mean rank in 0 to 1: equal values rank equally."""
    _, place, counts = np.unique(values, return_inverse=True, return_counts=True)
    ends = np.cumsum(counts)
    return ((ends - counts + ends) / 2 / max(1, len(values)))[place.reshape(-1)]


def clusters(rows: Sequence[Sequence[Hashable]]) -> Int[np.ndarray, " row"]:
    """The number of each row's cluster of near-duplicates, by first appearance."""
    grams = [_grams(row) for row in rows]
    seen = Counter(gram for own in grams for gram in own)
    order = {gram: place for place, gram in enumerate(sorted(seen, key=lambda g: (seen[g], repr(g))))}
    sets = [sorted(order[g] for g in own) for own in grams]
    parent = list(range(len(rows)))

    def root(i: int) -> int:
        while parent[i] != i:
            parent[i] = parent[parent[i]]
            i = parent[i]
        return i

    index: dict[int, list[int]] = defaultdict(list)
    whole: dict[tuple[int, ...], int] = {}
    for i, own in enumerate(sets):
        first = whole.setdefault(tuple(own), i)
        if first != i:
            parent[root(i)] = root(first)
            continue
        prefix = own[: len(own) - math.ceil(SIMILAR * len(own)) + 1]
        for j in dict.fromkeys(j for gram in prefix for j in index[gram]):
            if root(i) != root(j) and _jaccard(own, sets[j]) >= SIMILAR:
                parent[root(i)] = root(j)
        for gram in prefix:
            index[gram].append(i)
    numbers: dict[int, int] = {}
    return np.array([numbers.setdefault(root(i), len(numbers)) for i in range(len(rows))], dtype=np.int64)


def enrichment(here: Counter[int], there: Counter[int]) -> dict[int, float]:
    """How many standard deviations each token's log-odds stand out in `here` against `there`."""
    both = here + there
    total, n_here, n_there = sum(both.values()), sum(here.values()), sum(there.values())
    found: dict[int, float] = {}
    for token, count in both.items():
        prior = PRIOR * count / total
        a, b = here[token] + prior, there[token] + prior
        odds = math.log(a / (n_here + PRIOR - a)) - math.log(b / (n_there + PRIOR - b))
        found[token] = odds / math.sqrt(1 / a + 1 / b)
    return found


def _grams(row: Sequence[Hashable]) -> set[tuple[Hashable, ...]]:
    return {tuple(row[i : i + GRAM]) for i in range(max(1, len(row) - GRAM + 1))}


def _jaccard(one: Sequence[int], two: Sequence[int]) -> float:
    shared = len(set(one) & set(two))
    return shared / (len(one) + len(two) - shared)
