"""The bootstrap, seeded and vectorised: intervals for statistics of rows or of clusters of rows.

1. Draw n units with replacement, `resamples` times; a unit is a row, or all rows of one cluster.
2. A draw is kept as *counts*, how often each row was taken, so that any statistic made of weighted sums is one matrix
   product: mean = counts @ values / counts.sum(axis=1). `bootstrap` hands counts over in chunks of bounded size.
3. Percentile interval (Efron and Tibshirani 1993, chapter 13) of the statistic over the draws.

Rows that share a prompt, a text or a model are one unit: pass `clusters`, or the interval is too narrow. Percentile
intervals under-cover below about 20 units, and no bootstrap can tell the spread of a maximum beyond the largest value
seen. Same seed and NumPy, same interval. Refuses with fewer than two units.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from radiograph.core import Refusal
from radiograph.core.shapes import Float64, Int, Shaped
from radiograph.numerics._finite import finite
from radiograph.numerics.proportions import Interval

_CHUNK = 1 << 22
"""Counts held at once: 32 MiB of float64."""


@dataclass(frozen=True, eq=False)
class Bootstrap:
    """An estimate with its resampled distribution."""

    estimate: float
    samples: Float64[np.ndarray, " resample"]
    n: int
    """Independent units: rows, or clusters if rows were clustered."""

    def interval(self, confidence: float = 0.95) -> Interval:
        """Two-sided percentile interval; its low end at .90 is the one-sided 95 % bound. Of few units: `widened`."""
        tail = (1 - confidence) / 2
        low, high = np.quantile(self.samples, [tail, 1 - tail])
        return Interval(float(low), float(high))


def bootstrap(
    statistic: Callable[[Float64[np.ndarray, "draw row"]], Float64[np.ndarray, " draw"]],
    rows: int,
    *,
    seed: int,
    resamples: int = 2000,
    clusters: Shaped[np.ndarray, " row"] | None = None,
) -> Bootstrap:
    """Resample a statistic that maps counts [draw, row] to one value a draw.

    Raises:
        Refusal: fewer than two independent units (`too_few_units`).
        UserError: the statistic is not finite on some draw.
    """
    units, n = _units(rows, clusters)
    if n < 2:
        raise Refusal("too_few_units", "an interval needs at least two independent units", got=str(n))
    estimate = statistic(np.ones((1, rows)))
    alone = np.array_equal(units, np.arange(rows))  # then counts of units are counts of rows, and need no copy
    samples = [statistic(counts if alone else counts[:, units]) for counts in draws_of(n, rows, resamples, seed)]
    values = finite(np.concatenate([estimate, *samples]), "resampled statistic")
    return Bootstrap(float(values[0]), values[1:], n)


def widened(estimate: float, ends: Interval, n: int, confidence: float = 0.95) -> Interval:
    """Percentile ends of n units, moved away from the estimate by √(n/(n − 1))·t/z: 1.03 times at 60, 1.17 at 12.

    Draws of n units vary by (n − 1)/n of what the units do, and know nothing of how uncertain that is (Hesterberg 2015,
    What Teachers Should Know About the Bootstrap): of 5 normal units a percentile interval misses the mean in 16 %.
    """
    from scipy.special import ndtri, stdtrit  # pyright: ignore[reportUnknownVariableType, reportMissingTypeStubs]

    tail = (1 + confidence) / 2
    factor = float(stdtrit(n - 1, tail) / ndtri(tail)) * (n / (n - 1)) ** 0.5
    return Interval(estimate - factor * (estimate - ends.low), estimate + factor * (ends.high - estimate))


def weighted_mean(
    values: Float64[np.ndarray, " row"], weights: Float64[np.ndarray, " row"] | None = None
) -> Callable[[Float64[np.ndarray, "draw row"]], Float64[np.ndarray, " draw"]]:
    """The statistic Σ w·v / Σ w of the rows drawn, for `bootstrap`: a mean, or a ratio of sums."""
    share = np.ones_like(values) if weights is None else weights
    return lambda counts: (counts @ (share * values)) / (counts @ share)


def _units(rows: int, clusters: Shaped[np.ndarray, " row"] | None) -> tuple[Int[np.ndarray, " row"], int]:
    """The unit of each row, and their number."""
    if clusters is None:
        return np.arange(rows), rows
    names, units = np.unique(clusters, return_inverse=True)
    return units, len(names)


def draws_of(n: int, rows: int, resamples: int, seed: int) -> Iterator[Float64[np.ndarray, "draw unit"]]:
    """Counts of the units drawn, in chunks whose size depends on the number of rows alone."""
    generator = np.random.default_rng(seed)
    step = max(1, _CHUNK // max(rows, 1))
    for start in range(0, resamples, step):
        draws = min(step, resamples - start)
        taken = generator.integers(0, n, size=(draws, n)) + n * np.arange(draws)[:, None]
        yield np.bincount(taken.ravel(), minlength=draws * n).reshape(draws, n).astype(np.float64)
