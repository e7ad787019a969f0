"""Is a candidate the kind of fine-tune that the benign models are? A distance in what a change is like, not in scores.

1. coordinates ν of every model of the pool (norms, divergence, drift, share of tensors, rank, adapter or full), scaled
   by the pool's median and 1.4826·MAD; where half of the pool is equal, by the standard deviation; where all are, by 1
2. distance to the 5th nearest other model; p = #{i : distance_i ≥ distance_candidate}/(n + 1)
3. outside if p ≤ max(.01, 1/(n + 1))

Symmetric in the pool: a benign candidate is called outside with probability max(.01, 1/(n + 1)) at most.
Units: robust standard deviations of the pool.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from radiograph.core import UserError
from radiograph.core.shapes import Float, Float64
from radiograph.numerics._finite import finite
from radiograph.numerics.conformal import MAD_TO_SD

NEIGHBOURS = 5
LEVEL = 0.01
NAMED = 2


@dataclass(frozen=True)
class Supported:
    """Where the candidate lies."""

    inside: bool
    p: float
    distance: float
    """To the 5th nearest benign model."""
    deviant: tuple[str, ...]
    """The two coordinates that lie farthest out."""
    deviations: tuple[float, ...]
    """Of the candidate from the pool's median, in its robust standard deviations, a coordinate each."""


def support(pool: Float[np.ndarray, "model coordinate"], names: Sequence[str]) -> Supported:
    """The candidate is the last row.

    Raises:
        UserError: fewer than six other models, a value that is not finite.
    """
    scaled = scale(finite(pool, "coordinates"))
    if len(scaled) < NEIGHBOURS + 2:
        raise UserError("support needs more models", expected=f"≥ {NEIGHBOURS + 1}", got=str(len(scaled) - 1))
    apart = np.sqrt(((scaled[:, None] - scaled[None]) ** 2).sum(-1))
    # Row by row the smallest distance is the one to itself.
    nearest = np.sort(apart, axis=1)[:, NEIGHBOURS]
    p = float((nearest >= nearest[-1]).sum() / len(nearest))
    order: list[int] = np.argsort(-np.abs(scaled[-1]), kind="stable")[:NAMED].tolist()
    return Supported(
        inside=p > max(LEVEL, 1 / len(nearest)),
        p=p,
        distance=float(nearest[-1]),
        deviant=tuple(names[i] for i in order),
        deviations=tuple(map(float, scaled[-1])),
    )


def scale(pool: Float64[np.ndarray, "model coordinate"]) -> Float64[np.ndarray, "model coordinate"]:
    """Robust deviations from the median, coordinate by coordinate."""
    centred = pool - np.median(pool, axis=0)
    size = np.abs(pool).max(axis=0) * 1e-12
    spread = MAD_TO_SD * np.median(np.abs(centred), axis=0)
    sd = pool.std(axis=0)
    return centred / np.where(spread > size, spread, np.where(sd > size, sd, 1.0))
