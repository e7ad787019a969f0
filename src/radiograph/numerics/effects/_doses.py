"""How does the outcome follow the dose?

1. Group means at every dose; slope through 0: Σ dose·change/Σ dose² over groups and doses, interval by cluster
   bootstrap over groups. Dose 0 changes nothing by construction (placebo), so the line has no intercept.
2. Monotonicity: Spearman's ρ of mean changes with doses, dose 0 included, times the sign of the slope: 1 is monotone in
   the direction of the slope. None under three doses other than 0.
3. Shape: `flat` where the interval of the slope contains 0; `not_monotone` below .8; `one_sided` where one sign of the
   dose does less than a third per unit of what the other does; else by the change per unit at the largest dose over
   that at the smallest: `saturating` below ⅔, `accelerating` above 1½, `linear` between.

Doses in the unit given, changes (intervened − baseline, not directed) in that of the outcome. Refuses doses that are
all 0.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from radiograph.core import UserError
from radiograph.core.shapes import Float, Float64, Integer
from radiograph.numerics._finite import finite
from radiograph.numerics.audit.stability import spearman
from radiograph.numerics.effects._effect import RESAMPLES, group_means
from radiograph.numerics.proportions import Interval
from radiograph.numerics.resampling import bootstrap, weighted_mean

Shape = Literal["linear", "saturating", "accelerating", "one_sided", "not_monotone", "flat"]
MONOTONE = 0.8
_FEWEST_DOSES = 3
_WEAK, _BENT = 1 / 3, 1.5


@dataclass(frozen=True, eq=False)
class DoseResponse:
    """Outcome against dose."""

    slope: float
    """Outcome per unit of dose."""
    interval: Interval | None
    """None from one group."""
    monotonicity: float | None
    shape: Shape | None
    """None where the interval or the monotonicity is missing."""
    doses: Float64[np.ndarray, " dose"]
    means: Float64[np.ndarray, " dose"]
    groups: int
    samples: Float64[np.ndarray, " draw"]
    """Bootstrapped slopes, for a comparison with those of another feature; empty from one group."""

    @property
    def slopes(self) -> bool:
        """Whether the interval excludes 0."""
        return self.interval is not None and self.interval.low * self.interval.high > 0


def dose_response(
    dose: Float[np.ndarray, " row"],
    change: Float[np.ndarray, " row"],
    group: Integer[np.ndarray, " row"],
    *,
    seed: int,
    resamples: int = RESAMPLES,
) -> DoseResponse:
    """Slope, monotonicity and shape from rows of one feature.

    Raises:
        UserError: all doses are 0, or a number is not finite.
    """
    levels, level = np.unique(finite(dose, "dose"), return_inverse=True)
    if not (levels != 0).any():
        raise UserError("a dose-response needs a dose other than 0", got=f"{len(dose)} rows at 0")
    _, members = np.unique(group, return_inverse=True)
    n = int(members.max()) + 1
    # One cell for each group and dose; `group_means` sorts them by its second and third argument.
    cells = group_means(change, members * len(levels) + level, np.zeros(len(dose), dtype=np.int64), n * len(levels))
    at, cell_group = levels[cells.feature % len(levels)], cells.feature // len(levels)
    weight = np.bincount(cell_group, np.square(at), minlength=n)
    shared = np.bincount(cell_group, at * cells.value, minlength=n)
    slope = float(shared.sum() / weight.sum())
    means = np.bincount(cells.feature % len(levels), cells.value) / np.bincount(cells.feature % len(levels))
    samples, interval = np.empty(0), None
    pushed = weight > 0  # a group with placebo rows alone says nothing of a slope
    if pushed.sum() > 1:
        own = weighted_mean(shared[pushed] / weight[pushed], weight[pushed])
        drawn = bootstrap(own, int(pushed.sum()), seed=seed, resamples=resamples)
        samples, interval = drawn.samples, drawn.interval()
    doses, outcome = _with_zero(levels, means)
    monotonicity = None
    if (levels != 0).sum() >= _FEWEST_DOSES:
        rho = spearman(doses, outcome)
        monotonicity = 0.0 if rho is None else float(np.sign(slope)) * rho
    shape = None if interval is None or monotonicity is None else _shape(levels, means, interval, monotonicity)
    return DoseResponse(slope, interval, monotonicity, shape, levels, means, int(pushed.sum()), samples)


def _with_zero(
    levels: Float64[np.ndarray, " dose"], means: Float64[np.ndarray, " dose"]
) -> tuple[Float64[np.ndarray, " point"], Float64[np.ndarray, " point"]]:
    """The baseline as a point: no change at dose 0."""
    if (levels == 0).any():
        return levels, means
    place = int(np.searchsorted(levels, 0.0))
    return np.insert(levels, place, 0.0), np.insert(means, place, 0.0)


def _shape(
    levels: Float64[np.ndarray, " dose"], means: Float64[np.ndarray, " dose"], interval: Interval, monotonicity: float
) -> Shape:
    if interval.low <= 0 <= interval.high:
        return "flat"
    if monotonicity < MONOTONE:
        return "not_monotone"
    real = levels != 0
    size, each = np.abs(levels[real]), means[real] / levels[real]
    up, down = levels[real] > 0, levels[real] < 0
    if up.any() and down.any():
        sides = sorted(abs(float((each * size)[side].sum() / size[side].sum())) for side in (up, down))
        if sides[0] < _WEAK * sides[1]:
            return "one_sided"
    near, far = (float(np.abs(each[size == edge]).mean()) for edge in (size.min(), size.max()))
    if size.min() == size.max() or near <= 0:
        return "linear" if size.min() == size.max() else "accelerating"
    bend = far / near
    return "saturating" if bend < 1 / _BENT else "accelerating" if bend > _BENT else "linear"
