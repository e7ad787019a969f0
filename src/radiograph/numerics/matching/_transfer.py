"""Does what one feature does carry over to its match: do their effects agree, does a readout, does a push transfer?

1. Causal agreement, from slopes of two dose-responses on shared prompts, outcome and unit, bootstrapped: a slope counts
   if its interval excludes 0. Both count: `agrees` if signs are equal and the interval of their ratio meets [½, 2],
   `same_sign` if equal only, else `disagrees`. One counts: `disagrees` if the other is surely less than half of it.
   Anything else is `untested`.
2. Readout: the threshold that separates labels best on the left (largest balanced accuracy, discover), moved to the
   right by quantiles (the same share of units above it), AUROC and balanced accuracy on the right (confirm); p against
   random right features: (1 + #{AUROC ≥ observed})/(1 + n).
3. Steering: a ridge map of activations left → right, fitted on discover, its penalty the best of 13 by generalised
   cross-validation (Golub, Heath and Wahba 1979); directions go through its linear part. Control: the same with
   the right rows shuffled by groups.
4. Verdict, from the effect with its interval, the target's own effect, and p (or q, of several) against controls, all
   counted in the direction of the own effect: `transfers` if p ≤ .05, the interval lies above 0 and above what a rival
   does (a map of shuffled rows), and the effect is half of the own one or more; `partial` if less; `fails` otherwise;
   `not_measured` without a number, or where the own effect is 0.

Effects of a readout are AUROC − ½. Fits refuse a single class and fewer than two rows.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, cast

import numpy as np

from radiograph.core import UserError
from radiograph.core.shapes import Bool, Float, Float64, Integer
from radiograph.numerics._finite import finite
from radiograph.numerics.proportions import Interval, alike_area
from radiograph.numerics.resampling import bootstrap

_NOTHING = 1e-12

Agreement = Literal["agrees", "same_sign", "disagrees", "untested"]
Transfer = Literal["transfers", "partial", "fails", "not_measured"]
HALF, LEVEL = 0.5, 0.05
_PENALTIES = 10.0 ** np.arange(-6, 7)


class Threshold(NamedTuple):
    """A cut that separates two labels on one side."""

    value: float
    sign: int
    """+1: positives lie above it."""
    accuracy: float
    """Balanced, on the rows that it was fitted on."""


@dataclass(frozen=True, eq=False)
class Readout:
    """A left threshold used on the right."""

    threshold: float
    accuracy: float
    """Balanced accuracy at the mapped threshold."""
    auroc: float
    interval: Interval
    random_auroc: Float64[np.ndarray, " feature"]
    p: float

    @property
    def effect(self) -> float:
        return self.auroc - 0.5


@dataclass(frozen=True, eq=False)
class RidgeMap:
    """x_right ≈ (x_left − left mean)·matrix + right mean."""

    matrix: Float64[np.ndarray, "left right"]
    left_mean: Float64[np.ndarray, " left"]
    right_mean: Float64[np.ndarray, " right"]
    penalty: float

    def direction(self, left: Float[np.ndarray, " left"]) -> Float64[np.ndarray, " right"]:
        """Where a push along a left direction points on the right, of length 1.

        Raises:
            UserError: the map sends it to 0.
        """
        mapped = finite(left, "direction") @ self.matrix
        length = float(np.linalg.norm(mapped))
        if length == 0:
            raise UserError("the map sends this direction to 0", fix="fit it on more or other rows")
        return mapped / length

    def explained(self, left: Float[np.ndarray, "row left"], right: Float[np.ndarray, "row right"]) -> float:
        """Share of the variance of right rows that the map explains; may be below 0 on rows it has not seen."""
        rest = right - (left - self.left_mean) @ self.matrix - self.right_mean
        return 1 - float(np.square(rest).sum() / np.square(right - right.mean(axis=0)).sum())


def causal_agreement(
    left: Float[np.ndarray, " draw"] | None, right: Float[np.ndarray, " draw"] | None, confidence: float = 0.95
) -> Agreement:
    """From bootstrapped slopes of both sides; None where prompts, outcome or unit are not shared."""
    if left is None or right is None:
        return "untested"
    tails = [(1 - confidence) / 2, (1 + confidence) / 2]
    one, two = finite(left, "left slopes"), finite(right, "right slopes")
    signs = [int(np.sign(low)) if low * high > 0 else 0 for low, high in (np.quantile(s, tails) for s in (one, two))]
    if signs == [0, 0]:
        return "untested"
    if signs[0] * signs[1] < 0:
        return "disagrees"
    if 0 in signs:
        strong, weak = (one, two) if signs[0] else (two, one)
        _, high = np.quantile(weak / strong, tails)
        return "disagrees" if high < HALF else "untested"
    low, high = np.quantile(two / one, tails)
    return "agrees" if low <= 1 / HALF and high >= HALF else "same_sign"


def fit_threshold(values: Float[np.ndarray, " row"], labels: Bool[np.ndarray, " row"]) -> Threshold:
    """The cut with the largest balanced accuracy, half way between two values.

    Raises:
        UserError: one class only, a value that is not finite.
    """
    amounts = finite(values, "activation")
    positives, negatives = int(labels.sum()), int((~labels).sum())
    if not positives or not negatives:
        raise UserError("a threshold needs rows of both labels", got=f"{positives} and {negatives}")
    order = np.argsort(amounts, kind="stable")
    ordered, label = amounts[order], labels[order]
    gain = np.cumsum(label / positives - ~label / negatives)  # share of positives less that of negatives up to here
    ends = np.append(ordered[1:] != ordered[:-1], False)
    if not ends.any():
        return Threshold(float(ordered[0]), 1, 0.5)
    at = int(np.flatnonzero(ends)[np.abs(gain[ends]).argmax()])
    sign = 1 if gain[at] <= 0 else -1
    return Threshold(float(ordered[at] + ordered[at + 1]) / 2, sign, 0.5 + abs(float(gain[at])) / 2)


def quantile_map(threshold: float, left: Float[np.ndarray, " row"], right: Float[np.ndarray, " other"]) -> float:
    """The value that as large a share of right rows exceeds, half way between two of them."""
    share = float((left <= threshold).mean())
    ordered = np.sort(finite(right, "right activation"))
    place = round(share * len(ordered))
    lowest = np.nextafter(ordered[:1], -np.inf)
    edges = np.concatenate([lowest, (ordered[1:] + ordered[:-1]) / 2, ordered[-1:]])
    return float(edges[place])


def areas(
    values: Float[np.ndarray, "row feature"], labels: Bool[np.ndarray, " row"]
) -> Float64[np.ndarray, " feature"]:
    """AUROC of each column, ties counting half.

    Raises:
        UserError: one class only, a value that is not finite.
    """
    from scipy import stats  # pyright: ignore[reportMissingTypeStubs]

    positives = int(labels.sum())
    if not 0 < positives < len(labels):
        raise UserError("an AUROC needs rows of both labels", got=f"{positives} positive of {len(labels)}")
    ranks = np.asarray(cast(Any, stats).rankdata(finite(values, "activation"), axis=0), dtype=np.float64)
    wins = ranks[labels].sum(axis=0) - positives * (positives + 1) / 2
    return wins / (positives * (len(labels) - positives))


def readout_transfer(
    fitted: Threshold,
    discovered: tuple[Float[np.ndarray, " left"], Float[np.ndarray, " right"]],
    right: Float[np.ndarray, " confirmed"],
    labels: Bool[np.ndarray, " confirmed"],
    random: Float[np.ndarray, " feature"],
    groups: Integer[np.ndarray, " confirmed"],
    *,
    seed: int,
) -> Readout:
    """A left threshold judged on right rows of confirm.

    `discovered` are the activations of both features on discover, from which the quantiles come; `random` the AUROC
    (`areas`) of other right features on the rows of confirm.
    """
    cut = quantile_map(fitted.value, *discovered)
    fired = (right > cut) if fitted.sign > 0 else (right <= cut)
    accuracy = 0.5 * float(fired[labels].mean() + (~fired[~labels]).mean())
    signed = fitted.sign * np.asarray(right, np.float64)
    own = float(areas(signed[:, None], labels)[0])
    others = np.asarray(random if fitted.sign > 0 else 1 - random, np.float64)
    p = (1 + int((others >= own - 1e-12).sum())) / (1 + len(others))
    return Readout(cut, accuracy, own, area_interval(signed, labels, groups, seed=seed), others, p)


def area_interval(
    scores: Float[np.ndarray, " row"],
    labels: Bool[np.ndarray, " row"],
    groups: Integer[np.ndarray, " row"],
    *,
    seed: int,
) -> Interval:
    """Of an AUROC, over groups drawn anew; where no draw differs, by how many groups there are."""
    found = bootstrap(weighted_area(scores, labels), len(scores), seed=seed, clusters=groups).interval()
    if not found.high - found.low <= _NOTHING:
        return found
    return alike_area(found.low, (len(np.unique(groups[labels])), len(np.unique(groups[~labels]))))


def ridge_map(
    left: Float[np.ndarray, "row left"],
    right: Float[np.ndarray, "row right"],
    penalty: float | None = None,
) -> RidgeMap:
    """Least squares with a penalty on the squared coefficients, as a multiple of the mean squared singular value.

    Raises:
        UserError: fewer than two rows, a left side that is constant, a value that is not finite.
    """
    x, y = finite(left, "left rows"), finite(right, "right rows")
    if len(x) < 2 or len(x) != len(y):
        raise UserError("a map needs two or more rows, as many left as right", got=f"{len(x)} and {len(y)}")
    means = x.mean(axis=0), y.mean(axis=0)
    u, s, v = np.linalg.svd(x - means[0], full_matrices=False)
    scale = float(np.square(s).mean())
    if scale == 0:
        raise UserError("the left rows are all equal: nothing can be mapped")
    projected = u.T @ (y - means[1])
    chosen = penalty if penalty is not None else _best_penalty(s, projected, y - means[1], scale)
    matrix = v.T @ ((s / (np.square(s) + chosen * scale))[:, None] * projected)
    return RidgeMap(matrix, *means, chosen)


def verdict(
    effect: float | None, interval: Interval | None, own: float | None, p: float | None, rival: float | None = None
) -> Transfer:
    """The word for a transfer; `own` is what the target's own feature does, `rival` a control, in the same unit."""
    if effect is None or interval is None or own is None or p is None or own == 0:
        return "not_measured"
    sign = 1.0 if own > 0 else -1.0
    low = min(sign * interval.low, sign * interval.high)
    if p > LEVEL or low <= max(0.0, 0.0 if rival is None else sign * rival):
        return "fails"
    return "transfers" if sign * effect >= HALF * abs(own) else "partial"


def _best_penalty(
    s: Float64[np.ndarray, " rank"],
    projected: Float64[np.ndarray, "rank right"],
    centred: Float64[np.ndarray, "row right"],
    scale: float,
) -> float:
    """Smallest mean squared error over (1 − degrees of freedom/rows)²."""
    rows = len(centred)
    energy = np.square(projected).sum(axis=1)
    outside = float(np.square(centred).sum() - energy.sum())
    kept = np.square(s) / (np.square(s) + _PENALTIES[:, None] * scale)
    error = np.square(1 - kept) @ energy + max(outside, 0.0)
    free = 1 - (1 + kept.sum(axis=1)) / rows  # the mean takes one degree of freedom
    score = np.where(free > 1e-9, error / np.square(np.where(free > 1e-9, free, 1.0)), np.inf)
    return float(_PENALTIES[int(score.argmin())]) if np.isfinite(score).any() else float(_PENALTIES[-1])


def weighted_area(
    values: Float64[np.ndarray, " row"], labels: Bool[np.ndarray, " row"]
) -> Callable[[Float64[np.ndarray, "draw row"]], Float64[np.ndarray, " draw"]]:
    """AUROC of rows counted several times, for `bootstrap`; ½ in a draw without one of the labels."""
    levels, level = np.unique(values, return_inverse=True)
    order = np.argsort(level, kind="stable")
    starts = np.searchsorted(level[order], np.arange(len(levels)))

    def area(counts: Float64[np.ndarray, "draw row"]) -> Float64[np.ndarray, " draw"]:
        up = np.add.reduceat((counts * labels)[:, order], starts, axis=1)
        down = np.add.reduceat((counts * ~labels)[:, order], starts, axis=1)
        below = np.cumsum(down, axis=1) - down / 2
        pairs = up.sum(axis=1) * down.sum(axis=1)
        return np.where(pairs > 0, (up * below).sum(axis=1) / np.maximum(pairs, 1), 0.5)

    return area
