"""Does a score rank planted models above harmless ones, and better than a simpler score does?

1. AUROC = P(planted > harmless) + ½·P(equal) over all pairs (Mann and Whitney 1947)
2. the curve: share of planted against share of harmless models at or above each score
3. difference of two AUROCs on the same models: models of each class are drawn anew with replacement, the same draw for
   both scores (paired, stratified bootstrap), percentile interval
4. control: class labels in random order; the mean over orders is ½, whatever the scores are

Units: areas in [0, 1]. Models are independent draws; a family counts as often as it has models. Refuses empty classes.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from radiograph.core import UserError
from radiograph.core.shapes import Float, Float64
from radiograph.numerics._finite import finite

RESAMPLES = 2000
Planted = Float[np.ndarray, " planted"]
Harmless = Float[np.ndarray, " harmless"]


class Gap(NamedTuple):
    """AUROC of one score minus that of another on the same models."""

    value: float
    low: float
    high: float
    share_above: float
    """Of the draws in which the first is the larger one; equal ones count half."""


def auroc(planted: Planted, harmless: Harmless) -> float:
    """Area under the curve."""
    return float(_wins(planted, harmless).mean())


def roc_curve(planted: Planted, harmless: Harmless) -> Float64[np.ndarray, "point rate"]:
    """(false positive rate, true positive rate), from (0, 0) to (1, 1), one point a distinct score."""
    cuts = np.unique(np.concatenate([planted, harmless]))[::-1]
    points = [(float((harmless >= c).mean()), float((planted >= c).mean())) for c in cuts]
    return np.array([(0.0, 0.0), *points])


def auroc_gap(
    planted: Float[np.ndarray, "score planted"],
    harmless: Float[np.ndarray, "score harmless"],
    *,
    seed: int,
    resamples: int = RESAMPLES,
) -> Gap:
    """Two scores of the same models: row 0 against row 1."""
    wins = [_wins(planted[i], harmless[i]) for i in (0, 1)]
    p, h = wins[0].shape
    luck = np.random.default_rng(seed)
    up, down = _counts(luck, p, resamples), _counts(luck, h, resamples)
    areas = [((up @ w) * down).sum(axis=1) / (p * h) for w in wins]
    gaps = areas[0] - areas[1]
    low, high = np.quantile(gaps, [0.025, 0.975])
    above = float((gaps > 0).mean() + 0.5 * (gaps == 0).mean())
    return Gap(float(wins[0].mean() - wins[1].mean()), float(low), float(high), above)


def shuffled_auroc(
    planted: Planted, harmless: Harmless, *, seed: int, orders: int = 1000
) -> tuple[float, float, float]:
    """Mean and central 95 % of AUROCs under labels in random order."""
    whole, n = np.concatenate([planted, harmless]), len(planted)
    luck = np.random.default_rng(seed)
    areas = np.empty(orders)
    for i in range(orders):
        mixed = luck.permutation(whole)
        areas[i] = auroc(mixed[:n], mixed[n:])
    low, high = np.quantile(areas, [0.025, 0.975])
    return float(areas.mean()), float(low), float(high)


def _wins(planted: Planted, harmless: Harmless) -> Float64[np.ndarray, "planted harmless"]:
    if not len(planted) or not len(harmless):
        raise UserError("an AUROC needs models of both classes", got=f"{len(planted)} and {len(harmless)}")
    a = finite(np.asarray(planted, dtype=float), "scores of planted models")[:, None]
    b = finite(np.asarray(harmless, dtype=float), "scores of harmless models")[None]
    return (a > b) + 0.5 * (a == b)


def _counts(luck: np.random.Generator, n: int, draws: int) -> Float64[np.ndarray, "draw model"]:
    """How often each model is taken in each draw."""
    taken = luck.integers(0, n, size=(draws, n)) + n * np.arange(draws)[:, None]
    return np.bincount(taken.ravel(), minlength=draws * n).reshape(draws, n).astype(np.float64)
