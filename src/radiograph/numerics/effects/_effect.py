"""Does moving a feature move the outcome? Effects of many features at once, groups as the units.

1. E = mean over groups of the group's mean directed effect, so that a group of many prompts does not speak for others.
2. Interval: t with groups − 1 degrees of freedom below 20 groups, percentile cluster bootstrap from 20 on; none from
   one group.
3. p: paired t over group means, two-sided; beside it the p of random signs of groups (all 2^(G−1) where they are few).
   Where all groups agree to the last digit, t is without meaning and p is that of the signs.
4. q: Benjamini and Hochberg over the features with 6 groups or more; with fewer there is an estimate and an interval,
   but neither p nor q (`few_groups`).
5. In sd: E over the standard deviation of the baseline outcome over rows.

Rows are sorted before they are summed: their order changes no digit. O(rows log rows), no loop over features or rows.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, cast

import numpy as np

from radiograph.core import UserError
from radiograph.core.shapes import Float, Float64, Int64, Integer
from radiograph.numerics._finite import finite
from radiograph.numerics.multiplicity import Fdr, q_values
from radiograph.numerics.planes import Flips, against_null
from radiograph.numerics.resampling import draws_of

FEWEST_GROUPS = 6
"""Below: `few_groups`."""
BOOTSTRAP_GROUPS = 20
RESAMPLES, SIGNS = 2000, 9_999
_HELD = 1 << 22


@dataclass(frozen=True, eq=False)
class Cells:
    """Mean of every group of every feature, sorted by both."""

    feature: Int64[np.ndarray, " cell"]
    value: Float64[np.ndarray, " cell"]
    features: int

    @property
    def groups(self) -> Int64[np.ndarray, " feature"]:
        return np.bincount(self.feature, minlength=self.features)

    @property
    def estimate(self) -> Float64[np.ndarray, " feature"]:
        """Mean over groups; NaN without one."""
        groups = self.groups
        total = np.bincount(self.feature, self.value, minlength=self.features)
        return np.where(groups > 0, total / np.maximum(groups, 1), np.nan)


@dataclass(frozen=True, eq=False)
class Effects:
    """One entry for each feature; NaN where a number is not to be had."""

    estimate: Float64[np.ndarray, " feature"]
    """In the unit of the outcome; positive: the feature promotes it."""
    low: Float64[np.ndarray, " feature"]
    high: Float64[np.ndarray, " feature"]
    p: Float64[np.ndarray, " feature"]
    p_signs: Float64[np.ndarray, " feature"]
    q: Float64[np.ndarray, " feature"]
    in_sd: Float64[np.ndarray, " feature"]
    groups: Int64[np.ndarray, " feature"]
    rows: Int64[np.ndarray, " feature"]


def group_means(
    directed: Float[np.ndarray, " row"],
    feature: Integer[np.ndarray, " row"],
    group: Integer[np.ndarray, " row"],
    features: int,
) -> Cells:
    """Mean directed effect of every group of every feature.

    Raises:
        UserError: an effect that is not finite, a feature outside 0 … features − 1.
    """
    values = finite(directed, "directed effect")
    if len(feature) and not 0 <= int(feature.min()) <= int(feature.max()) < features:
        raise UserError("a feature lies outside the table", expected=f"0 to {features - 1}", got=str(feature.max()))
    order = np.lexsort((values, group, feature))
    of, inside, ordered = feature[order].astype(np.int64), group[order], values[order]
    if not len(order):
        return Cells(of, ordered, features)
    first = np.ones(len(order), dtype=bool)
    first[1:] = (of[1:] != of[:-1]) | (inside[1:] != inside[:-1])
    starts = np.flatnonzero(first)
    sizes = np.diff(np.append(starts, len(order)))
    return Cells(of[starts], np.add.reduceat(ordered, starts) / sizes, features)


def effects(
    directed: Float[np.ndarray, " row"],
    feature: Integer[np.ndarray, " row"],
    group: Integer[np.ndarray, " row"],
    *,
    features: int,
    seed: int,
    baseline: Float[np.ndarray, " row"] | None = None,
    resamples: int = RESAMPLES,
    signs: int = SIGNS,
    fdr: Fdr = "bh",
) -> Effects:
    """Effects of positives; rows without a push are left out by the caller.

    Raises:
        UserError: a number that is not finite, a feature outside the table.
    """
    cells = group_means(directed, feature, group, features)
    groups, estimate = cells.groups, cells.estimate
    low, high, p, p_signs = (np.full(features, np.nan) for _ in range(4))
    starts = np.searchsorted(cells.feature, np.arange(features))
    for count in np.unique(groups[groups > 1]).tolist():  # features of one number of groups make one table
        mine = np.flatnonzero(groups == count)
        table = cells.value[starts[mine][None, :] + np.arange(count)[:, None]]
        low[mine], high[mine], p[mine] = _paired_t(table)
        if count >= BOOTSTRAP_GROUPS:
            low[mine], high[mine] = _cluster_interval(table, seed, resamples)
        if count >= FEWEST_GROUPS:
            p_signs[mine] = _sign_p(table, seed, signs)
    enough = groups >= FEWEST_GROUPS
    p = np.where(enough, np.where(np.isnan(p), p_signs, p), np.nan)
    rows = np.bincount(feature.astype(np.int64), minlength=features)
    in_sd = np.full(features, np.nan) if baseline is None else estimate / _spread(baseline, feature, features)
    return Effects(estimate, low, high, p, p_signs, q_values(p, fdr), in_sd, groups, rows)


def _paired_t(
    table: Float64[np.ndarray, "group feature"],
) -> tuple[Float64[np.ndarray, " feature"], Float64[np.ndarray, " feature"], Float64[np.ndarray, " feature"]]:
    """Interval and two-sided p; p is NaN where all groups are equal."""
    from scipy import special  # pyright: ignore[reportMissingTypeStubs]

    n = len(table)
    mean, error = table.mean(axis=0), table.std(axis=0, ddof=1) / np.sqrt(n)
    # Rounding leaves equal numbers a spread of about 1e-16 of their size.
    varies = error > 1e-14 * np.abs(table).max(axis=0)
    t = np.abs(mean) / np.where(varies, error, 1.0)
    p = np.where(varies, 2 * cast(Any, special).stdtr(n - 1, -t), np.nan)
    half = float(cast(Any, special).stdtrit(n - 1, 0.975)) * error
    return mean - half, mean + half, p


def _cluster_interval(
    table: Float64[np.ndarray, "group feature"], seed: int, resamples: int
) -> tuple[Float64[np.ndarray, " feature"], Float64[np.ndarray, " feature"]]:
    n, features = table.shape
    counts = np.concatenate(list(draws_of(n, n, resamples, seed)))
    low, high = np.empty(features), np.empty(features)
    step = max(1, _HELD // resamples)
    for start in range(0, features, step):
        part = slice(start, start + step)
        low[part], high[part] = np.quantile(counts @ table[:, part] / n, [0.025, 0.975], axis=0)
    return low, high


def _sign_p(table: Float64[np.ndarray, "group feature"], seed: int, draws: int) -> Float64[np.ndarray, " feature"]:
    """P of |mean| under random signs of groups: sides of a pair (0, effect) exchanged."""
    right = np.stack([table, np.zeros_like(table)], axis=1)
    source = Flips(np.zeros_like(right), right, len(table), "displacement")
    return against_null(source.observed(), source, seed=seed, draws=draws, limit=draws).p


def _spread(
    baseline: Float[np.ndarray, " row"], feature: Integer[np.ndarray, " row"], features: int
) -> Float64[np.ndarray, " feature"]:
    """Standard deviation of the baseline over the rows of each feature; NaN where there is none."""
    values = finite(baseline, "baseline")
    rows = np.bincount(feature, minlength=features)
    mean = np.bincount(feature, values, minlength=features) / np.maximum(rows, 1)
    squares = np.bincount(feature, np.square(values - mean[feature]), minlength=features)
    spread = np.sqrt(squares / np.maximum(rows - 1, 1))
    return np.where(spread > 1e-14 * np.abs(mean), spread, np.nan)
