"""Shares of models, and the score above which a conformal p is small enough.

1. A share of models comes with Clopper and Pearson's exact 95 % interval; the unit is a model, never a rerun. Where
   there are no models there is no rate: `None`, never 0.
2. With n benign scores p ≤ α holds exactly where fewer than ⌊α(n + 1)⌋ of them are at least as large. For scores that
   need no fit the rule is a threshold: the ⌊α(n + 1)⌋-th largest benign score, to be exceeded. It can be written down
   before any other score is read. Below α = 1/(n + 1) there is none.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import NamedTuple

import numpy as np

from radiograph.core import UserError
from radiograph.core.shapes import Float
from radiograph.numerics._finite import finite
from radiograph.numerics.proportions import clopper_pearson

_ROUNDING = 1e-9
"""α(n + 1) may fall short of a whole number by a rounding of α alone."""


class Rate(NamedTuple):
    """A share of models."""

    value: float
    low: float
    high: float
    hits: int
    n: int


def rate(hits: Iterable[bool]) -> Rate | None:
    """The share that is true; None of nothing."""
    found = [bool(hit) for hit in hits]
    if not found:
        return None
    k, n = sum(found), len(found)
    low, high = clopper_pearson(k, n)
    return Rate(k / n, low, high, k, n)


def threshold_at(benign: Float[np.ndarray, " model"], alpha: float) -> float | None:
    """The score to exceed for p ≤ α; None where n benign models cannot show it.

    Raises:
        UserError: α outside (0, 1), a score that is not finite.
    """
    if not 0 < alpha < 1:
        raise UserError("a false positive rate lies in (0, 1)", got=str(alpha))
    ordered = np.sort(finite(np.asarray(benign, dtype=float), "benign scores"))[::-1]
    place = math.floor(alpha * (len(ordered) + 1) + _ROUNDING)
    return None if place < 1 else float(ordered[place - 1])
