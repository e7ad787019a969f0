"""Features that fire on the same rows: φ of firing against firing, for some features against all.

φ = (N·n₁₁ − n₁·n₂)/√(n₁(N − n₁)·n₂(N − n₂)), the correlation of two columns of 0 and 1. Counts are whole numbers, so
features may come in any chunks. Cost: O(entries · chosen), of some chosen at a time where rows are many.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple, cast

import numpy as np

from radiograph.core.shapes import Float64, Int, Int64

DENSE = 2**24


class Together(NamedTuple):
    """Counts of rows."""

    both: Int64[np.ndarray, "feature chosen"]
    active: Int64[np.ndarray, " feature"]


def coactivation(
    entries: Iterable[tuple[Int[np.ndarray, " _"], Int[np.ndarray, " _"], Int[np.ndarray, " _"]]],
    fires: tuple[Int[np.ndarray, " _"], Int[np.ndarray, " _"]],
    shape: tuple[int, int, int],
) -> Together:
    """Rows on which each feature and each chosen one fire.

    `entries` are (features, offsets, rows), each feature once: the i-th of some features fires on the rows from
    offsets[i] to offsets[i + 1]. `fires` are (row, chosen) of the chosen ones; `shape` is the number of features, rows
    and chosen. At most `DENSE` places of rows and chosen are dense at a time.
    """
    from scipy import sparse  # pyright: ignore[reportMissingTypeStubs]

    features, rows, some = shape
    matrix = cast(Any, sparse).csr_matrix
    chosen = matrix((np.ones(len(fires[0]), np.float32), fires), shape=(rows, some)).tocsc()
    step = max(1, DENSE // max(rows, 1))
    parts = [slice(start, start + step) for start in range(0, some, step)]
    dense = chosen.toarray() if len(parts) == 1 else None
    both = np.zeros((features, some), np.int64)
    active = np.zeros(features, np.int64)
    for feature, offsets, row in entries:
        on = matrix((np.ones(len(row), np.float32), row, offsets), shape=(len(feature), rows))
        active[feature] = np.diff(offsets)
        for part in parts:
            both[feature, part] = on @ (chosen[:, part].toarray() if dense is None else dense)
    return Together(both, active)


def phi(found: Together, chosen: Int64[np.ndarray, " chosen"], rows: int) -> Float64[np.ndarray, "feature chosen"]:
    """φ of every feature with each chosen one; 0 where one of them always or never fires."""
    one = found.active.astype(np.float64)[:, None]
    other = one[chosen].T
    spread = np.sqrt(one * (rows - one) * other * (rows - other))
    moved = rows * found.both - one * other
    return np.divide(moved, spread, out=np.zeros_like(moved), where=spread > 0)
