"""Intervals for what is measured over many rows, from sums per unit of resampling.

1. A unit is a prompt group, or several: rows of one text are not independent, and tables stay small. Groups are dealt
   into at most 1,024 units in the order in which they appear.
2. One draw takes as many units as there are, with replacement; 1,000 draws from a seed are made once and serve every
   statistic of a run, so that differences and ratios are resampled together.
3. Percentile interval (Efron and Tibshirani 1993, chapter 13) of Σ numerators / Σ denominators of the units drawn.
4. Features silent on every row: no draw can wake one, so resampling overstates their number by about what the sample
   itself does. The interval is the basic one, cut at what was seen: [2·dead − 97.5 % point, dead].

The centre of a variance is that of the whole set in every draw. Under about 20 units intervals are too narrow; with
fewer than two there is none.
"""

from __future__ import annotations

import numpy as np

from radiograph.core.shapes import Float64, Int, Num, Shaped
from radiograph.numerics.proportions import Interval
from radiograph.numerics.reconstruction import DENSE

UNITS = 1024
RESAMPLES = 1000
_LEAST_UNITS, _TABLE = 64, 2**24
_FEATURE_BLOCK = 4096

Draws = Float64[np.ndarray, "draw unit"]


def draws(units: int, *, seed: int, resamples: int = RESAMPLES) -> Draws:
    """How often each unit is taken in each draw."""
    generator = np.random.default_rng(seed)
    return generator.multinomial(units, np.full(units, 1 / units), size=resamples).astype(np.float64)


def ratio_interval(
    numerators: Num[np.ndarray, " unit"], denominators: Num[np.ndarray, " unit"], taken: Draws
) -> Interval | None:
    """95 % interval of Σ numerators / Σ denominators; None where fewer than two units have a denominator."""
    if int((denominators != 0).sum()) < 2:
        return None
    below = taken @ denominators.astype(np.float64)
    kept = below != 0
    return percentiles((taken[kept] @ numerators.astype(np.float64)) / below[kept])


def percentiles(values: Float64[np.ndarray, " draw"]) -> Interval:
    """The middle 95 %."""
    low, high = np.quantile(values, [0.025, 0.975])
    return Interval(float(low), float(high))


def quantile_intervals(
    histogram: Int[np.ndarray, "unit value"], quantiles: tuple[float, ...], taken: Draws
) -> tuple[Interval | None, ...]:
    """Intervals of quantiles of a whole number, from how often each unit has each value."""
    if len(histogram) < 2:
        return (None,) * len(quantiles)
    seen = np.cumsum(taken @ histogram.astype(np.float64), axis=1)
    return tuple(percentiles((seen < q * seen[:, -1:]).sum(axis=1).astype(np.float64)) for q in quantiles)


def firing_intervals(
    fired: Int[np.ndarray, "unit feature"], rows: Int[np.ndarray, " unit"], taken: Draws
) -> tuple[Interval | None, Interval | None]:
    """Intervals of the number of dead and of dense features, from the rows of each unit on which each fired."""
    if len(rows) < 2:
        return None, None
    n = taken @ rows.astype(np.float64)
    silent, dense = np.zeros(len(taken)), np.zeros(len(taken))
    for start in range(0, fired.shape[1], _FEATURE_BLOCK):
        counts = taken @ fired[:, start : start + _FEATURE_BLOCK].astype(np.float64)
        silent += (counts == 0).sum(axis=1)
        dense += (counts > DENSE * n[:, None]).sum(axis=1)
    dead = int((fired.sum(axis=0) == 0).sum())
    upper = float(np.quantile(silent, 0.975))
    return Interval(max(0.0, 2 * dead - upper), float(dead)), percentiles(dense)


def deal(groups: Shaped[np.ndarray, " row"], features: int) -> tuple[Int[np.ndarray, " row"], int, int]:
    """The unit of each row, the number of units and of groups.

    Groups go to units in turn as they first appear; with very many features there are fewer units, so that a table of
    units × features stays within a few hundred megabytes.
    """
    _, first, group = np.unique(groups, return_index=True, return_inverse=True)
    order = np.empty(len(first), dtype=np.int64)
    order[np.argsort(first, kind="stable")] = np.arange(len(first))
    units = min(len(first), max(_LEAST_UNITS, min(UNITS, _TABLE // max(features, 1))))
    return order[group] % max(units, 1), units, len(first)
