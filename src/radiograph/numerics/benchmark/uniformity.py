"""Are the p-values of harmless test models uniform, as they must be?

1. Ties are broken by chance: with g benign statistics larger than the model's and e equal ones,
   p = (g + U·(e + 1))/(n + 1), U uniform on (0, 1). Uniform for a model that is exchangeable with the n; without the
   chance a p is only never too small.
2. Ten bins, and the Kolmogorov-Smirnov distance from the uniform law.
3. Test models that share a calibration have dependent p-values (Bates et al. 2023), and tables of the distance are for
   independent ones. Null: calibration and test models are dealt anew into parts of the same sizes, 1,000 times, and the
   distance is measured again; p = (1 + #{as large}) / (1 + deals). The statistics dealt are those of one pool of all.

Units: probabilities. Refuses fewer than two test models.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from radiograph.core import Refusal
from radiograph.core.shapes import Float, Float64, Int
from radiograph.numerics._finite import finite
from radiograph.numerics.conformal import TIE

BINS = 10
RESPLITS = 1000


@dataclass(frozen=True)
class Uniformity:
    """P-values of harmless test models beside the uniform law."""

    counts: tuple[int, ...]
    distance: float
    p: float
    null_median: float
    null_q95: float
    n: int
    """Test models."""
    n_calibration: int
    resplits: int


def randomised_p(statistic: float, benign: Float[np.ndarray, " model"], luck: float) -> float:
    """One model's p with ties broken by `luck` in (0, 1)."""
    larger = int((benign > statistic + TIE).sum())
    equal = int((np.abs(benign - statistic) <= TIE).sum())
    return (larger + luck * (equal + 1)) / (len(benign) + 1)


def split_p(
    calibration: Float[np.ndarray, " benign"], test: Float[np.ndarray, " model"], luck: Float[np.ndarray, " model"]
) -> Float64[np.ndarray, " model"]:
    """`randomised_p` of every test model against the same calibration."""
    ordered = np.sort(calibration)
    larger = len(ordered) - np.searchsorted(ordered, test + TIE, side="right")
    at_least = len(ordered) - np.searchsorted(ordered, test - TIE, side="left")
    return (larger + luck * (at_least - larger + 1)) / (len(ordered) + 1)


def histogram(p: Float[np.ndarray, " model"]) -> Int[np.ndarray, " bin"]:
    """Ten equal bins; 1 belongs to the last."""
    return np.histogram(p, bins=BINS, range=(0.0, 1.0))[0]


def ks_distance(p: Float[np.ndarray, " model"]) -> float:
    """Largest distance between the empirical distribution and the uniform one."""
    ordered, n = np.sort(p), len(p)
    steps = np.arange(n + 1) / n
    return float(max((steps[1:] - ordered).max(), (ordered - steps[:-1]).max()))


def uniformity(
    p: Float[np.ndarray, " model"],
    calibration: Float[np.ndarray, " benign"],
    test: Float[np.ndarray, " model"],
    *,
    seed: int,
    resplits: int = RESPLITS,
) -> Uniformity:
    """Observed (tie-randomised) p-values, and the null from statistics of one pool.

    Raises:
        Refusal: fewer than two test models, or no calibration (`too_few_models`).
    """
    if len(p) < 2 or not len(calibration):
        raise Refusal("too_few_models", f"{len(p)} harmless test models, {len(calibration)} in the calibration")
    whole = finite(np.concatenate([calibration, test]), "statistics")
    n, luck = len(calibration), np.random.default_rng(seed)
    null = np.empty(resplits)
    for i in range(resplits):
        mixed = luck.permutation(whole)
        null[i] = ks_distance(split_p(mixed[:n], mixed[n:], luck.random(len(test))))
    observed = ks_distance(finite(p, "p-values"))
    return Uniformity(
        counts=tuple(int(c) for c in histogram(p)),
        distance=observed,
        p=(1 + int((null >= observed).sum())) / (1 + resplits),
        null_median=float(np.median(null)),
        null_q95=float(np.quantile(null, 0.95)),
        n=len(p),
        n_calibration=n,
        resplits=resplits,
    )
