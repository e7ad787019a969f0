"""How many features of a model move more than they do in all other models of a pool.

1. each model i against the others: mean m_j and variance s_j² of feature j over them, from sums less model i (O(n))
2. s_j² is shrunk to the median feature's with 4 pseudo-observations: (ν·s_j² + 4·median s²)/(ν + 4), ν = n − 1; a
   feature that never moves in others has no spread of its own
3. z_j = (a_j − m_j)/s_j; the score is the sum of the k largest max(z_j, 0)

The rule is symmetric in the pool, so a p-value by rank stays exact though the candidate helps to fit the others.
Units: standard deviations of benign models. 0 for a model that moves nothing, where features move by a size ≥ 0.
"""

from __future__ import annotations

import numpy as np

from radiograph.core import UserError
from radiograph.core.shapes import Float, Float64
from radiograph.numerics._finite import finite

PSEUDO = 4.0
"""Pseudo-observations of the median feature."""


def outlier_scores(pool: Float[np.ndarray, "model feature"], k: int) -> Float64[np.ndarray, " model"]:
    """Score of every model against all others.

    Raises:
        UserError: fewer than three models, no feature, a value that is not finite.
    """
    values = finite(pool, "summaries")
    if values.ndim != 2 or len(values) < 3 or values.shape[1] == 0:
        raise UserError("scoring by outliers needs three models and a feature", got=f"a pool of {values.shape}")
    n = len(values) - 1
    # Centred first: sums of squares of values far from zero lose digits.
    values = values - values.mean(axis=0)
    mean = (values.sum(axis=0) - values) / n
    variance = np.maximum(((values**2).sum(axis=0) - values**2 - n * mean**2) / (n - 1), 0.0)
    shrunk = ((n - 1) * variance + PSEUDO * np.median(variance, axis=1, keepdims=True)) / (n - 1 + PSEUDO)
    above = np.maximum(values - mean, 0.0)
    tiny = 1e-9 * np.abs(values).max()
    z = np.divide(above, np.sqrt(shrunk) + tiny, out=np.zeros_like(above), where=above > tiny)
    k = min(k, z.shape[1])
    return np.sort(np.partition(z, -k, axis=1)[:, -k:], axis=1).sum(axis=1)
