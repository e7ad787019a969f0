"""Features that fire on the same rows: φ of firing against firing, for some features against all.

φ = (N·n₁₁ − n₁·n₂)/√(n₁(N − n₁)·n₂(N − n₂)), the correlation of two columns of 0 and 1. Counts are whole numbers, so
entries may come in any order and in any chunks. Cost: O(entries · chosen) for the sparse product of each chunk.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple, cast

import numpy as np
from jaxtyping import Bool, Float64, Int, Int64


class Together(NamedTuple):
    """Counts of rows."""

    both: Int64[np.ndarray, "feature chosen"]
    active: Int64[np.ndarray, " feature"]


def coactivation(
    entries: Iterable[tuple[Int[np.ndarray, " _"], Int[np.ndarray, " _"]]],
    fires: Bool[np.ndarray, "row chosen"],
    features: int,
) -> Together:
    """Rows on which each feature and each chosen one fire; `entries` are (feature, row), each place once."""
    from scipy import sparse  # pyright: ignore[reportMissingTypeStubs]

    chosen = fires.astype(np.float32)
    both = np.zeros((features, fires.shape[1]))
    active = np.zeros(features, np.int64)
    for feature, row in entries:
        ones = np.ones(len(feature), np.float32)
        shape = (features, len(fires))
        both += np.asarray(cast(Any, sparse).csr_matrix((ones, (feature, row)), shape=shape) @ chosen)
        active += np.bincount(feature, minlength=features)
    return Together(both.astype(np.int64), active)


def phi(found: Together, chosen: Int64[np.ndarray, " chosen"], rows: int) -> Float64[np.ndarray, "feature chosen"]:
    """φ of every feature with each chosen one; 0 where one of them always or never fires."""
    one = found.active.astype(np.float64)[:, None]
    other = one[chosen].T
    spread = np.sqrt(one * (rows - one) * other * (rows - other))
    moved = rows * found.both - one * other
    return np.divide(moved, spread, out=np.zeros_like(moved), where=spread > 0)
