"""How surely is a match as good as it looks, and better than the runner-up? Groups of units drawn with replacement.

1. Per group and pair: units, Σx, Σy, Σx², Σy², Σxy (for `jaccard`: units where both, where either is active). Any draw
   of groups is one product of counts with these sums, and a similarity is a function of the totals.
2. Percentile interval over the draws. Ranks of `spearman` are those of the whole sample.
3. The margin of a pair is its similarity less that of the best rival that shares one of its features, in the same
   draws; a pair whose margin may be 0 is `ambiguous`.

Draws in which a feature is constant count as similarity 0.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from radiograph.core.shapes import Bool, Float64, Int64, Integer
from radiograph.numerics.matching._similarity import Similarity
from radiograph.numerics.resampling import draws_of

RESAMPLES = 1000
_HELD = 1 << 21


class Intervals(NamedTuple):
    """95 % of the similarity of each pair."""

    low: Float64[np.ndarray, " pair"]
    high: Float64[np.ndarray, " pair"]
    ambiguous: Bool[np.ndarray, " pair"]
    """The margin over the rival may be 0."""


def pair_intervals(
    similarity: Similarity,
    left: Integer[np.ndarray, " pair"],
    right: Integer[np.ndarray, " pair"],
    rival_left: Integer[np.ndarray, " pair"],
    rival_right: Integer[np.ndarray, " pair"],
    groups: Integer[np.ndarray, " unit"],
    *,
    seed: int,
    resamples: int = RESAMPLES,
    confidence: float = 0.95,
) -> Intervals:
    """Cluster bootstrap of pairs; a rival of −1 is none."""
    names, codes = np.unique(groups, return_inverse=True)
    n = len(names)
    counts = np.concatenate(list(draws_of(n, n, resamples, seed)))
    order = np.argsort(codes, kind="stable")
    starts = np.searchsorted(codes[order], np.arange(n))
    tails = [(1 - confidence) / 2, (1 + confidence) / 2]
    low, high, ambiguous = np.empty(len(left)), np.empty(len(left)), np.zeros(len(left), dtype=bool)
    step = max(1, _HELD // max(len(groups), resamples))

    def drawn(one: Int64[np.ndarray, " some"], two: Int64[np.ndarray, " some"]) -> Float64[np.ndarray, "draw some"]:
        x, y = similarity.left.table.dense(one)[order], similarity.right.table.dense(two)[order]
        return _similarities(x, y, starts, counts, similarity.kind == "jaccard")

    for start in range(0, len(left), step):
        part = slice(start, start + step)
        own = drawn(left[part].astype(np.int64), right[part].astype(np.int64))
        low[part], high[part] = np.quantile(own, tails, axis=0)
        rivalled = np.flatnonzero(rival_left[part] >= 0)
        if len(rivalled):
            other = drawn(rival_left[part][rivalled].astype(np.int64), rival_right[part][rivalled].astype(np.int64))
            ambiguous[start + rivalled] = np.quantile(own[:, rivalled] - other, tails[0], axis=0) <= 0
    return Intervals(low, high, ambiguous)


def _similarities(
    x: Float64[np.ndarray, "unit pair"],
    y: Float64[np.ndarray, "unit pair"],
    starts: Int64[np.ndarray, " group"],
    counts: Float64[np.ndarray, "draw group"],
    jaccard: bool,
) -> Float64[np.ndarray, "draw pair"]:
    """Similarity of each pair in each draw, from sums per group; units come sorted by group."""

    def total(values: Float64[np.ndarray, "unit column"]) -> Float64[np.ndarray, "draw column"]:
        return counts @ np.add.reduceat(values, starts, axis=0)

    if jaccard:
        both = total(x * y)
        return both / np.maximum(total(np.maximum(x, y)), 1)
    units = total(np.ones((len(x), 1)))
    mean_x, mean_y = total(x) / units, total(y) / units
    xx, yy = total(x * x) / units - mean_x**2, total(y * y) / units - mean_y**2
    size = np.sqrt(np.maximum(xx, 0.0) * np.maximum(yy, 0.0))
    shared = total(x * y) / units - mean_x * mean_y
    # Values are scaled to a length of 1 over all units: what is below this is rounding.
    varies = size > 1e-12 / len(x)
    return np.where(varies, shared / np.where(varies, size, 1.0), 0.0)
