"""One vector, many planes: does it point the same way as another, plane by plane?

Angles of different planes have no common zero, so they are never averaged. With z the coordinates in one plane, r their
length:
1. agreement of x with y: Σ_p z_x·z_y / Σ_p r_x r_y, in [−1, 1]: 1 where both point alike in every plane
2. a flip: a plane with z_x·z_y < 0 and both outside their rings
3. jackknife: agreement without each plane; a plane is an outlier where leaving it out moves agreement by more than
   three scaled median absolute deviations of those moves
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from radiograph.core.shapes import Bool, Float, Float64, Int64

_SCALED = 1.4826
"""Median absolute deviation of a normal law, as a standard deviation."""


@dataclass(frozen=True, eq=False)
class Ensemble:
    """Two vectors over an ensemble of planes."""

    agreement: float
    flips: Int64[np.ndarray, " flip"]
    without: Float64[np.ndarray, " plane"]
    """Agreement without each plane."""
    outliers: Int64[np.ndarray, " outlier"]


def agreement(one: Float[np.ndarray, "2 plane"], two: Float[np.ndarray, "2 plane"]) -> float:
    """Σ z_x·z_y / Σ r_x r_y; 0 where either is 0 in every plane."""
    reach = float((np.hypot(one[0], one[1]) * np.hypot(two[0], two[1])).sum())
    return float((one * two).sum() / reach) if reach > 0 else 0.0


def ensemble(
    one: Float[np.ndarray, "2 plane"], two: Float[np.ndarray, "2 plane"], outside: Bool[np.ndarray, " plane"]
) -> Ensemble:
    """Agreement, flips among the planes where both are `outside` their rings, and what single planes weigh."""
    dots = (one * two).sum(axis=0, dtype=np.float64)
    reach = (np.hypot(one[0], one[1]) * np.hypot(two[0], two[1])).astype(np.float64)
    rest = reach.sum() - reach
    without = np.divide(dots.sum() - dots, rest, out=np.zeros_like(rest), where=rest > 0)
    whole = agreement(one, two)
    moved = without - whole
    spread = _SCALED * float(np.median(np.abs(moved - np.median(moved))))
    far = np.abs(moved - np.median(moved)) > 3 * spread + 1e-12
    return Ensemble(whole, np.flatnonzero((dots < 0) & outside), without, np.flatnonzero(far))
