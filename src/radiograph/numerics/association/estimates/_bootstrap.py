"""Percentile intervals of an AUROC over groups drawn anew, for many sparse features at once.

1. groups are drawn with replacement, apart by which labels they hold (Efron and Tibshirani 1993, chapter 13); a unit
   weighs as often as its group was drawn
2. A of weighted units: entries ascend by feature and value, so the weight of negatives below each is a running sum;
   zeros are one term. All of it is counted in whole numbers, wins twice over so that a tie is one
3. percentiles over draws

Cost: O(draws × entries), in chunks of draws. For the features on cards, not for all. Same seed, same interval.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Any, cast

import numpy as np

from radiograph.core.shapes import Float64, Int64
from radiograph.numerics.association._columns import Columns
from radiograph.numerics.association.estimates._intervals import Limits

_CHUNK = 1 << 22
"""Numbers drawn at once: 32 MiB."""
_HOT = 1 << 20
"""Of these, weighed at once: what stays near the processor."""


def bootstrap_limits(
    table: Columns,
    label: Float64[np.ndarray, " unit"],
    group: Int64[np.ndarray, " unit"],
    stratum: Int64[np.ndarray, " unit"],
    *,
    draws: int,
    seed: int,
    paired: bool = False,
    confidence: float = 0.95,
) -> Limits:
    """Percentiles of A over groups drawn anew; `paired`: the table holds differences, and A is the share above zero."""
    names, group = np.unique(group, return_inverse=True)
    kind = np.zeros(len(names), np.int64)
    np.bitwise_or.at(kind, group, np.where(label == 1, 1, 2))
    generator = np.random.default_rng(seed)
    step = max(1, _CHUNK // max(len(names), len(label), len(table.value), 1))
    found: list[np.ndarray] = []
    sides = _Sides(table, label.astype(np.int64), stratum)
    for start in range(0, draws, step):
        own = min(step, draws - start)
        taken = np.take(_draw(generator, kind, own), group, axis=1)
        parts = np.array_split(taken, min(own, -(-taken.size // _HOT)))
        found += [_share(table, part) if paired else sides.areas(part) for part in parts]
    if not found or not table.features:
        return Limits(np.full(table.features, np.nan), np.full(table.features, np.nan))
    areas = np.concatenate(found)
    tail = (1 - confidence) / 2
    # A draw without a measured unit of either class has no area; such a feature has no interval.
    low, high = np.quantile(areas, [tail, 1 - tail], axis=0)
    return Limits(low, high)


def _draw(
    generator: np.random.Generator, kind: Int64[np.ndarray, " group"], draws: int
) -> Int64[np.ndarray, "draw group"]:
    """How often each group is taken, kinds apart."""
    counts = np.zeros((draws, len(kind)), np.int64)
    for one in np.unique(kind):
        members = np.flatnonzero(kind == one)
        n = len(members)
        for own, taken in zip(counts, generator.integers(0, n, size=(draws, n)), strict=True):
            own[members] = np.bincount(taken, minlength=n)
    return counts


def _share(differences: Columns, taken: Int64[np.ndarray, "draw pair"]) -> Float64[np.ndarray, "draw feature"]:
    """Weighted share of pairs above zero, ties one half."""
    weights = np.take(taken, differences.unit, axis=1)
    signed = _between(_running(weights * np.sign(differences.value).astype(np.int8)), differences.offsets)
    n: np.ndarray = np.broadcast_to(taken.sum(axis=1)[:, None], signed.shape)
    if differences.absent == "missing":
        n = _between(_running(weights), differences.offsets)
    return 0.5 + 0.5 * np.divide(signed, n, out=np.full(signed.shape, np.nan), where=n > 0)


class _Sides:
    """Entries of either class in ascending order, and what is fixed over draws."""

    def __init__(self, table: Columns, classes: np.ndarray, stratum: np.ndarray) -> None:
        self.strata = int(stratum.max(initial=0)) + 1
        self.size = table.features * self.strata
        self.zeros = table.absent == "zero"
        self.key = stratum * 2 + classes
        segment = table.feature * self.strata + stratum[table.unit]
        order = np.lexsort((table.value, segment))
        unit, value, at = table.unit[order], table.value[order], segment[order]
        new = np.ones(len(at), dtype=bool)
        new[1:] = (at[1:] != at[:-1]) | (value[1:] != value[:-1])
        run = np.cumsum(new)
        up = classes[unit] == 1
        self.up, self.down, self.at = unit[up], unit[~up], at[up]
        self.first = np.searchsorted(run[~up], run[up], side="left")
        """Negatives before each positive, over all segments; with ties, `last`."""
        self.last = np.searchsorted(run[~up], run[up], side="right")
        edges = np.arange(self.size + 1)
        self.ups, self.downs = np.searchsorted(at[up], edges), np.searchsorted(at[~up], edges)
        """Where segments begin."""
        self.stored = [self._entries(at, unit, which, len(stratum)) for which in (up, ~up)]
        """Positives, and negatives, of each segment."""
        self.sides = [self._entries(at, unit, which, len(stratum)) for which in (up & (value > 0), ~up & (value < 0))]
        """Positives above zero, and negatives below it."""

    def _entries(self, at: np.ndarray, unit: np.ndarray, which: np.ndarray, units: int) -> Any:
        from scipy import sparse  # pyright: ignore[reportMissingTypeStubs]

        offsets = np.searchsorted(at[which], np.arange(self.size + 1))
        ones = np.ones(int(which.sum()))
        return cast(Any, sparse).csr_matrix((ones, unit[which], offsets), shape=(self.size, units))

    def areas(self, taken: Int64[np.ndarray, "draw unit"]) -> Float64[np.ndarray, "draw feature"]:
        """A of every feature under every draw's weights."""
        weights, down = np.take(taken, self.up, axis=1), _running(np.take(taken, self.down, axis=1))
        below = np.take(down, self.first, axis=1)
        tied = np.flatnonzero(self.first != self.last)
        ties = below[:, tied] + down[:, self.last[tied]]
        below *= 2
        below[:, tied] = ties
        won = np.empty((len(taken), self.size), np.int64)
        for segment, (start, end) in enumerate(pairwise(self.ups.tolist())):
            won[:, segment] = np.einsum("de,de->d", weights[:, start:end], below[:, start:end])
        turned = np.ascontiguousarray(taken.T.astype(np.float64))
        stored_up, stored_down = ((own @ turned).T for own in self.stored)
        wins = won / 2 - stored_up * down[:, self.downs[:-1]]
        all_up, all_down = stored_up, stored_down
        if self.zeros:
            totals = np.stack([taken[:, self.key == k].sum(axis=1) for k in range(2 * self.strata)], axis=1)
            repeats = self.size // self.strata
            all_down, all_up = np.tile(totals[:, 0::2], (1, repeats)), np.tile(totals[:, 1::2], (1, repeats))
            zero_up, zero_down = all_up - stored_up, all_down - stored_down
            above, under = ((own @ turned).T for own in self.sides)
            wins += zero_down * above + zero_up * (under + zero_down / 2)
        shape = (len(taken), -1, self.strata)
        product = (all_up * all_down).reshape(shape).sum(axis=2)
        nothing = np.full(product.shape, np.nan)
        return np.divide(wins.reshape(shape).sum(axis=2), product, out=nothing, where=product > 0)


def _running(values: Int64[np.ndarray, "draw entry"]) -> Int64[np.ndarray, "draw edge"]:
    """Sums of what comes before each entry, and of all."""
    out = np.zeros((len(values), values.shape[1] + 1), np.int64)
    np.cumsum(values, axis=1, out=out[:, 1:])
    return out


def _between(
    running: Int64[np.ndarray, "draw edge"], edges: Int64[np.ndarray, " offset"]
) -> Int64[np.ndarray, "draw segment"]:
    """Sums of neighbouring entries, empty segments included."""
    return running[:, edges[1:]] - running[:, edges[:-1]]
