"""Rank statistics of sparse columns in closed form: zeros are one tie whose place is known, and are never visited.

With n₋ negative entries and z₀ zeros in a column of N units:
1. zeros share mid-rank r₀ = n₋ + (z₀ + 1)/2; negative entries rank before them, positive ones after
2. every entry gets a score a = rank − r₀, zeros get none; ranks are taken inside strata
3. a statistic is S = Σ w·a, linear in the weights w: labels (Mann-Whitney), centred ranks of a score (Spearman), signs
   of pairs (Pratt's signed rank: a = sign·rank of |d|, zeros ranked and left out)
4. if w is exchanged inside blocks of n units, S has mean Σ_b w̄·Σ_b a and variance
   Σ_b [Σ_b (w − w̄)²/(n − 1)]·[Σ_b a² − (Σ_b a)²/n]; for one block this is PQ/12·[(N + 1) − Σ(t³ − t)/(N(N − 1))]
   (Kendall 1948). Signs flipped: mean 0, variance Σ a²
5. z = (S − mean)/√variance; AUROC A = ½ + Σ_s (S − mean)_s/Σ_s P·Q, so that strata weigh P·Q; Spearman's ρ likewise

Absent entries that were not measured have a = 0 about the mean rank of the measured ones, and n differs by feature.
Sums of ranks are multiples of one half, so they are exact in any order.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from radiograph.core.shapes import Float64, Int64
from radiograph.numerics.association._columns import Columns, added, starts_of_runs


class Ranked(NamedTuple):
    """Scores of entries, in the order of their table, and ties."""

    score: Float64[np.ndarray, " entry"]
    loose: Int64[np.ndarray, " feature"]
    """Units outside the largest tie (of each stratum)."""


class Moments(NamedTuple):
    """S of every feature with its mean and variance under exchange, and what makes correlations of it."""

    sum: Float64[np.ndarray, " feature"]
    mean: Float64[np.ndarray, " feature"]
    variance: Float64[np.ndarray, " feature"]
    spread: Float64[np.ndarray, " feature"]
    """Σ over blocks of squared deviations of a."""

    @property
    def z(self) -> Float64[np.ndarray, " feature"]:
        """Standardised S; 0 where chance cannot move it."""
        return standardised(self.sum - self.mean, self.variance)


def standardised(
    distance: Float64[np.ndarray, " feature"], variance: Float64[np.ndarray, " feature"]
) -> Float64[np.ndarray, " feature"]:
    """distance/√variance; 0 where there is no variance."""
    moving = variance > 1e-12
    return np.divide(
        distance, np.sqrt(variance, where=moving, out=np.ones_like(variance)), where=moving, out=np.zeros_like(distance)
    )


def two_sided(z: Float64[np.ndarray, " feature"]) -> Float64[np.ndarray, " feature"]:
    """P(|normal| ≥ |z|), never 0; for candidates, not for all features."""
    found = [math.erfc(abs(one) / math.sqrt(2)) for one in z.tolist()]
    return np.maximum(np.array(found, dtype=np.float64), np.finfo(np.float64).tiny)


def ranked(table: Columns, stratum: Int64[np.ndarray, " unit"]) -> Ranked:
    """Scores of all entries by rank inside their stratum."""
    strata = int(stratum.max(initial=0)) + 1
    segment = table.feature if strata == 1 else table.feature * strata + stratum[table.unit]
    size = table.features * strata
    tied = _tied(table.value, segment)
    stored = np.bincount(segment, minlength=size)
    before = np.cumsum(stored) - stored
    below = np.bincount(segment[table.value < 0], minlength=size)
    units = np.bincount(stratum, minlength=strata)
    zeros = (np.tile(units, table.features) - stored) * (table.absent == "zero")
    at, length = segment[tied.order], tied.length[tied.run]
    rank = tied.start[tied.run] - before[at] + (length + 1) / 2
    # Where all is measured any centre serves, because block sums of labels are fixed; r₀ keeps zeros at no cost.
    centre = below + (zeros + 1) / 2 if table.absent == "zero" else (stored + 1) / 2
    score = np.empty(len(rank))
    score[tied.order] = rank + zeros[at] * (table.value[tied.order] > 0) - centre[at]
    return Ranked(score, _loose(segment[tied.order][tied.start], tied.length, stored + zeros, zeros, strata))


def signed_ranks(differences: Columns) -> Ranked:
    """Pratt's scores of the differences of pairs."""
    size = Columns(
        differences.offsets, differences.unit, np.abs(differences.value), differences.units, differences.absent
    )
    tied = _tied(size.value, size.feature)
    before = size.offsets[:-1]
    zeros = (differences.units - size.stored) * (differences.absent == "zero")
    at, length = size.feature[tied.order], tied.length[tied.run]
    rank = tied.start[tied.run] - before[at] + (length + 1) / 2 + zeros[at]
    score = np.empty(len(rank))
    score[tied.order] = np.sign(differences.value[tied.order]) * rank
    return Ranked(score, _loose(size.feature[tied.order][tied.start], tied.length, size.stored + zeros, zeros, 1))


def exchanged(
    table: Columns,
    score: Float64[np.ndarray, " entry"],
    weight: Float64[np.ndarray, " unit"],
    block: Int64[np.ndarray, " unit"],
) -> Moments:
    """S and its law when `weight` is exchanged inside blocks."""
    blocks = int(block.max(initial=0)) + 1
    total = table.sums(score * weight[table.unit])
    size = np.bincount(block, minlength=blocks)
    mean = added(block, weight, blocks) / np.maximum(size, 1)
    squares = added(block, np.square(weight - mean[block]), blocks)
    if blocks == 1 and table.absent == "zero":
        sums, own = table.sums(score), table.sums(np.square(score))
        spread = own - np.square(sums) / max(size[0], 1)
        return Moments(total, mean[0] * sums, squares[0] / max(size[0] - 1, 1) * spread, spread)
    order, starts, feature, at = _by_block(table, block, blocks)
    a, w = score[order], weight[table.unit[order]]
    sums, own = np.add.reduceat(a, starts) if len(a) else a, np.add.reduceat(a * a, starts) if len(a) else a
    if table.absent == "zero":
        n, centre, square = size[at], mean[at], squares[at]
    else:
        n = np.diff(np.append(starts, len(a)))
        centre = np.add.reduceat(w, starts) / n if len(a) else w
        # Of 0 and 1 the squares are exact; of scores they are taken about the mean of all.
        shifted = w - weight.mean()
        square = np.add.reduceat(shifted**2, starts) - np.add.reduceat(shifted, starts) ** 2 / n if len(a) else w
    spread = own - sums**2 / np.maximum(n, 1)
    variance = square / np.maximum(n - 1, 1) * spread
    parts = (added(feature, x, table.features) for x in (centre * sums, variance, spread))
    return Moments(total, *(part.astype(np.float64) for part in parts))


def flipped(
    table: Columns, score: Float64[np.ndarray, " entry"], sign: Float64[np.ndarray, " unit"] | None = None
) -> Moments:
    """S and its law when signs of units are flipped; `sign` is what each pair is multiplied with."""
    total = table.sums(score if sign is None else score * sign[table.unit])
    spread = table.sums(np.square(score))
    return Moments(total, np.zeros_like(total), spread, spread)


class _Tied(NamedTuple):
    """Entries in ascending order inside their segments, and runs of equal ones."""

    order: Int64[np.ndarray, " entry"]
    start: Int64[np.ndarray, " run"]
    length: Int64[np.ndarray, " run"]
    run: Int64[np.ndarray, " entry"]


def _tied(value: Float64[np.ndarray, " entry"], segment: Int64[np.ndarray, " entry"]) -> _Tied:
    key = _sortable(value, segment)
    order = np.argsort(key)  # equal keys share all that is asked of them: no stable sort is needed
    start = starts_of_runs(key[order])
    length = np.diff(np.append(start, len(key)))
    return _Tied(order, start, length, np.repeat(np.arange(len(start)), length))


def _sortable(
    value: Float64[np.ndarray, " entry"], segment: Int64[np.ndarray, " entry"]
) -> Int64[np.ndarray, " entry"]:
    """One integer that sorts by segment, then by value: a float32's bits are in order, others are ranked first."""
    narrow = value.astype(np.float32)
    if (narrow == value).all() and len(segment):
        bits = (narrow + np.float32(0)).view(np.int32).astype(np.int64)  # + 0: both zeros are one value
        place = np.where(bits < 0, -(bits & 0x7FFFFFFF), bits) + (1 << 31)
    else:
        order = np.argsort(value)
        step = np.zeros(len(value), np.int64)
        step[1:] = value[order][1:] != value[order][:-1]
        place = np.empty(len(value), np.int64)
        place[order] = np.cumsum(step)
    return (segment << 32) + place


def _loose(
    segment: Int64[np.ndarray, " run"],
    length: Int64[np.ndarray, " run"],
    units: Int64[np.ndarray, " segment"],
    zeros: Int64[np.ndarray, " segment"],
    strata: int,
) -> Int64[np.ndarray, " feature"]:
    largest = zeros.copy()
    np.maximum.at(largest, segment, length)
    return (units - largest).reshape(-1, strata).sum(axis=1)


def _by_block(
    table: Columns, block: Int64[np.ndarray, " unit"], blocks: int
) -> tuple[
    Int64[np.ndarray, " entry"], Int64[np.ndarray, " run"], Int64[np.ndarray, " run"], Int64[np.ndarray, " run"]
]:
    """Entries by feature and block: their order, starts of runs, and the feature and block of each run."""
    key = table.feature * blocks + block[table.unit]
    order = np.argsort(key, kind="stable")
    starts = starts_of_runs(key[order])
    feature, at = np.divmod(key[order][starts], blocks)
    return order, starts, feature, at
