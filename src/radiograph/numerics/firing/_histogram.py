"""Values that are not zero in bins, by kind of row.

Bins of equal ratio from the smallest to the largest value, so that rare large values and common small ones are both
seen; of equal width where a value is negative, or where all lie within a factor of two. The last bin is closed.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from radiograph.core.shapes import Float64, Int64

BINS = 20
_NARROW = 2.0


class Bars(NamedTuple):
    """Counts of each bin and kind."""

    edges: Float64[np.ndarray, " edge"]
    counts: Int64[np.ndarray, "bin kind"]
    logarithmic: bool


def histogram(
    value: Float64[np.ndarray, " entry"], kind: Int64[np.ndarray, " entry"], kinds: int, bins: int = BINS
) -> Bars:
    """Counts by bin and kind; no bins without values."""
    if not len(value):
        return Bars(np.zeros(0), np.zeros((0, kinds), np.int64), False)
    low, high = float(value.min()), float(value.max())
    logarithmic = low > 0 and high > _NARROW * low
    if low == high:
        edges = np.array([low, high])
    elif logarithmic:
        edges = np.geomspace(low, high, bins + 1)
    else:
        edges = np.linspace(low, high, bins + 1)
    edges[0], edges[-1] = low, high  # whatever rounding did
    size = max(1, len(edges) - 1)
    place = np.clip(np.searchsorted(edges, value, side="right") - 1, 0, size - 1)
    return Bars(edges, np.bincount(place * kinds + kind, minlength=size * kinds).reshape(size, kinds), logarithmic)
