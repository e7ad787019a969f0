"""Features that fire on the same rows: φ of firing against firing, for some features against all.

φ = (N·n₁₁ − n₁·n₂)/√(n₁(N − n₁)·n₂(N − n₂)), the correlation of two columns of 0 and 1. Counts are whole numbers, so
entries may come in any order and in any chunks. Cost: O(entries · chosen) for the sparse product of each chunk.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple, cast

import numpy as np

from radiograph.core.shapes import Float64, Int, Int64


class Together(NamedTuple):
    """Counts of rows."""

    both: Int64[np.ndarray, "feature chosen"]
    active: Int64[np.ndarray, " feature"]


def coactivation(
    entries: Iterable[tuple[Int[np.ndarray, " _"], Int[np.ndarray, " _"]]],
    fires: tuple[Int[np.ndarray, " _"], Int[np.ndarray, " _"]],
    shape: tuple[int, int, int],
) -> Together:
    """Rows on which each feature and each chosen one fire.

    `entries` are (feature, row) of all features, each place once, `fires` (row, chosen) of the chosen ones; `shape` is
    the number of features, rows and chosen. Nothing of the size of the rows is dense.
    """
    from scipy import sparse  # pyright: ignore[reportMissingTypeStubs]

    features, rows, some = shape
    matrix = cast(Any, sparse).csr_matrix
    chosen = matrix((np.ones(len(fires[0]), np.float32), fires), shape=(rows, some))
    both = np.zeros((features, some))
    active = np.zeros(features, np.int64)
    for feature, row in entries:
        ones = np.ones(len(feature), np.float32)
        both += (matrix((ones, (feature, row)), shape=(features, rows)) @ chosen).toarray()
        active += np.bincount(feature, minlength=features)
    return Together(both.astype(np.int64), active)


def phi(found: Together, chosen: Int64[np.ndarray, " chosen"], rows: int) -> Float64[np.ndarray, "feature chosen"]:
    """φ of every feature with each chosen one; 0 where one of them always or never fires."""
    one = found.active.astype(np.float64)[:, None]
    other = one[chosen].T
    spread = np.sqrt(one * (rows - one) * other * (rows - other))
    moved = rows * found.both - one * other
    return np.divide(moved, spread, out=np.zeros_like(moved), where=spread > 0)
