"""Relative change of a loss, with an interval.

1. score = (loss with both - loss alone)/loss alone, on the rows of one target
2. rows under both conditions: groups of rows are drawn with replacement, the same for all conditions, and the ratio of
   sums is taken anew: a percentile interval, widened for few groups (`resampling.widened`). Where a condition was
   repeated with several seeds, what their mean may be off, t·s/√seeds, is added to it in squares
3. means with sd and n alone: the ratio of two independent means by Fieller's theorem (1954), Student's t at the smaller
   n - 1. A denominator that is not clear of 0 has no bounded interval
Units: shares of the loss alone. Rows of one text or prompt are one group. One seed is one merge: its interval is not of
others.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, cast

import numpy as np

from radiograph.core import Refusal
from radiograph.core.shapes import Float64, Shaped
from radiograph.numerics._finite import finite
from radiograph.numerics.proportions import Interval
from radiograph.numerics.resampling import draws_of, widened

RESAMPLES = 2000


@dataclass(frozen=True, eq=False)
class Scores:
    """Scores of one target under each condition."""

    score: Float64[np.ndarray, " condition"]
    low: Float64[np.ndarray, " condition"]
    high: Float64[np.ndarray, " condition"]
    repeats: Float64[np.ndarray, "condition repeat"]
    """Of every seed by itself."""
    groups: int

    def interval(self, condition: int) -> Interval:
        """Of one condition."""
        return Interval(float(self.low[condition]), float(self.high[condition]))


def paired_scores(
    alone: Float64[np.ndarray, " row"],
    both: Float64[np.ndarray, "condition repeat row"],
    groups: Shaped[np.ndarray, " row"],
    *,
    seed: int,
    resamples: int = RESAMPLES,
) -> Scores:
    """Scores of summed losses, and their intervals at .95.

    Raises:
        Refusal: fewer than two groups (`too_few_units`), or so few with a loss alone that a draw can have none
            (`no_loss`).
        UserError: a loss is not finite.
    """
    names, unit = np.unique(groups, return_inverse=True)
    if len(names) < 2:
        raise Refusal("too_few_units", "an interval needs at least two groups of rows", got=str(len(names)))
    one = np.bincount(unit, weights=finite(alone, "loss alone"))
    flat = finite(both, "loss with both").reshape(-1, len(alone))
    two = np.stack([np.bincount(unit, weights=losses) for losses in flat]).reshape(*both.shape[:2], len(names))
    if not one.sum() > 0:
        raise Refusal("no_loss", "the rows have no loss to change")
    repeats = two.sum(-1) / one.sum() - 1
    mean, score = two.mean(1), repeats.mean(-1)
    drawn: list[np.ndarray] = []
    for counts in draws_of(len(names), len(names), resamples, seed):
        below = counts @ one
        if not (below > 0).all():
            raise Refusal("no_loss", "so few rows have a loss to change that a draw of them has none")
        drawn.append(counts @ mean.T / below[:, None] - 1)
    ends = np.quantile(np.concatenate(drawn), [0.025, 0.975], axis=0)
    rows = [widened(float(s), Interval(*e), len(names)) for s, e in zip(score, ends.T.tolist(), strict=True)]
    seeds = _seeds_off(repeats)
    low, high = (np.array([own[end] for own in rows]) for end in (0, 1))
    return Scores(
        score, score - np.hypot(score - low, seeds), score + np.hypot(high - score, seeds), repeats, len(names)
    )


def _seeds_off(repeats: Float64[np.ndarray, "condition repeat"]) -> Float64[np.ndarray, " condition"]:
    """How far the mean over seeds may be from that over all seeds, at .95; 0 of one seed."""
    count = repeats.shape[1]
    if count < 2:
        return np.zeros(len(repeats))
    return _quantile(count, 0.95) * repeats.std(1, ddof=1) / np.sqrt(count)


def gain(
    base: Float64[np.ndarray, " row"],
    alone: Float64[np.ndarray, " row"],
    tokens: Float64[np.ndarray, " row"],
    groups: Shaped[np.ndarray, " row"],
    *,
    seed: int,
) -> tuple[float, Interval]:
    """By how much a token's loss falls from the base to the adapter, on the adapter's own data.

    Raises:
        Refusal: fewer than two groups. UserError: a loss is not finite.
    """
    unit = np.unique(groups, return_inverse=True)[1]
    won = np.bincount(unit, weights=finite(base, "loss of the base") - finite(alone, "loss alone"))
    size = np.bincount(unit, weights=tokens)
    if len(won) < 2:
        raise Refusal("too_few_units", "an interval needs at least two groups of rows", got=str(len(won)))
    drawn = [(counts @ won) / (counts @ size) for counts in draws_of(len(won), len(won), RESAMPLES, seed)]
    low, high = np.quantile(np.concatenate(drawn), [0.025, 0.975])
    estimate = float(won.sum() / size.sum())
    return estimate, widened(estimate, Interval(float(low), float(high)), len(won))


def difference_interval(
    one: tuple[float, float, int], two: tuple[float, float, int], confidence: float = 0.95
) -> Interval:
    """Of the difference of two independent means, one - two, each given as mean, sd of its rows, and n."""
    (x, sx, n), (y, sy, m) = one, two
    half = _quantile(min(n, m), confidence) * float(np.sqrt(sx * sx / n + sy * sy / m))
    return Interval(x - y - half, x - y + half)


def ratio_interval(
    alone: tuple[float, float, int], both: tuple[float, float, int], confidence: float = 0.95
) -> Interval | None:
    """Of both/alone - 1, each given as mean, sd of its rows, and n; None where it has no bounds.

    Rows that were the same under both conditions make this too wide, never too narrow, if their losses rise together.
    """
    (x, sx, n), (y, sy, m) = alone, both
    if min(n, m) < 2:
        return None
    t = _quantile(min(n, m), confidence)
    vx, vy = t * t * sx * sx / n, t * t * sy * sy / m
    a = x * x - vx
    if a <= 0:
        return None
    root = np.sqrt(max(0.0, (x * y) ** 2 - a * (y * y - vy)))
    return Interval(float((x * y - root) / a - 1), float((x * y + root) / a - 1))


def _quantile(n: int, confidence: float) -> float:
    """Two-sided, of Student's t."""
    from scipy import special  # pyright: ignore[reportMissingTypeStubs]

    return float(cast(Any, special).stdtrit(max(1, n - 1), (1 + confidence) / 2))
