"""One way to p: an observed statistic a plane, a source of null draws, and how far to go.

1. K null draws of every statistic; p = (1 + #{null ≥ observed})/(1 + K), ties counted against the finding.
2. Statistics at the smallest p are drawn again with 10 × K, up to a million draws: their p is then that of the new
   draws. The choice looked at the old draws alone, so the new p is honest.
3. Null quantiles and, for Westfall and Young, the largest standardised statistic of each draw over everything tested.

A source hands out the same draws for the same seed whichever statistics are asked for, so that blocks of statistics can
be tested one after the other and their maxima still belong together.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np

from radiograph.core import derive
from radiograph.core.shapes import Bool, Float, Float64, Integer
from radiograph.numerics.multiplicity import max_t

DRAWS, LIMIT = 9_999, 1_000_000
_HELD = 1 << 24
"""Null values held at once: 128 MiB."""


@runtime_checkable
class Source(Protocol):
    """Null draws of a family of statistics."""

    def smallest(self, draws: int) -> float:
        """The smallest p that so many draws can give."""
        ...

    def draws(self, wanted: int) -> int:
        """How many there are, when so many are wanted: an enumeration may be shorter."""
        ...

    def chunks(
        self, columns: Integer[np.ndarray, " column"], draws: int, seed: int
    ) -> Iterator[Float[np.ndarray, "draw column"]]:
        """Null values of these statistics."""
        ...


@dataclass(frozen=True, eq=False)
class Tested:
    """What the draws say of each statistic."""

    observed: Float64[np.ndarray, " column"]
    p: Float64[np.ndarray, " column"]
    draws: int
    smallest: float
    """No p below this can be reached with so many draws."""
    quantiles: Float64[np.ndarray, "3 column"]
    """2.5 %, 50 %, 95 % of the null."""
    standard: Float64[np.ndarray, " column"]
    """(observed − mean of the null)/its standard deviation."""
    maxima: Float64[np.ndarray, " draw"]
    """Largest standardised null value of each draw."""
    redrawn: Bool[np.ndarray, " column"]

    @property
    def family_p(self) -> Float64[np.ndarray, " column"]:
        """Westfall and Young, single step, over these statistics."""
        return max_t(self.standard, self.maxima)


def against_null(
    observed: Float[np.ndarray, " column"], source: Source, *, seed: int, draws: int = DRAWS, limit: int = LIMIT
) -> Tested:
    """The p of every statistic; large is surprising."""
    values = np.asarray(observed, dtype=np.float64)
    count = source.draws(draws)
    p, standard = np.empty(len(values)), np.empty(len(values))
    quantiles = np.empty((3, len(values)))
    maxima = np.full(count, -np.inf)
    step = max(1, _HELD // max(count, 1))
    for start in range(0, len(values), step):
        columns = np.arange(start, min(start + step, len(values)))
        null = np.concatenate(list(source.chunks(columns, count, seed)))
        own = values[columns]
        p[columns] = (1 + (null >= _floor(own, null)).sum(axis=0)) / (1 + count)
        quantiles[:, columns] = np.quantile(null, [0.025, 0.5, 0.95], axis=0)
        mean, spread = null.mean(axis=0, dtype=np.float64), null.std(axis=0, dtype=np.float64)
        flat = spread <= 1e-9 * np.abs(mean)
        spread = np.where(flat, 1.0, spread)
        standard[columns] = np.where(flat, 0.0, (own - mean) / spread)
        maxima = np.maximum(maxima, np.where(flat, 0.0, (null - mean) / spread).max(axis=1))
    redrawn = _again(values, p, source, count, seed, limit)
    return Tested(values, p, count, source.smallest(count), quantiles, standard, maxima, redrawn)


def _again(
    values: Float64[np.ndarray, " column"],
    p: Float64[np.ndarray, " column"],
    source: Source,
    count: int,
    seed: int,
    limit: int,
) -> Bool[np.ndarray, " column"]:
    """Draw again where p is the smallest that the draws allow; writes into `p`."""
    redrawn = np.zeros(len(values), dtype=bool)
    while 10 * count <= limit and source.smallest(10 * count) < source.smallest(count):
        columns = np.flatnonzero(p <= 1 / (1 + count))
        if not len(columns):
            break
        count *= 10
        reached = np.zeros(len(columns), dtype=np.int64)
        for null in source.chunks(columns, count, derive(seed, "again", count)):
            reached += (null >= _floor(values[columns], null)).sum(axis=0)
        p[columns], redrawn[columns] = (1 + reached) / (1 + count), True
    return redrawn


def _floor(
    own: Float64[np.ndarray, " column"], null: Float[np.ndarray, "draw column"]
) -> Float64[np.ndarray, " column"]:
    """The observed value less what rounding may have taken from a null draw that equals it."""
    slack = 1e-5 if null.dtype == np.float32 else 1e-9
    return own - slack * np.abs(own)
