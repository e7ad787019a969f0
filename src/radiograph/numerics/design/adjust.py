"""Vectors without what a covariate explains inside cores: the second version beside an unadjusted result.

One slope for all cores, of deviations from the core's means (analysis of covariance):
β = Σ (t − t̄_c)(x − x̄_c) / Σ (t − t̄_c)², x' = x − (t − t̄_c) β. The means of cores stay. A covariate that does not vary
inside any core explains nothing. What it shares with a factor goes with it: an effect that is only length disappears,
and so does a real one that always comes with length.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence

import numpy as np

from radiograph.core import UserError
from radiograph.core.shapes import Float
from radiograph.numerics._finite import finite


def residuals(
    vectors: Float[np.ndarray, "row width"], covariate: Sequence[float], cores: Sequence[Hashable]
) -> Float[np.ndarray, "row width"]:
    """The vectors, adjusted, in their own type.

    Raises:
        UserError: lengths differ, or a value is not finite.
    """
    if not len(vectors) == len(covariate) == len(cores):
        raise UserError(
            "a covariate and a core for each vector",
            expected=f"{len(vectors)} of each",
            got=f"{len(covariate)} and {len(cores)}",
        )
    x, t = finite(np.asarray(vectors, dtype=np.float64), "vector"), np.asarray(covariate, dtype=np.float64)
    finite(t, "covariate")
    number: dict[Hashable, int] = {}
    core = np.array([number.setdefault(name, len(number)) for name in cores], dtype=np.int64)
    size = np.bincount(core).astype(np.float64)
    deviation = t - (np.bincount(core, weights=t) / size)[core]
    total = float(deviation @ deviation)
    if total <= 1e-12 * max(1.0, float(t @ t)):
        return vectors.copy()
    slope = deviation @ x / total  # Σ(t − t̄_c) x̄_c is 0 in each core
    return (x - np.outer(deviation, slope)).astype(vectors.dtype)
