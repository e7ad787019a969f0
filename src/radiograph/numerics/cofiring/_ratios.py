"""Ratios of counts, computed when they are asked for and never stored.

For n rows, x on n_x of them, y on n_y, both on n_xy:

    precision  P(y|x) = n_xy / n_x        recall  P(x|y) = n_xy / n_y        Jaccard  n_xy / (n_x + n_y − n_xy)
    lift  n_xy n / (n_x n_y)              PMI  log lift, in nats

Real-valued mass stands for a count where tokens are predicted and not seen. What divides by zero is NaN; a PMI of n_xy
= 0 is −∞.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from radiograph.core.shapes import Bool, Float, Float64, Int64


class Ratios(NamedTuple):
    """Of x with each y."""

    precision: Float64[np.ndarray, "..."]
    recall: Float64[np.ndarray, "..."]
    jaccard: Float64[np.ndarray, "..."]
    lift: Float64[np.ndarray, "..."]
    pmi: Float64[np.ndarray, "..."]


def ratios(
    both: Float[np.ndarray, "..."] | Int64[np.ndarray, "..."],
    x: Float[np.ndarray, "..."] | Int64[np.ndarray, "..."] | float | int,
    y: Float[np.ndarray, "..."] | Int64[np.ndarray, "..."],
    n: float | int,
) -> Ratios:
    """Every ratio; shapes broadcast."""
    b, one, other = (np.asarray(v, np.float64) for v in (both, x, y))
    with np.errstate(divide="ignore", invalid="ignore"):
        lift = (b / one) * (n / other)
        return Ratios(b / one, b / other, b / (one + other - b), lift, np.log(lift))


def extremes(
    values: Float64[np.ndarray, " y"], seen: Bool[np.ndarray, " y"], n: int
) -> tuple[Int64[np.ndarray, " top"], Int64[np.ndarray, " bottom"]]:
    """Places of the n largest and the n smallest among those `seen` often enough; ties go to the lower place.

    No place is in both.
    """
    at = np.flatnonzero(seen & ~np.isnan(values))
    order = at[np.lexsort((at, -values[at]))]
    top = order[:n]
    rest = order[len(top) :]
    bottom = rest[np.lexsort((rest, values[rest]))][:n]
    return top, bottom
