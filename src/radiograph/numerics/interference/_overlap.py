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

from radiograph.core.shapes import Float, Float64
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


@dataclass(frozen=True, eq=False)
class Change:
    """A change of one matrix with what is needed to compare it."""

    factors: Factors
    columns: Float64[np.ndarray, "row k"]
    """Basis of what it writes."""
    rows: Float64[np.ndarray, "column k"]
    """Basis of what it reads."""
    norm: float

    @classmethod
    def of(cls, factors: Factors) -> Change:
        """Through QR of the factors and SVD of their core."""
        b, a = factors.b.astype(np.float64) * factors.scale, factors.a.astype(np.float64)
        q, r = np.linalg.qr(b)
        p, s = np.linalg.qr(a.T)
        u, values, v = np.linalg.svd(r @ s.T)
        k = int((values > _ROUNDING * values.max(initial=0.0)).sum())
        return cls(factors, q @ u[:, :k], p @ v[:k].T, float(np.linalg.norm(values)))


@dataclass(frozen=True, eq=False)
class Shift:
    """What an adapter does to the activations of some tokens."""

    mean: Float64[np.ndarray, " width"]
    leading: Float64[np.ndarray, "width k"]
    """Leading principal directions of the token shifts, the mean not taken out."""
    tokens: int

    @classmethod
    def of(
        cls,
        base: Float[np.ndarray, "token width"],
        side: Float[np.ndarray, "token width"],
        directions: int = DIRECTIONS,
    ) -> Shift:
        """From activations of the same tokens."""
        moved = np.asarray(side, np.float64) - base
        _, values, v = np.linalg.svd(moved, full_matrices=False)
        k = min(directions, int((values > _ROUNDING * values.max(initial=0.0)).sum()))
        return cls(moved.mean(0), v[:k].T, len(moved))


@dataclass(frozen=True)
class SharedShift:
    """Of two shifts of the same tokens. None where one of them is 0."""

    cosine: float | None
    subspace: float | None
    chance: float | None
    tokens: int


def overlap(one: Change, two: Change, *, seed: int = 0) -> Overlap:
    """Products, subspaces and signs of two changes of one matrix."""
    x, y = one.factors, two.factors
    b = x.b.astype(np.float64).T @ y.b.astype(np.float64)
    a = x.a.astype(np.float64) @ y.a.astype(np.float64).T
    product = float((b * a).sum() * x.scale * y.scale)
    columns, rows = _common(one.columns, two.columns), _common(one.rows, two.rows)
    return Overlap(product, (one.norm, two.norm), *columns, *rows, *_signs(x, y, seed))


def shared_shift(one: Shift, two: Shift) -> SharedShift:
    """Of what two adapters do to the same activations."""
    length = float(np.linalg.norm(one.mean) * np.linalg.norm(two.mean))
    cosine = float(one.mean @ two.mean) / length if length > 0 else None
    return SharedShift(cosine, *_common(one.leading, two.leading), one.tokens)


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
