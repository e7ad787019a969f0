"""Every pair of m vectors as a plane: a million planes from one product of rows with vectors.

A = X̂B̂ᵀ and K = B̂B̂ᵀ hold everything: z = (A_a, (A_b − K_ab·A_a)/√(1 − K_ab²)).

1. Moment path: column means of A and M = AᵀA/N give g, E and A₂ of every pair at once, since
   mean z₂² = v = (M_bb − 2K·M_ab + K²·M_aa)/(1 − K²), E = M_aa + v, and mean z₁z₂ = (M_ab − K·M_aa)/s. No row is looked
   at again; cost m² instead of N·m².
2. Sample path, for r̄, A₄, cones: planes pass in blocks, each block is handed on and forgotten. What is held at once
   depends on `memory`, never on the number of planes. Cosines stored vector by vector are not copied.

Blocks are small enough for a processor's cache even where memory would allow more.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from radiograph.core import UserError
from radiograph.core.shapes import Float, Float64
from radiograph.numerics.planes._cones import supremum
from radiograph.numerics.planes._plane import Planes, PlaneStatistics, coordinates, statistics

MEMORY = 1 << 30
_BYTES = 256
"""Held at once for a row in a plane, at most: coordinates, squares, and two sorted ends of a signed arc pair."""
_CACHED = 1 << 18
"""Rows times planes of a block: above it the arrays of a block leave the cache."""


@dataclass(frozen=True, eq=False)
class PlaneMoments:
    """What column means and second moments say of each plane."""

    n: int
    grey: Float64[np.ndarray, "2 plane"]
    energy: Float64[np.ndarray, " plane"]
    lift: Float64[np.ndarray, " plane"]
    axial: Float64[np.ndarray, " plane"]

    @property
    def r(self) -> Float64[np.ndarray, " plane"]:
        """Length of the Grey vector."""
        return np.hypot(self.grey[0], self.grey[1])


@dataclass(frozen=True, eq=False)
class Block:
    """Planes `start` to `stop` of those streamed."""

    start: int
    stop: int
    statistics: PlaneStatistics
    suprema: dict[float, Float64[np.ndarray, " plane"]]
    """ε → the largest cone fraction of each plane."""
    signed: dict[float, Float64[np.ndarray, " plane"]]


def moment_path(dots: Float[np.ndarray, "row vector"], planes: Planes, width: int) -> PlaneMoments:
    """g, E and A₂ of every plane, without looking at rows again."""
    n = len(dots)
    if n == 0:
        raise UserError("a group without rows has no statistics", expected="at least one row")
    means = dots.mean(axis=0, dtype=np.float64)
    second = (dots.T @ dots).astype(np.float64) / n
    a, b, c, s = planes.first, planes.second, planes.cosine, planes.sine
    own, cross, other = second[a, a], second[a, b], np.diagonal(second)[b]
    across = (other - 2 * c * cross + c**2 * own) / s**2
    product = (cross - c * own) / s
    energy = own + across
    return PlaneMoments(
        n=n,
        grey=np.stack([means[a], (means[b] - c * means[a]) / s]),
        energy=energy,
        lift=energy * width / 2,
        axial=np.hypot(own - across, 2 * product) / np.where(energy > 0, energy, 1.0),
    )


def sample_path(
    dots: Float[np.ndarray, "row vector"],
    planes: Planes,
    *,
    width: int,
    epsilons: Sequence[float] = (),
    signed: bool = False,
    memory: int = MEMORY,
) -> Iterator[Block]:
    """All statistics of every plane, block after block.

    Raises:
        UserError: `memory` does not hold one plane.
    """
    rows = max(len(dots), 1)
    if memory < rows * _BYTES:
        raise UserError(
            "the memory given does not hold the rows of one plane",
            expected=f"at least {rows * _BYTES} bytes for {rows} rows",
            got=str(memory),
            fix="raise --memory",
        )
    step = max(1, min(memory // (rows * _BYTES), _CACHED // rows))
    columns = np.ascontiguousarray(dots.T)
    for start in range(0, len(planes), step):
        stop = min(start + step, len(planes))
        z = coordinates(columns.T, planes[start:stop])
        yield Block(
            start,
            stop,
            statistics(z, width),
            {e: supremum(z, e)[0] for e in epsilons},
            {e: supremum(z, e, signed=True)[0] for e in epsilons} if signed else {},
        )
