"""Intervals of an AUROC over sparse columns, and of the correlation and the share that stand in for it.

1. DeLong, DeLong and Clarke-Pearson (1988): V10 of a positive = share of negatives below it, ties one half; V01 of a
   negative likewise; s.e.² = var(V10)/P + var(V01)/Q. Zeros are one term of either sum. Strata weigh P·Q. Limits are
   set on the logit scale, so they stay inside [0, 1] (Pepe 2003).
2. Where classes are split perfectly V does not vary: A ± z·√V(A) is solved for A with the variance of Newcombe (2006),
   Statistics in Medicine 25:559, method 5. No interval has width zero.
3. Pairs: the share of larger positives has limits by its s.e. on the logit scale, Wilson's at 0 and 1. Spearman's ρ:
   Fisher's transform, s.e. √((1 + ρ²/2)/(n − 3)) (Bonett and Wright 2000).

Units: areas and shares in [0, 1], ρ in [−1, 1]. Units are taken as independent: where groups hold both labels without
being pairs, the bootstrap over groups (`_bootstrap`) is the interval to quote. NaN without both classes.
"""

from __future__ import annotations

from statistics import NormalDist
from typing import NamedTuple

import numpy as np

from radiograph.core.shapes import Float64, Int64
from radiograph.numerics.association._columns import Columns, added, starts_of_runs
from radiograph.numerics.association.estimates._effects import counts

FEWEST_GROUPS = 8
"""Below this there is an estimate, and no interval."""


class Limits(NamedTuple):
    """Ends of intervals."""

    low: Float64[np.ndarray, " feature"]
    high: Float64[np.ndarray, " feature"]


def delong(
    table: Columns, label: Float64[np.ndarray, " unit"], stratum: Int64[np.ndarray, " unit"]
) -> tuple[Float64[np.ndarray, " feature"], Float64[np.ndarray, " feature"]]:
    """AUROC and its standard error; NaN without both classes."""
    classes = label.astype(np.int64)
    n = counts(table, classes, stratum).astype(np.float64)
    strata = n.shape[1]
    q, p = n[..., 0].ravel(), n[..., 1].ravel()
    segment = table.feature * strata + stratum[table.unit]
    order = np.lexsort((table.value, segment))
    at, value, hit = segment[order], table.value[order], classes[table.unit[order]].astype(np.float64)
    size = len(p)
    missing = table.absent == "missing"
    zero_p = 0 * p if missing else p - added(at, hit, size)
    zero_q = 0 * q if missing else q - added(at, 1 - hit, size)
    placed = _placements(at, value, hit, zero_p, zero_q)
    with np.errstate(divide="ignore", invalid="ignore"):
        above = np.where(hit == 1, placed.own / q[at], 0.0)  # of a positive: share of negatives below
        below = np.where(hit == 0, 1 - placed.own / p[at], 0.0)  # of a negative: share of positives above
        zero_above, zero_below = placed.zero_positive / q, 1 - placed.zero_negative / p
        area = (added(at, above, size) + zero_p * np.where(zero_p > 0, zero_above, 0)) / p
        first = _variance(at, hit == 1, above, area, zero_p, zero_above, p)
        second = _variance(at, hit == 0, below, area, zero_q, zero_below, q)
        both = (p > 0) & (q > 0)
        weight = np.where(both, p * q, 0.0).reshape(-1, strata)
        total = weight.sum(axis=1)
        area = (weight * np.where(both, area, 0.0).reshape(-1, strata)).sum(axis=1) / total
        variance = (weight**2 * np.where(both, first / p + second / q, 0.0).reshape(-1, strata)).sum(axis=1)
        return np.where(total > 0, area, np.nan), np.where(total > 0, np.sqrt(variance) / total, np.nan)


def area_limits(
    area: Float64[np.ndarray, " feature"],
    error: Float64[np.ndarray, " feature"],
    positive: Int64[np.ndarray, " feature"],
    negative: Int64[np.ndarray, " feature"],
    confidence: float = 0.95,
) -> Limits:
    """Limits of an AUROC, never of width zero."""
    z = NormalDist().inv_cdf(0.5 + confidence / 2)
    low, high = _logit_limits(area, error, z)
    narrow = ~np.isnan(area) & ((error <= 1e-12) | (area <= 0) | (area >= 1))
    if narrow.any():
        own, p, q = area[narrow], positive[narrow].astype(np.float64), negative[narrow].astype(np.float64)
        low[narrow], high[narrow] = _score_limit(own, p, q, z, -1.0), _score_limit(own, p, q, z, 1.0)
    return Limits(low, high)


def share_limits(
    share: Float64[np.ndarray, " feature"],
    n: Int64[np.ndarray, " feature"],
    squares: Float64[np.ndarray, " feature"],
    confidence: float = 0.95,
) -> Limits:
    """Limits of a mean of outcomes 0, ½ and 1 over n pairs; `squares` is the sum of squared deviations."""
    z = NormalDist().inv_cdf(0.5 + confidence / 2)
    with np.errstate(divide="ignore", invalid="ignore"):
        error = np.sqrt(squares / (n - 1) / n)
        low, high = _logit_limits(share, error, z)
        centre = (share + z * z / (2 * n)) / (1 + z * z / n)
        half = z / (1 + z * z / n) * np.sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    narrow = (error <= 1e-12) | (share <= 0) | (share >= 1)
    return Limits(
        np.where(narrow, np.maximum(centre - half, 0), low), np.where(narrow, np.minimum(centre + half, 1), high)
    )


def correlation_limits(
    rho: Float64[np.ndarray, " feature"], n: Int64[np.ndarray, " feature"], confidence: float = 0.95
) -> Limits:
    """Limits of Spearman's ρ."""
    z = NormalDist().inv_cdf(0.5 + confidence / 2)
    held = np.clip(rho, -1 + 1e-12, 1 - 1e-12)
    error = np.sqrt((1 + held**2 / 2) / np.maximum(n - 3.0, 1e-9))
    return Limits(np.tanh(np.arctanh(held) - z * error), np.tanh(np.arctanh(held) + z * error))


class _Placed(NamedTuple):
    own: Float64[np.ndarray, " entry"]
    """Units of the other class below an entry, ties one half."""
    zero_positive: Float64[np.ndarray, " segment"]
    zero_negative: Float64[np.ndarray, " segment"]


def _placements(
    at: Int64[np.ndarray, " entry"],
    value: Float64[np.ndarray, " entry"],
    hit: Float64[np.ndarray, " entry"],
    zero_p: Float64[np.ndarray, " segment"],
    zero_q: Float64[np.ndarray, " segment"],
) -> _Placed:
    """Entries ascend by segment and value."""
    same = np.ones(len(value), dtype=bool)
    same[1:] = (value[1:] != value[:-1]) | (at[1:] != at[:-1])
    run = np.cumsum(same) - 1
    own = np.empty(len(value))
    zeros: list[np.ndarray] = []
    for mine, other in ((1.0, 0.0), (0.0, 1.0)):
        them = (hit == other).astype(np.float64)
        through = np.cumsum(them)
        tied = added(run, them)
        before = (through - them)[same][run]
        first = starts_of_runs(at)
        base = np.zeros(len(zero_p))
        base[at[first]] = (through - them)[first]
        silent = zero_q if other == 0 else zero_p
        own_class = hit == mine
        # A zero entry (only where absence is `missing`) ties with nothing but entries: no silent units exist there.
        found = before - base[at] + tied[run] / 2 + silent[at] * (value > 0)
        own[own_class] = found[own_class]
        below_zero = added(at, them * (value < 0), len(zero_p))
        zeros.append(below_zero + silent / 2)
    return _Placed(own, zeros[0], zeros[1])


def _variance(
    at: Int64[np.ndarray, " entry"],
    chosen: np.ndarray,
    share: Float64[np.ndarray, " entry"],
    centre: Float64[np.ndarray, " segment"],
    zeros: Float64[np.ndarray, " segment"],
    at_zero: Float64[np.ndarray, " segment"],
    n: Float64[np.ndarray, " segment"],
) -> Float64[np.ndarray, " segment"]:
    """Sample variance of placement values of one class; 0 for a class of one."""
    away = np.where(chosen, share - centre[at], 0.0)
    squares = added(at, away**2, len(n))
    squares = squares + np.where(zeros > 0, zeros * (at_zero - centre) ** 2, 0.0)
    return squares / np.maximum(n - 1, 1)


def _logit_limits(
    share: Float64[np.ndarray, " feature"], error: Float64[np.ndarray, " feature"], z: float
) -> tuple[Float64[np.ndarray, " feature"], Float64[np.ndarray, " feature"]]:
    held = np.clip(share, 1e-12, 1 - 1e-12)
    centre, half = np.log(held / (1 - held)), z * error / (held * (1 - held))
    with np.errstate(over="ignore"):
        return 1 / (1 + np.exp(half - centre)), 1 / (1 + np.exp(-half - centre))


def _score_limit(
    area: Float64[np.ndarray, " feature"],
    p: Float64[np.ndarray, " feature"],
    q: Float64[np.ndarray, " feature"],
    z: float,
    side: float,
) -> Float64[np.ndarray, " feature"]:
    """The A′ on one side of the estimate that lies z of its own standard errors away, by bisection."""
    near, far = area.copy(), np.full(len(area), 0.0 if side < 0 else 1.0)
    for _ in range(60):
        middle = (near + far) / 2
        more = (p + q) / 2 - 1
        variance = (
            middle * (1 - middle) * (1 + more * (1 - middle) / (2 - middle) + more * middle / (1 + middle)) / (p * q)
        )
        reached = np.abs(middle - area) >= z * np.sqrt(variance)
        far, near = np.where(reached, middle, far), np.where(reached, near, middle)
    return far
