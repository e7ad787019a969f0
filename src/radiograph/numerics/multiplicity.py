"""Many tests at once: adjusted p-values that hold their promise over a whole family.

1. Benjamini and Hochberg (1995), step-up: q_(i) = min over j ≥ i of m·p_(j)/j. The share of false findings among all
   findings stays below the level when tests are independent or positively dependent.
2. Benjamini and Yekutieli (2001): the same times Σ 1/i, under any dependence.
3. Westfall and Young (1993), single step: p̃ = (1 + #{draws whose largest statistic ≥ observed})/(1 + draws). All
   statistics of a draw come from one relabelling and are standardised by their own null; the chance of any false
   finding stays below the level, and dependence between tests is used rather than feared.

A test without a p-value (NaN) keeps none and does not count in the family. Refuses p outside [0, 1].
"""

from __future__ import annotations

from typing import Literal

import numpy as np

from radiograph.core import UserError
from radiograph.core.shapes import Float, Float64

Fdr = Literal["bh", "by"]


def q_values(p: Float[np.ndarray, " test"], method: Fdr = "bh") -> Float64[np.ndarray, " test"]:
    """Adjusted p-values in the order given; NaN stays NaN."""
    values = np.asarray(p, dtype=np.float64)
    known = ~np.isnan(values)
    given = values[known]
    if ((given < 0) | (given > 1)).any():
        raise UserError("a p-value lies between 0 and 1", got=str(given[(given < 0) | (given > 1)][0]))
    family = len(given)
    order = np.argsort(given, kind="stable")
    ranks = np.arange(1, family + 1)
    factor = family * ((1 / ranks).sum() if method == "by" else 1.0)
    stepped = np.minimum.accumulate((given[order] * factor / ranks)[::-1])[::-1]
    adjusted = np.empty(family)
    adjusted[order] = np.minimum(stepped, 1.0)
    result = np.full(len(values), np.nan)
    result[known] = adjusted
    return result


def max_t(
    observed: Float[np.ndarray, " test"], maxima: Float[np.ndarray, " draw"], slack: float = 1e-9
) -> Float64[np.ndarray, " test"]:
    """Single-step p of standardised statistics against the largest of each draw; `slack` absorbs rounding of ties."""
    ordered = np.sort(np.asarray(maxima, dtype=np.float64))
    reached = len(ordered) - np.searchsorted(ordered, np.asarray(observed, np.float64) - slack, side="left")
    return np.where(np.isnan(observed), np.nan, (1 + reached) / (1 + len(ordered)))
