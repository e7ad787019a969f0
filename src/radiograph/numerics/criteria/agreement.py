"""Do two labellers agree more than chance would make them?

Cohen's κ = (p_o − p_e) / (1 − p_e): p_o the share of rows on which they agree, p_e the share expected from their own
rates, Σ p₁(c)·p₂(c) (Cohen 1960). Interval: Wilson's limits of p_o, carried through the same map at the p_e observed.
It does not shrink to a point where all rows agree, as the asymptotic one does (Fleiss, Cohen and Everitt 1969); it
takes p_e as known, which costs little while both classes are common. Rows count as independent.
"""

from __future__ import annotations

from typing import NamedTuple

from radiograph.core import UserError
from radiograph.numerics.proportions import wilson


class Kappa(NamedTuple):
    """Agreement of two labellers on n rows, with its interval; 0 is chance."""

    value: float
    low: float
    high: float
    n: int


def kappa(both: int, first: int, second: int, neither: int, confidence: float = 0.95) -> Kappa | None:
    """From rows called positive by both, by the first alone, by the second alone, by neither.

    None where both give every row the same label: nothing was told apart.

    Raises:
        UserError: no rows, or a negative count.
    """
    n = both + first + second + neither
    if n == 0 or min(both, first, second, neither) < 0:
        raise UserError("agreement needs counts ≥ 0 and at least one row", got=f"{(both, first, second, neither)}")
    one, two = (both + first) / n, (both + second) / n
    chance = one * two + (1 - one) * (1 - two)
    if both + first in (0, n) and both + second == both + first:
        return None
    low, high = wilson(both + neither, n, confidence)
    value, low, high = ((share - chance) / (1 - chance) for share in ((both + neither) / n, low, high))
    return Kappa(value, low, high, n)
