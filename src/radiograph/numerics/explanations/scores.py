"""How well something says where a feature fires: balanced accuracy, F1, correlation, each with limits.

balanced accuracy   ½·(share of firing contexts called firing + share of silent ones called silent), .5 by chance;
                    limits by the method of variance estimates recovery from Wilson's limits of the two shares
                    (Zou and Donner 2008): BA ± ½·√((p₁ − l₁)² + (p₂ − l₂)²)
F1                  2·hits / (fired + named); by chance, naming tokens at the rate p at which they fire, F1 = p;
                    percentile limits over groups of texts drawn with replacement
correlation         Pearson's r of simulated and true values over tokens, 0 by chance, and 0 where what was said does
                    not vary; percentile limits over contexts drawn with replacement
a mean over features: percentile limits over features drawn with replacement
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from radiograph.core.shapes import Bool, Float64, Int64
from radiograph.numerics.explanations.sparse import Sparse, marked
from radiograph.numerics.proportions import wilson

DRAWS = 1000
_CHUNK = 1 << 22


class Scored(NamedTuple):
    """A score with 95 % limits; limits are None where there is too little to draw from."""

    value: float
    low: float | None
    high: float | None
    n: int


class Counted(NamedTuple):
    """Tokens of each feature and group: named by the rule and fired, fired, named."""

    hits: Float64[np.ndarray, "feature group"]
    fired: Float64[np.ndarray, "feature group"]
    named: Float64[np.ndarray, "feature group"]


def balanced_accuracy(fires: Bool[np.ndarray, " context"], said: Bool[np.ndarray, " context"]) -> Scored | None:
    """None where one of the two kinds is missing."""
    firing, silent = int(fires.sum()), int((~fires).sum())
    if not firing or not silent:
        return None
    right = int((said & fires).sum()), int((~said & ~fires).sum())
    return balanced_interval(right, (firing, silent))


def balanced_interval(right: tuple[int, int], of: tuple[int, int]) -> Scored:
    """From counts of right answers among firing and among silent contexts."""
    shares = [r / n for r, n in zip(right, of, strict=True)]
    limits = [wilson(r, n) for r, n in zip(right, of, strict=True)]
    value = sum(shares) / 2
    below = math.hypot(*(p - limit.low for p, limit in zip(shares, limits, strict=True))) / 2
    above = math.hypot(*(limit.high - p for p, limit in zip(shares, limits, strict=True))) / 2
    return Scored(value, max(0.0, value - below), min(1.0, value + above), sum(of))


def counted(fires: Sparse, named: Sparse, group: Int64[np.ndarray, " token"], groups: int) -> Counted:
    """Sums over the tokens of each group; `fires` and `named` have an entry of 1 a token."""
    at = marked(np.arange(len(group)), group, (len(group), groups))
    both: Sparse = named.multiply(fires).tocsr()
    return Counted(*(np.asarray((table @ at).todense(), np.float64) for table in (both, fires, named)))


def f1(
    hits: Float64[np.ndarray, "*shape"], fired: Float64[np.ndarray, "*shape"], named: Float64[np.ndarray, "*shape"]
) -> Float64[np.ndarray, "*shape"]:
    """NaN where nothing fired and nothing was named."""
    whole = fired + named
    return np.where(whole > 0, 2 * hits / np.where(whole > 0, whole, 1), np.nan)


def f1_limits(
    found: Counted, *, seed: int, draws: int = DRAWS
) -> tuple[Float64[np.ndarray, " feature"], Float64[np.ndarray, " feature"]]:
    """95 % limits of each feature's F1 over all groups; NaN under two groups."""
    features, groups = found.hits.shape
    if groups < 2:
        nothing = np.full(features, np.nan)
        return nothing, nothing
    taken = np.random.default_rng(seed).multinomial(groups, np.full(groups, 1 / groups), draws).astype(np.float64)
    limits = np.empty((2, features))
    step = max(1, _CHUNK // draws)
    for first in range(0, features, step):
        part = slice(first, first + step)
        values = f1(*(table[part] @ taken.T for table in found))
        limits[:, part] = _quantiles(values)
    return limits[0], limits[1]


def correlation(
    said: Float64[np.ndarray, " token"],
    true: Float64[np.ndarray, " token"],
    context: Int64[np.ndarray, " token"],
    *,
    seed: int,
    draws: int = DRAWS,
) -> Scored | None:
    """None where the truth does not vary, so that there is nothing to foretell. `n` counts contexts."""
    _, own = np.unique(context, return_inverse=True)
    own, contexts = own.reshape(-1), int(own.max(initial=-1)) + 1
    if len(true) < 3 or np.ptp(true) == 0:
        return None
    sums = np.zeros((contexts, 6))
    np.add.at(sums, own, np.stack([np.ones(len(said)), said, true, said**2, true**2, said * true], axis=1))
    value = float(_correlations(sums.sum(0, keepdims=True))[0])
    if contexts < 2:
        return Scored(value, None, None, contexts)
    taken = np.random.default_rng(seed).multinomial(contexts, np.full(contexts, 1 / contexts), draws)
    found = _correlations(taken @ sums)
    low, high = np.quantile(found, [0.025, 0.975])
    return Scored(value, float(low), float(high), contexts)


def _correlations(sums: Float64[np.ndarray, "draw sum"]) -> Float64[np.ndarray, " draw"]:
    n, x, y, xx, yy, xy = sums.T
    spread = (xx - x * x / n) * (yy - y * y / n)
    # What is left of a spread of zero after rounding.
    flat = spread <= 1e-12 * np.maximum(xx * yy, 1e-300)
    return np.where(flat, 0.0, (xy - x * y / n) / np.sqrt(np.where(flat, 1.0, spread)))


def mean_limits(values: Float64[np.ndarray, " unit"], *, seed: int, draws: int = DRAWS) -> Scored | None:
    """Mean over units; no limits under two of them, None without any."""
    if not len(values):
        return None
    if len(values) < 2:
        return Scored(float(values[0]), None, None, 1)
    taken = np.random.default_rng(seed).integers(0, len(values), (draws, len(values)))
    low, high = np.quantile(values[taken].mean(1), [0.025, 0.975])
    return Scored(float(values.mean()), float(low), float(high), len(values))


def _quantiles(values: Float64[np.ndarray, "feature draw"]) -> Float64[np.ndarray, "limit feature"]:
    found = np.full((2, len(values)), np.nan)
    known = ~np.isnan(values).any(axis=1)
    if known.any():
        found[:, known] = np.quantile(values[known], [0.025, 0.975], axis=1)
    return found
