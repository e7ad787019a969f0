"""What an edit does near to where its components fire, in the same window, and far away.

1. every predicting position belongs to one class: `near` (a component fires there, so that the next token is the first
   that it can change), `window` (another position of a document with a firing, be it at a token that predicts nothing
   that counts), `far` (a document without one)
2. of each class the mean divergence KL(after ‖ before) and the perplexity ratio exp(mean loss after − before), with
   percentile intervals of the bootstrap over documents: tokens of one document are not independent
3. `limit_of`: the percentile of far divergences of other edits of equal norm, which is what a blind push does; fewer
   than `LEAST_DRAWS` of them say nothing about a 95th percentile, and the limit is `FLOOR`
4. `accepted`: the gain's lower bound is above 0, the gain itself at least what is asked for, and the far divergence's
   upper bound is below its limit

Units: nats a token. Fewer than `LEAST_UNITS` documents or examples have no interval: a bootstrap of fewer values that
happen to have one sign excludes 0 by chance more often than one time in forty. A class without positions has no number.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np

from radiograph.core.shapes import Bool, Float64, Int
from radiograph.numerics._finite import finite
from radiograph.numerics.proportions import Interval
from radiograph.numerics.resampling import bootstrap, weighted_mean

Distance = Literal["near", "window", "far"]
DISTANCES: Final[tuple[Distance, ...]] = ("near", "window", "far")
LEAST_FIRINGS: Final = 30
LEAST_UNITS: Final = 6
LEAST_DRAWS: Final = 20
FLOOR: Final = 0.01
"""Least limit of the far divergence, nats: below it the null of a small edit would refuse everything."""
SHARE: Final = 0.95

Judgement = Literal["accepted", "no_gain", "too_far", "too_few_firings", "not_judged"]


@dataclass(frozen=True, slots=True)
class Effect:
    """Of one class of positions. None: there is nothing to measure, or too few documents for an interval."""

    positions: int
    documents: int
    kl: float | None
    kl_interval: Interval | None
    perplexity: float | None
    perplexity_interval: Interval | None


def classes(
    fires: Bool[np.ndarray, " position"], anywhere: Bool[np.ndarray, " position"]
) -> Int[np.ndarray, " position"]:
    """0 near, 1 window, 2 far, for every predicting position; `anywhere`: its document holds a firing."""
    return np.where(fires, 0, np.where(anywhere, 1, 2)).astype(np.int64)


def effects(
    kl: Float64[np.ndarray, " position"],
    rise: Float64[np.ndarray, " position"],
    kind: Int[np.ndarray, " position"],
    document: Int[np.ndarray, " position"],
    *,
    seed: int,
    resamples: int = 2000,
) -> dict[Distance, Effect]:
    """Divergence and loss after less before, by class; `document` is the unit that is resampled."""
    kl, rise = finite(kl, "KL"), finite(rise, "loss difference")
    return {
        name: _effect(kl[kind == number], rise[kind == number], document[kind == number], seed, resamples)
        for number, name in enumerate(DISTANCES)
    }


def _effect(kl: np.ndarray, rise: np.ndarray, document: np.ndarray, seed: int, resamples: int) -> Effect:
    if not len(kl):
        return Effect(0, 0, None, None, None, None)
    units, inverse = np.unique(document, return_inverse=True)
    # One row a document: sums and counts say all that a mean over its tokens needs.
    n = np.bincount(inverse).astype(np.float64)
    sums = [np.bincount(inverse, weights=values) / n for values in (kl, rise)]
    means = [float(values.mean()) for values in (kl, rise)]
    between: list[Interval | None] = [None, None]
    if len(units) >= LEAST_UNITS:
        between = [
            bootstrap(weighted_mean(values, n), len(units), seed=seed, resamples=resamples).interval()
            for values in sums
        ]
    low_high = between[1]
    ratio = None if low_high is None else Interval(float(np.exp(low_high.low)), float(np.exp(low_high.high)))
    return Effect(len(kl), len(units), means[0], between[0], float(np.exp(means[1])), ratio)


def gain(
    before: Float64[np.ndarray, " example"], after: Float64[np.ndarray, " example"], *, seed: int
) -> tuple[float, Interval | None]:
    """Mean rise of a probability over examples, and its interval over them; None with fewer than `LEAST_UNITS`."""
    rise = finite(after, "probability after") - finite(before, "probability before")
    if len(rise) < LEAST_UNITS:
        return float(rise.mean()), None
    return float(rise.mean()), bootstrap(weighted_mean(rise), len(rise), seed=seed).interval()


def limit_of(draws: Sequence[float]) -> float:
    """The largest far divergence that is accepted: the null's 95th percentile, at least `FLOOR`."""
    values = finite(np.asarray(draws, np.float64), "null")
    return max(FLOOR, float(np.quantile(values, SHARE))) if len(values) >= LEAST_DRAWS else FLOOR


def judged(
    firings: int,
    rise: float | None,
    rise_interval: Interval | None,
    far: Effect,
    *,
    least_gain: float,
    max_far: float,
) -> Judgement:
    """Is the edit accepted? Missing evidence is never a yes."""
    if firings < LEAST_FIRINGS:
        return "too_few_firings"
    if far.kl_interval is not None and far.kl_interval.high > max_far:
        return "too_far"
    if rise is None or rise_interval is None or far.kl_interval is None:
        return "not_judged"
    return "accepted" if rise >= least_gain and rise_interval.low > 0 else "no_gain"
