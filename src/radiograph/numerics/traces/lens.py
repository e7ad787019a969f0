"""How far one model's mean activation shifts stand outside those of other fine-tunes: a whitened score, leave-one-out.

1. δ: one vector per model and place (site and position)
2. for each model i and place: S = mean of δδᵀ over all other models (second moment: no mean is taken off, because no
   shift is the natural zero), shrunk towards a multiple of the identity as Ledoit and Wolf (2004) estimate it:
   Σ = (1 − ρ)·S + ρ·μ·I, μ = tr S / d, ρ = min(1, b²/D²), b² = (Σ_j ‖δ_j‖⁴ − n‖S‖²)/n², D² = ‖S‖² − d·μ²
3. score_i = max over places of δᵀ(Σ + λI)⁻¹δ / d, λ = 1e-6·μ: 1 where a shift is as large as usual in every direction
One thin SVD of all models serves every fit: leaving one out subtracts a rank-one term (Sherman and Morrison), so the
cost is that of the SVD, in Gram form where d exceeds the number of models. The rule treats all models alike: equal
models score equally, and permuting the pool permutes the scores. A model that does not shift scores 0.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from radiograph.core import Refusal
from radiograph.core.shapes import Float, Float64
from radiograph.numerics._finite import finite

RIDGE: Final = 1e-6
MIN_MODELS: Final = 3


def lens_scores(shifts: Float[np.ndarray, "model place width"]) -> Float64[np.ndarray, " model"]:
    """The score of every model against a fit on all others.

    Raises:
        Refusal: fewer than three models.
        UserError: a value that is not finite.
    """
    if len(shifts) < MIN_MODELS:
        raise Refusal("too_few_models", f"{len(shifts)} models, {MIN_MODELS} needed to whiten a shift")
    values = finite(shifts, "activation shift").astype(np.float64)
    return place_scores(values).max(axis=1)


def place_scores(values: Float64[np.ndarray, "model place width"]) -> Float64[np.ndarray, "model place"]:
    """The score of every model at every place."""
    return np.stack([_scores(values[:, place]) for place in range(values.shape[1])], axis=1)


def _scores(x: Float64[np.ndarray, "model width"]) -> Float64[np.ndarray, " model"]:
    n, d = len(x) - 1, x.shape[1]
    left, singular, _ = np.linalg.svd(x, full_matrices=False)
    power = singular**2  # eigenvalues of Σ_j δδᵀ over all models; left·singular: each δ in their basis
    along = (left * singular) ** 2
    size = (x**2).sum(axis=1)
    quartic, squared = (size**2).sum(), (power**2).sum()
    mu = (size.sum() - size) / (n * d)
    own = along @ power  # δᵀMδ
    frobenius = (squared - 2 * own + size**2) / n**2
    spread = np.maximum(frobenius - d * mu**2, 0)
    noise = np.maximum((quartic - size**2 - n * frobenius) / n**2, 0)
    rho = np.where(spread > 0, np.minimum(noise / np.where(spread > 0, spread, 1), 1), 1.0)
    slope, floor = (1 - rho) / n, rho * mu + RIDGE * mu
    out = np.zeros(len(x))
    for i in np.flatnonzero(size > 0):
        if mu[i] == 0:
            raise Refusal("no_spread", "no other model shifts at all, so a shift cannot be compared")
        h = float((along[i] / (slope[i] * power + floor[i])).sum())
        out[i] = h / (1 - slope[i] * h) / d
    return out
