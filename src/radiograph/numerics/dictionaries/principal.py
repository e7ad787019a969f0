"""Principal directions of rows: the linear yardstick of a sparse dictionary.

1. second moments about the mean, float64   2. eigenvectors, largest variance first
A sparse code over an orthonormal basis is the fairest linear rival: it may choose its directions row by row as a
dictionary does. Costs O(n·d² + d³); `WIDEST` columns at most.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from radiograph.core.shapes import Float, Float64

WIDEST = 4096


def principal_directions(
    batches: Iterable[Float[np.ndarray, "_ width"]], mean: Float64[np.ndarray, " width"], count: int
) -> tuple[Float64[np.ndarray, "direction width"], Float64[np.ndarray, " direction"]]:
    """The `count` leading unit directions (all of them at most) and the variance along each, about `mean`."""
    moments, n = np.zeros((len(mean), len(mean))), 0
    for rows in batches:
        centred = rows.astype(np.float64) - mean
        moments += centred.T @ centred
        n += len(rows)
    values, vectors = np.linalg.eigh(moments / max(n, 1))
    order = np.argsort(-values, kind="stable")[:count]
    return np.ascontiguousarray(vectors[:, order].T), np.maximum(values[order], 0.0)
