"""Counts of successes: exact tests, score intervals, and how far a paired proportion may have dropped.

Paired outcomes of two models on the same items form a 2 × 2 table: both right, lost (reference right, candidate wrong),
gained (the reverse), both wrong. The drop is (lost − gained) / n, positive when the candidate is worse.

1. McNemar, exact and one-sided: p = P(Bin(lost + gained, ½) ≥ lost). Two-sided: twice the smaller tail, at most 1.
2. The drop's interval: Newcombe (1998), Statistics in Medicine 17:2635, method 10. Wilson limits (l, u) of the two
   marginal proportions are combined by squares with the correlation φ of the table, whose numerator is pulled towards
   zero by n/2 when positive: low = d − √(δ₁² − 2φ·δ₁·ε₂ + ε₂²), δ₁ = p₁ − l₁, ε₂ = u₂ − p₂, and its mirror image above.
3. `drop_bound`: the upper limit of that interval at confidence 1 − 2·tail, a one-sided bound (95 % by default). With
   100 items, 5 lost, 2 gained and 3 wrong in both it is .083; Tango's score bound would be .082, the Wald bound .073.
4. One proportion: Wilson (1927) score limits, Clopper and Pearson (1934) exact limits.
5. Two independent proportions: Fisher's exact test, one-sided. Several tests: Holm (1979), step-down.

Tails of discrete laws are sums of integers divided once, so they are exact to the last bit. Units: proportions and
probabilities in [0, 1], drops in [−1, 1].
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import NamedTuple

import numpy as np

from radiograph.core import UserError
from radiograph.core.shapes import Bool


class Interval(NamedTuple):
    """Closed limits of an interval, in the units of the estimate."""

    low: float
    high: float


def alike_area(area: float, groups: tuple[int, int], confidence: float = 0.95) -> Interval:
    """Limits of an AUROC to which every group adds the same: nothing varies, so no error follows from the scores.

    None of n groups with a positive row was unlike the others, so up to 1 − (α/2)^(1/n) of all may be (Clopper and
    Pearson); likewise of m groups with another row. A share of at least k = (α/2)^(1/n + 1/m) of the pairs is as seen,
    and nothing is known of the others: k·area to k·area + 1 − k. A constant score of 40 and 40 groups has .416 to .584.
    """
    kept = ((1 - confidence) / 2) ** (1 / groups[0] + 1 / groups[1])
    return Interval(kept * area, kept * area + 1 - kept)


@dataclass(frozen=True)
class PairedTable:
    """Outcomes of two models on the same n items."""

    both_right: int
    lost: int
    """Reference right, candidate wrong (b)."""
    gained: int
    """Reference wrong, candidate right (c)."""
    both_wrong: int

    def __post_init__(self) -> None:
        if min(self.both_right, self.lost, self.gained, self.both_wrong) < 0 or self.n == 0:
            raise UserError("a paired table needs counts ≥ 0 and at least one item", got=repr(self))

    @classmethod
    def of(cls, reference: Bool[np.ndarray, " item"], candidate: Bool[np.ndarray, " item"]) -> PairedTable:
        """Count the four outcomes; True means right."""
        return cls(
            both_right=int((reference & candidate).sum()),
            lost=int((reference & ~candidate).sum()),
            gained=int((~reference & candidate).sum()),
            both_wrong=int((~reference & ~candidate).sum()),
        )

    @property
    def n(self) -> int:
        """Number of items."""
        return self.both_right + self.lost + self.gained + self.both_wrong

    @property
    def drop(self) -> float:
        """(lost − gained) / n."""
        return (self.lost - self.gained) / self.n


def mcnemar(lost: int, gained: int) -> float:
    """P(Bin(lost + gained, ½) ≥ lost): small when the candidate lost more than it gained; 1 if neither moved."""
    n = lost + gained
    term = total = math.comb(n, lost)
    for k in range(lost, n):
        term = term * (n - k) // (k + 1)
        total += term
    return total / 2**n


def mcnemar_two_sided(rescued: int, broken: int) -> float:
    """min(1, 2·P(Bin(rescued + broken, ½) ≤ the smaller)); 1 if neither moved."""
    n = rescued + broken
    tail = sum(math.comb(n, k) for k in range(min(rescued, broken) + 1))
    return min(1.0, 2 * tail / 2**n)


def fisher_greater(success: int, n: int, other_success: int, other_n: int) -> float:
    """One-sided p of `success` of `n` being more than `other_success` of `other_n`, all margins fixed.

    P(X ≥ success), X hypergeometric: `n` draws from n + other_n items of which success + other_success are successes.
    """
    _check_count(success, n)
    _check_count(other_success, other_n)
    successes, failures = success + other_success, n + other_n - success - other_success
    term = total = math.comb(successes, success) * math.comb(failures, n - success)
    for k in range(success, min(n, successes)):
        term = term * (successes - k) * (n - k) // ((k + 1) * (failures - n + k + 1))
        total += term
    return total / math.comb(n + other_n, n)


def holm(p_values: Sequence[float]) -> tuple[float, ...]:
    """Step-down adjusted p-values, in the order given: max over earlier ranks of min(1, (m − rank)·p)."""
    p = np.asarray(p_values, dtype=np.float64)
    order = np.argsort(p, kind="stable")
    stepped = np.minimum(1.0, p[order] * np.arange(len(p), 0, -1))
    adjusted = np.empty_like(p)
    adjusted[order] = np.maximum.accumulate(stepped)
    return tuple(float(value) for value in adjusted)


def wilson(success: int | float, n: int | float, confidence: float = 0.95) -> Interval:
    """Two-sided score interval of a proportion; its low end at .90 is the one-sided 95 % bound. Real counts allowed."""
    _check_count(success, n)
    z = _normal_quantile(confidence)
    p = success / n
    centre = (p + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    # At the edges centre ∓ half equals the estimate; rounding must not push the limit past it.
    return Interval(0.0 if success == 0 else centre - half, 1.0 if success == n else centre + half)


def clopper_pearson(success: int | float, n: int | float, confidence: float = 0.95) -> Interval:
    """Two-sided exact interval of a proportion: quantiles of Beta(x, n − x + 1) and Beta(x + 1, n − x)."""
    from scipy.special import betaincinv  # pyright: ignore[reportUnknownVariableType, reportMissingTypeStubs]

    _check_count(success, n)
    tail = (1 - confidence) / 2
    low = 0.0 if success == 0 else float(betaincinv(success, n - success + 1, tail))
    high = 1.0 if success == n else float(betaincinv(success + 1, n - success, 1 - tail))
    return Interval(low, high)


def newcombe(table: PairedTable, confidence: float = 0.95) -> Interval:
    """Two-sided interval of the drop, Newcombe's method 10."""
    return newcombe_shares(table.both_right, table.lost, table.gained, table.both_wrong, confidence)


def newcombe_shares(
    both_right: int | float, lost: int | float, gained: int | float, both_wrong: int | float, confidence: float = 0.95
) -> Interval:
    """`newcombe` for real-valued counts: what a study of another size would give at the same rates."""
    n = both_right + lost + gained + both_wrong
    reference, candidate = both_right + lost, both_right + gained
    p1, p2 = reference / n, candidate / n
    (l1, u1), (l2, u2) = wilson(reference, n, confidence), wilson(candidate, n, confidence)
    phi = _corrected_phi(both_right, lost, gained, both_wrong)
    low = math.sqrt(max((p1 - l1) ** 2 - 2 * phi * (p1 - l1) * (u2 - p2) + (u2 - p2) ** 2, 0.0))
    high = math.sqrt(max((u1 - p1) ** 2 - 2 * phi * (u1 - p1) * (p2 - l2) + (p2 - l2) ** 2, 0.0))
    return Interval(max(p1 - p2 - low, -1.0), min(p1 - p2 + high, 1.0))


def drop_bound(table: PairedTable, tail: float = 0.05) -> float:
    """One-sided upper bound of the drop, confidence 1 − tail: the high end of `newcombe` at 1 − 2·tail."""
    return newcombe(table, 1 - 2 * tail).high


def _corrected_phi(both_right: int | float, lost: int | float, gained: int | float, both_wrong: int | float) -> float:
    """Correlation of the paired table; a positive numerator loses n/2, not past zero. 0 when a margin is empty."""
    margins = (both_right + lost) * (gained + both_wrong) * (both_right + gained) * (lost + both_wrong)
    if margins == 0:
        return 0.0
    product = both_right * both_wrong - lost * gained
    if product > 0:
        product = max(product - (both_right + lost + gained + both_wrong) / 2, 0.0)
    return product / math.sqrt(margins)


def _normal_quantile(confidence: float) -> float:
    if not 0 < confidence < 1:
        raise UserError("a confidence lies between 0 and 1", got=str(confidence))
    return NormalDist().inv_cdf(0.5 + confidence / 2)


def _check_count(success: int | float, n: int | float) -> None:
    if not 0 <= success <= n or n <= 0:
        raise UserError("a proportion needs 0 ≤ successes ≤ n and n ≥ 1", got=f"{success} of {n}")
