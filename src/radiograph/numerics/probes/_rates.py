"""A threshold with a promised false positive rate, the rate of flags among rows that come in groups, and its band.

1. threshold: of m scores of calibration negatives the one of rank ⌈(m+1)(1−f)⌉. A row scores above it with a chance of
   at most f, if it is exchangeable with them (Vovk, Gammerman and Shafer 2005). m ≥ 1/f − 1, or there is none
2. ρ: correlation of the flags of one group, (D − 1)/(m̃ − 1), D = n·V/(r(1−r)) the design effect, V the variance of
   the rate from sums over groups, m̃ = Σm²/Σm rows in the group of a mean row (Kish 1965; with the plain mean a few
   large groups would pass for many). A handful of flags says nothing about ρ, so that the flags of a cut at the upper
   twentieth count as well, and the larger of both is taken; 0 … 1. From fewer than 12 groups (n/m̃) it is not
   known, and is 1: one document is one observation
3. rate: flagged/n, its interval that of Clopper and Pearson at n/(1 + (m̃ − 1)ρ) = k rows, times (t(k − 1)/t(n/m̃ − 1))²,
   t the 97.5 % points: a variance from few groups is itself uncertain (Korn and Graubard 1998)
4. band, from the interval alone: entirely above the upper edge MAJOR, its end at most the lower edge OK, at most the
   upper MINOR, else INCONCLUSIVE. `point_band` reads the estimate as if it were the truth: an edge belongs below
"""

from __future__ import annotations

import math
from typing import Literal, NamedTuple

import numpy as np

from radiograph.core import Refusal
from radiograph.core.shapes import Bool, Float, Float64, Int64
from radiograph.numerics.conformal import models_needed
from radiograph.numerics.proportions import Interval, clopper_pearson

Band = Literal["OK", "MINOR", "MAJOR", "INCONCLUSIVE"]
EDGES = (0.01, 0.05)
UPPER = 0.95
"""The cut whose flags are many enough to see how rows of one group go together."""
FEWEST = 12
"""Groups from which a correlation can be told."""
_MOST = 1 << 40


class Rate(NamedTuple):
    """A share of rows that are flagged."""

    estimate: float
    interval: Interval
    flagged: int
    n: int
    effective: float
    """Independent rows that the interval is of."""
    size: float = 1.0
    """Rows in the group of a mean row."""
    rho: float = 0.0
    """Correlation of the flags of one group, as it was taken."""


def threshold(negatives: Float[np.ndarray, " row"], rate: float) -> float:
    """The score above which a row is flagged.

    Raises:
        Refusal: too few negatives for the rate (`too_few_negatives`).
    """
    need = models_needed(rate)
    if len(negatives) < need:
        raise Refusal(
            "too_few_negatives",
            f"a false positive rate of {rate:g} needs more negatives to calibrate on",
            expected=f"{need} or more",
            got=str(len(negatives)),
            fix="give clean text with --negatives, more rows, or a larger --fpr",
        )
    rank = math.ceil(round((len(negatives) + 1) * (1 - rate), 9))
    return float(np.sort(negatives)[min(rank, len(negatives)) - 1])


def group_size(group: Int64[np.ndarray, " row"]) -> float:
    """m̃: rows in the group of a mean row."""
    size = np.unique(group, return_counts=True)[1].astype(np.float64)
    return float(np.square(size).sum() / size.sum())


def correlation(scores: Float[np.ndarray, " row"], group: Int64[np.ndarray, " row"], cut: float) -> float:
    """ρ of the flags above a cut, or above the upper twentieth of the scores, whichever is larger."""
    if len(scores) < 2:
        return 0.0
    return max(_correlation(scores > at, group) for at in (cut, float(np.quantile(scores, UPPER))))


def flags_of(scores: Float[np.ndarray, " row"], cut: float) -> Float64[np.ndarray, "row mark"]:
    """Scores, and the flags that `correlation` looks at, each with variance 1, or 0 throughout."""
    columns = np.stack([scores, scores > cut, scores > float(np.quantile(scores, UPPER))], axis=1).astype(np.float64)
    columns -= columns.mean(axis=0)
    spread = columns.std(axis=0)
    return columns / np.where(spread > 0, spread, 1.0)


def rate(flagged: int, n: int, size: float, rho: float) -> Rate:
    """The share and its interval.

    Args:
        flagged: rows that are.
        n: all rows.
        size: rows in the group of a mean row, `group_size`.
        rho: correlation of the flags of one group; 1 is taken where there are too few groups to know.
    """
    rho = rho if size <= 1 or n / size >= FEWEST else 1.0
    share, effective = flagged / n, _effective(n, size, rho)
    return Rate(share, clopper_pearson(share * effective, effective), flagged, n, effective, size, rho)


def _effective(n: float, size: float, rho: float) -> float:
    """Independent rows that so many rows are worth."""
    from scipy.special import stdtrit  # pyright: ignore[reportUnknownVariableType, reportMissingTypeStubs]

    spread, groups = n / (1 + (size - 1) * rho), n / size
    if groups <= 1 or spread <= groups:
        return spread
    return spread * float(stdtrit(spread - 1, 0.975) / stdtrit(groups - 1, 0.975)) ** 2


def band(interval: Interval, edges: tuple[float, float] = EDGES) -> Band:
    """What the interval allows to say."""
    low, high = edges
    if interval.low > high:
        return "MAJOR"
    if interval.high <= low:
        return "OK"
    return "MINOR" if interval.high <= high else "INCONCLUSIVE"


def point_band(estimate: float, edges: tuple[float, float] = EDGES) -> Band:
    """The reading of the estimate alone."""
    return "OK" if estimate <= edges[0] else "MINOR" if estimate <= edges[1] else "MAJOR"


def rows_needed(found: Rate, edges: tuple[float, float] = EDGES) -> int | None:
    """Rows with which the same rate would decide, in more groups of the same size; None where none are enough."""
    share = found.estimate
    if share in edges:
        return None

    def decides(n: float) -> bool:
        effective = _effective(n, found.size, found.rho)
        return band(clopper_pearson(share * effective, effective), edges) != "INCONCLUSIVE"

    high = float(found.n)
    while not decides(high):
        high *= 2
        if high > _MOST:
            return None
    low = high / 2
    while high - low > max(1.0, low * 1e-3):
        middle = (low + high) / 2
        low, high = (low, middle) if decides(middle) else (middle, high)
    return math.ceil(high)


def _correlation(flags: Bool[np.ndarray, " row"], group: Int64[np.ndarray, " row"]) -> float:
    _, own = np.unique(group, return_inverse=True)
    groups, n = int(own.max()) + 1, len(flags)
    share = float(flags.mean())
    size = group_size(group)
    if groups < 2 or n == groups or not 0 < share < 1:
        return 0.0
    apart = np.bincount(own, flags - share)
    variance = groups / (groups - 1) * float(np.square(apart).sum()) / n**2
    design = n * variance / (share * (1 - share))
    return min(max((design - 1) / (size - 1), 0.0), 1.0)
