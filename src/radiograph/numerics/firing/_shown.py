"""Which rows of a feature to show: the strongest, one of each tenth of its values, near misses that fire or are silent.

The row of a tenth is its middle one, so that nothing is picked by eye. Ties go to the lower row. Silent near misses are
drawn with a seed, since nothing orders them.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from radiograph.core.shapes import Bool, Float64, Int64

TENTHS = 10


class Shown(NamedTuple):
    """Rows, by what they are shown for."""

    top: Int64[np.ndarray, " top"]
    tenths: list[tuple[int, int]]
    """(tenth, row), the highest first; rows of `top` left out."""
    near_fires: Int64[np.ndarray, " fires"]
    near_silent: Int64[np.ndarray, " silent"]


def shown_rows(
    row: Int64[np.ndarray, " entry"],
    value: Float64[np.ndarray, " entry"],
    near_miss: Bool[np.ndarray, " row"],
    *,
    top: int,
    near: int,
    seed: int,
) -> Shown:
    """Choose among the rows on which one feature is not zero, and the near misses on which it is."""
    order = np.lexsort((row, -value))
    ranked = row[order]
    first = ranked[:top]
    n = len(ranked)
    tenths: list[tuple[int, int]] = []
    for tenth in range(TENTHS, 0, -1):
        low, high = (n * (TENTHS - tenth)) // TENTHS, (n * (TENTHS - tenth + 1)) // TENTHS
        own = ranked[max(low, top) : high]
        if len(own):
            tenths.append((tenth, int(own[len(own) // 2])))
    fires = ranked[near_miss[ranked]][:near]
    silent = np.setdiff1d(np.flatnonzero(near_miss), row)
    drawn = np.random.default_rng(seed).permutation(len(silent))[:near]
    return Shown(first, tenths, fires, silent[np.sort(drawn)])
