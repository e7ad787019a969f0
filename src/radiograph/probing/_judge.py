"""From what a probe read to a rate, a band, and the comparisons: the numbers of one reading.

1. support of the set; rows outside are not counted, the worst case counts them as flagged
2. rate of flags among rows inside, equal rows of a group counted once; interval at the number of rows that are
   independent, ρ the larger of the card's and the evidence's own
3. band, in this order: too little or too strange evidence and uncalibrated probes have none
4. against a reference on the same rows: difference of rates by group, signs flipped; mean shift of the score in sd of
   calibration negatives
5. labelled rows: AUROC of target and reference, and their difference
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from radiograph.core import Refusal, UserError, derive
from radiograph.core.shapes import Bool, Int64
from radiograph.evidence.probes.probe import Paired, ProbeBand, Separated, Shift
from radiograph.numerics.probes import (
    Rate,
    SetSupport,
    band,
    correlation,
    group_size,
    point_band,
    rate,
    rows_needed,
    separation,
    separation_difference,
    set_support,
)
from radiograph.numerics.proportions import Interval
from radiograph.numerics.resampling import bootstrap, weighted_mean, widened
from radiograph.probing._probe import Probe
from radiograph.probing._read import Read

FLIPS = 1999
_ROUNDING = 1e-9


class Judged(NamedTuple):
    """The numbers of one reading."""

    support: SetSupport | None
    rate: Rate | None
    rho: float | None
    worst: float | None
    band: ProbeBand
    point_band: ProbeBand | None
    needed: int | None
    why: tuple[str, str] | None
    """Code and text of what was not measured."""


def judged(probe: Probe, found: Read, edges: tuple[float, float]) -> Judged:
    """Support, rate and band."""
    if probe.threshold is None or probe.support is None:
        text = "a vector without a calibration: its scores mean nothing beyond their order"
        return Judged(None, None, None, None, "NOT-MEASURED", None, None, ("uncalibrated", text))
    own = set_support(probe.support, found.distance, found.outside, found.mean, found.variance, found.different)
    inside = ~found.outside
    # Copies of a row in its group are no more evidence: neither for the share, nor for how sure it is.
    flags = found.score > probe.threshold
    worst = float((flags | found.outside)[found.distinct].mean())
    if own.broken is not None:
        return Judged(own, None, None, worst, "NOT-MEASURED", None, None, ("outside_support", own.broken))
    card_rho = 0.0 if probe.card is None else probe.card.fpr.rho
    counted = inside & found.distinct
    group = found.group[counted]
    rho = max(card_rho, correlation(found.score[counted], group, probe.threshold))
    share = rate(int(flags[counted].sum()), int(counted.sum()), group_size(group), rho)
    if probe.status != "calibrated":
        text = "the probe is not calibrated: " + "; ".join(probe.card.failing if probe.card else ())
        return Judged(own, share, share.rho, worst, "NOT-MEASURED", None, None, ("uncalibrated", text))
    answer = band(share.interval, edges)
    needed = rows_needed(share, edges) if answer == "INCONCLUSIVE" else None
    return Judged(own, share, share.rho, worst, answer, point_band(share.estimate, edges), needed, None)


def paired(probe: Probe, target: Read, reference: Read, name: str, seed: int) -> Paired:
    """Rates on the same rows, those inside for both.

    Raises:
        Refusal: nothing is inside for both.
    """
    _check_same(target, reference)
    assert probe.threshold is not None
    inside = ~(target.outside | reference.outside)
    if not inside.any():
        raise Refusal("outside_support", "no row is inside the support for both models")
    difference = (target.score > probe.threshold).astype(np.float64) - (reference.score > probe.threshold)
    sums, sizes = _by_group(difference[inside], target.group[inside])
    observed = abs(sums.sum())
    rng = np.random.default_rng(derive(seed, "signs"))
    flips = rng.integers(0, 2, size=(FLIPS, len(sums))) * 2 - 1
    p = (1 + int((np.abs(flips @ sums) >= observed - _ROUNDING).sum())) / (1 + FLIPS)
    estimate, ends = _mean(sums, sizes, derive(seed, "paired"))
    return Paired(
        reference=name,
        difference=estimate,
        interval=(max(-1.0, ends.low), min(1.0, ends.high)),
        p=p,
        draws=FLIPS,
    )


def shift(probe: Probe, target: Read, reference: Read, seed: int) -> Shift:
    """How far scores moved."""
    _check_same(target, reference)
    unit = 1.0 if probe.negatives is None else float(probe.negatives.std())
    sums, sizes = _by_group((target.score - reference.score) / unit, target.group)
    estimate, ends = _mean(sums, sizes, derive(seed, "shift"))
    return Shift(value=estimate, interval=(ends.low, ends.high), n=len(sums))


def _mean(sums: NDArray[np.float64], sizes: NDArray[np.float64], seed: int) -> tuple[float, Interval]:
    """Of all rows, and its interval over groups, be they few."""
    estimate = float(sums.sum() / sizes.sum())
    ends = bootstrap(weighted_mean(sums / sizes, sizes), len(sums), seed=seed).interval()
    return estimate, widened(estimate, ends, len(sums))


def separated(positive: Bool[np.ndarray, " row"], target: Read, reference: Read | None) -> Separated:
    """Whether scores still tell labelled rows apart.

    Raises:
        Refusal: `one_class`.
    """
    counts = int(positive.sum()), int((~positive).sum())
    if min(counts) == 0:
        raise Refusal(
            "one_class", "the labelled rows are of one class", got=f"{counts[0]} positive, {counts[1]} negative"
        )
    own = separation(target.score, positive, target.group)
    other, difference = None, None
    if reference is not None:
        _check_same(target, reference)
        other = separation(reference.score, positive, reference.group)
        difference = separation_difference(reference.score, target.score, positive, target.group)
    return Separated(
        target=own.area,
        target_interval=(own.interval.low, own.interval.high),
        reference=None if other is None else other.area,
        reference_interval=None if other is None else (other.interval.low, other.interval.high),
        difference=None if difference is None else difference[0],
        difference_interval=None if difference is None else (difference[1].low, difference[1].high),
        positive=counts[0],
        negative=counts[1],
    )


def _by_group(
    values: NDArray[np.float64], group: Int64[np.ndarray, " row"]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    _, own = np.unique(group, return_inverse=True)
    return np.bincount(own, values).astype(np.float64), np.bincount(own).astype(np.float64)


def _check_same(target: Read, reference: Read) -> None:
    if len(target) != len(reference) or not np.array_equal(target.group, reference.group):
        raise UserError(
            "target and reference were not read on the same rows",
            expected=f"{len(target)} rows",
            got=f"{len(reference)} rows",
        )
