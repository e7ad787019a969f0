"""How much two low-rank changes have in common, without forming either.

1. ⟨ΔW_1, ΔW_2⟩ = tr((B_1ᵀB_2)(A_2A_1ᵀ)): products of r × r. Norms are the same with one adapter twice
2. bases of column and row space: QR of B and of Aᵀ, SVD of the r × r core, directions above rounding
3. overlap ‖U_1ᵀU_2‖²_F/min(r_1, r_2); two random subspaces of d dimensions have max(r_1, r_2)/d
4. signs: of the entries that are among the largest 20 % of both changes, the share in which the signs differ; half by
   chance. Above 2^20 entries whole rows are drawn
5. shifts of activations: cosine of the means, and the overlap of their k leading principal subspaces, k/d by chance
These describe; they measure no harm.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Float64

from radiograph.numerics.interference._merges import Factors

LARGEST = 0.8
ENTRIES = 2**20
DIRECTIONS = 8
_ROUNDING = 1e-6


@dataclass(frozen=True)
class Overlap:
    """Of two changes of one matrix. None where one of them is 0."""

    product: float
    norms: tuple[float, float]
    columns: float | None
    columns_chance: float | None
    rows: float | None
    rows_chance: float | None
    conflicts: int
    """Entries large in both whose signs differ."""
    large: int
    """Entries large in both."""

    @property
    def cosine(self) -> float | None:
        """Of the two matrices as vectors."""
        whole = self.norms[0] * self.norms[1]
        return self.product / whole if whole > 0 else None


@dataclass(frozen=True)
class SharedShift:
    """Of two shifts of activations on the same tokens."""

    cosine: float | None
    subspace: float | None
    chance: float
    tokens: int


def overlap(one: Factors, two: Factors, *, seed: int = 0) -> Overlap:
    """Products, subspaces and signs of two changes of one matrix."""
    product = _inner(one, two)
    norms = (float(np.sqrt(max(0.0, _inner(one, one)))), float(np.sqrt(max(0.0, _inner(two, two)))))
    u, v = zip(_spaces(one), _spaces(two), strict=True)
    columns, rows = _common(*u), _common(*v)
    conflicts, large = _signs(one, two, seed)
    return Overlap(product, norms, *columns, *rows, conflicts, large)


def shared_shift(
    base: Float[np.ndarray, "token width"],
    one: Float[np.ndarray, "token width"],
    two: Float[np.ndarray, "token width"],
    directions: int = DIRECTIONS,
) -> SharedShift:
    """Of what two adapters do to the same activations."""
    shifts = [np.asarray(side, np.float64) - base for side in (one, two)]
    means = [shift.mean(0) for shift in shifts]
    length = float(np.linalg.norm(means[0]) * np.linalg.norm(means[1]))
    tokens, width = shifts[0].shape
    k = min(directions, width, tokens)
    bases = [np.linalg.svd(s, full_matrices=False)[2][:k].T for s in shifts]
    moved = all(np.abs(s).max() > 0 for s in shifts)
    subspace = float(np.square(bases[0].T @ bases[1]).sum() / k) if moved else None
    return SharedShift(float(means[0] @ means[1]) / length if length > 0 else None, subspace, k / width, tokens)


def _inner(one: Factors, two: Factors) -> float:
    b = one.b.astype(np.float64).T @ two.b.astype(np.float64)
    a = one.a.astype(np.float64) @ two.a.astype(np.float64).T
    return float((b * a).sum() * one.scale * two.scale)


def _spaces(factors: Factors) -> tuple[Float64[np.ndarray, "row k"], Float64[np.ndarray, "column k"]]:
    """Orthonormal bases of the column and the row space of B·A."""
    q, r = np.linalg.qr(factors.b.astype(np.float64) * factors.scale)
    p, s = np.linalg.qr(factors.a.astype(np.float64).T)
    u, values, v = np.linalg.svd(r @ s.T)
    k = int((values > _ROUNDING * values.max(initial=0.0)).sum()) if values.size else 0
    return q @ u[:, :k], p @ v[:k].T


def _common(one: Float64[np.ndarray, "d k"], two: Float64[np.ndarray, "d l"]) -> tuple[float | None, float | None]:
    if not one.shape[1] or not two.shape[1]:
        return None, None
    shared = float(np.square(one.T @ two).sum() / min(one.shape[1], two.shape[1]))
    return shared, max(one.shape[1], two.shape[1]) / one.shape[0]


def _signs(one: Factors, two: Factors, seed: int) -> tuple[int, int]:
    """Entries in which the signs differ, of those that are large in both."""
    rows, columns = one.b.shape[0], one.a.shape[1]
    take = max(1, ENTRIES // columns)
    chosen = np.random.default_rng(seed).permutation(rows)[:take]
    changes = [x.scale * (x.b[chosen].astype(np.float64) @ x.a.astype(np.float64)) for x in (one, two)]
    large = np.ones(changes[0].shape, dtype=bool)
    for change in changes:
        size = np.abs(change)
        large &= (size >= np.quantile(size, LARGEST)) & (size > 0)
    return int((np.sign(changes[0]) != np.sign(changes[1]))[large].sum()), int(large.sum())
