"""How a weight matrix changed: size, rank and shape of Δ = candidate − reference.

1. Singular values of Δ, by the cheapest exact route:
   `low_rank_spectrum` takes LoRA factors, Δ = scale·B·A: QR of B and of Aᵀ, then the SVD of an r × r core; Δ is never
   formed. `spectrum` is a dense SVD while min(m, n) ≤ 2,048; above it a randomised range finder (Halko, Martinsson and
   Tropp 2011, algorithms 4.4 and 5.1: 64 + 16 random directions, two power steps), with the share of energy it missed.
2. From them: ‖Δ‖_F, ‖Δ‖_F/‖W‖_F, ‖Δ‖₂, top share σ₁²/Σσ², stable rank ‖Δ‖_F²/‖Δ‖₂², effective rank exp(entropy of
   σ²/Σσ²) (Roy and Vetterli 2007), ranks that hold 90 and 99 % of the energy, numerical rank #{σ > max(m, n)·ε·σ₁}.
3. Intruder cosine (Shuttleworth et al. 2024): for each leading left singular vector of Δ, its largest |cosine| with the
   64 leading ones of W; low means a direction that W did not use. Beside it the 95 % point for random directions.
4. Embedding rows: robust z of the row norms of Δ, (x − median)/(1.4826·MAD).

Sums run in float64. ε is that of the dtype the weights were stored in. A change of exactly zero has every number zero.
What the randomised route cannot know (a rank beyond its 64 values) is None, never a guess.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from radiograph.core import UserError
from radiograph.core.shapes import Float, Float64
from radiograph.numerics._finite import finite
from radiograph.numerics.conformal import MAD_TO_SD

DENSE_LIMIT = 2048
LEADING = 64
OVERSAMPLED = 16
POWER_STEPS = 2
INTRUDERS = 8
"""Leading directions of Δ that are compared with W."""


@dataclass(frozen=True, eq=False)
class Spectrum:
    """Leading singular values of a matrix in falling order, its left singular vectors, and all of its energy."""

    values: Float64[np.ndarray, " rank"]
    left: Float64[np.ndarray, "row kept"]
    """Of the leading values; fewer than there are values where a matrix was read in blocks."""
    energy: float
    """‖Δ‖_F², also of what `values` misses."""
    shape: tuple[int, int]
    route: Literal["low_rank", "dense", "randomised"]

    @property
    def missed_energy(self) -> float:
        """Share of the energy outside `values`; 0 on the exact routes."""
        if self.route != "randomised" or self.energy == 0:
            return 0.0
        return max(0.0, 1 - float(self.values @ self.values) / self.energy)


@dataclass(frozen=True)
class ChangeStatistics:
    """One changed matrix. None: not measurable on the route taken."""

    route: Literal["low_rank", "dense", "randomised"]
    frobenius: float
    relative: float | None
    """‖Δ‖_F/‖W‖_F; None if W is zero."""
    spectral: float
    top_share: float
    stable_rank: float
    effective_rank: float | None
    rank_90: int | None
    rank_99: int | None
    numerical_rank: int | None
    missed_energy: float


@dataclass(frozen=True)
class Intruders:
    """How far the leading directions of a change lie from those the matrix used."""

    cosines: tuple[float, ...]
    """Per leading left singular vector of Δ, strongest first."""
    largest: float
    chance: float
    """95 % point of the same largest cosine for as many random directions."""


def low_rank_spectrum(
    b: Float[np.ndarray, "row rank"], a: Float[np.ndarray, "rank column"], scale: float = 1.0
) -> Spectrum:
    """Exact spectrum of scale·B·A in O((m + n)·r²), without forming the product."""
    q_left, r_left = np.linalg.qr(finite(b, "B"))
    _, r_right = np.linalg.qr(finite(a, "A").T)
    core_left, values, _ = np.linalg.svd(scale * (r_left @ r_right.T), full_matrices=False)
    shape = (b.shape[0], a.shape[1])
    return Spectrum(values, q_left @ core_left, float(values @ values), shape, "low_rank")


def spectrum(matrix: Float[np.ndarray, "row column"], *, seed: int = 0) -> Spectrum:
    """Singular values and left vectors: all of them up to min(m, n) = 2,048, else the 64 leading ones."""
    if min(matrix.shape) > DENSE_LIMIT:
        return _randomised(finite(matrix, "matrix"), seed)
    left, values, _ = np.linalg.svd(finite(matrix, "matrix"), full_matrices=False)
    return Spectrum(values, left, float(values @ values), _shape(matrix), "dense")


def change_statistics(change: Spectrum, reference_norm: float, *, eps: float) -> ChangeStatistics:
    """Size and rank of a change; `reference_norm` is ‖W‖_F, `eps` the unit roundoff of the stored dtype."""
    energy = change.values**2
    total = change.energy
    complete = change.route != "randomised"
    spectral = float(change.values[0]) if len(change.values) else 0.0
    above = int((change.values > max(change.shape) * eps * spectral).sum())
    return ChangeStatistics(
        route=change.route,
        frobenius=total**0.5,
        relative=total**0.5 / reference_norm if reference_norm > 0 else None,
        spectral=spectral,
        top_share=spectral**2 / total if total else 0.0,
        stable_rank=total / spectral**2 if spectral else 0.0,
        effective_rank=effective_rank(energy) if complete or change.missed_energy < 1e-9 else None,
        rank_90=_rank_holding(0.90, energy, total),
        rank_99=_rank_holding(0.99, energy, total),
        numerical_rank=above if complete or above < len(change.values) else None,
        missed_energy=change.missed_energy,
    )


def effective_rank(energy: Float[np.ndarray, " rank"]) -> float:
    """Exponential of the entropy of energy/Σ energy: 1 for one direction, r for r equal ones, 0 without energy."""
    total = energy.sum()
    if total <= 0:
        return 0.0
    share = energy / total
    share = share[share > 0]
    return float(np.exp(-(share * np.log(share)).sum()))


def intruder_cosines(change: Spectrum, reference: Spectrum, *, seed: int = 0) -> Intruders | None:
    """Compare up to 8 leading left vectors of Δ with the 64 leading ones of W; None if Δ is zero.

    Only vectors with σ > 1e-6·σ₁ count: below that a left vector is rounding noise.

    Raises:
        UserError: the matrices have different numbers of rows.
    """
    if change.shape[0] != reference.shape[0]:
        raise UserError("a change and its matrix differ in rows", got=f"{change.shape[0]} and {reference.shape[0]}")
    strong = int((change.values[:INTRUDERS] > 1e-6 * change.values[:1]).sum())
    if strong == 0:
        return None
    used = reference.left[:, :LEADING]
    cosines = np.abs(change.left[:, :strong].T @ used).max(axis=1)
    chance = _chance_cosine(change.shape[0], used.shape[1], strong, seed)
    return Intruders(tuple(float(c) for c in cosines), float(cosines.max()), chance)


def robust_z(values: Float[np.ndarray, " row"]) -> Float64[np.ndarray, " row"]:
    """(x − median)/(1.4826·MAD); zeros if all are equal.

    Where more than half are equal the MAD is zero: then 1.2533 × the mean absolute deviation takes its place (Iglewicz
    and Hoaglin 1993), so that one moved row among unmoved ones is far out and still finite.
    """
    x = finite(values, "values")
    deviation = x - np.median(x)
    spread = MAD_TO_SD * float(np.median(np.abs(deviation)))
    if spread == 0:
        spread = 1.2533141 * float(np.abs(deviation).mean())
    return deviation / spread if spread > 0 else np.zeros_like(x)


def _rank_holding(share: float, energy: Float64[np.ndarray, " rank"], total: float) -> int | None:
    """Fewest leading values that hold `share` of the energy; None if those found do not."""
    if total == 0:
        return 0
    # A relative slack of 1e-12, because the total and the running sum round differently.
    held = np.cumsum(energy) >= share * total * (1 - 1e-12)
    return int(held.argmax()) + 1 if held.any() else None


def _randomised(matrix: Float64[np.ndarray, "row column"], seed: int) -> Spectrum:
    """Range finder with orthonormalised power steps, then an SVD in the range found."""
    directions = np.random.default_rng(seed).standard_normal((matrix.shape[1], LEADING + OVERSAMPLED))
    basis, _ = np.linalg.qr(matrix @ directions)
    for _ in range(POWER_STEPS):
        back, _ = np.linalg.qr(matrix.T @ basis)
        basis, _ = np.linalg.qr(matrix @ back)
    inner, values, _ = np.linalg.svd(basis.T @ matrix, full_matrices=False)
    energy = float(np.einsum("ij,ij->", matrix, matrix))
    return Spectrum(values[:LEADING], (basis @ inner)[:, :LEADING], energy, _shape(matrix), "randomised")


def _chance_cosine(width: int, used: int, directions: int, seed: int) -> float:
    """95 % point of the largest |cosine| of random directions with `used` orthonormal ones, 1,000 draws.

    A random unit vector has coordinates g/‖g‖ in any orthonormal basis; what lies outside it enters as one χ².
    """
    generator = np.random.default_rng(seed)
    inside = generator.standard_normal((1000, directions, used)) ** 2
    outside = generator.chisquare(width - used, (1000, directions)) if width > used else 0.0
    best = inside.max(axis=2) / (inside.sum(axis=2) + outside)
    return float(np.quantile(np.sqrt(best.max(axis=1)), 0.95))


def _shape(matrix: Float[np.ndarray, "row column"]) -> tuple[int, int]:
    return matrix.shape[0], matrix.shape[1]
