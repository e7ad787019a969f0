"""Which matrices changed, how much, at what rank."""

from __future__ import annotations

from typing import Literal

from radiograph.evidence._record import Record


class MatrixChange(Record):
    """One weight address."""

    address: str
    layer: int | None
    kind: str
    """`q k v o gate up down embed unembed norm bias other`."""
    parameter: str
    shape: tuple[int, ...]
    status: Literal["equal", "changed", "added", "missing", "resized"]
    norm: float | None = None
    """Frobenius norm of the difference."""
    relative: float | None = None
    """Divided by the norm of the reference."""
    spectral: float | None = None
    top_share: float | None = None
    """Largest squared singular value over their sum: 1 is rank one."""
    stable_rank: float | None = None
    effective_rank: float | None = None
    rank_90: int | None = None
    rank_99: int | None = None
    numerical_rank: int | None = None
    intruder_cosine: float | None = None
    """Largest cosine of the change's leading left singular vectors with the matrix's own; low: intruder dimension."""
    missed_energy: float | None = None
    """Share of the change's energy outside the randomised factorisation; None when exact."""
    path: Literal["equal", "thin", "dense", "randomised", "vector"] = "dense"


class TokenMove(Record):
    """A token whose embedding row moved."""

    token_id: int
    token: str
    moved: float
    """Norm of the row's change."""
    z: float
    """Robust z among all rows."""
    matrix: Literal["embed", "unembed"]


class WeightsSummary(Record):
    """All matrices together."""

    n_tensors: int
    n_changed: int
    relative_norm: float
    """sqrt(sum of squared changes) / sqrt(sum of squared reference weights) over all matrices."""
    top_share: float | None
    embed_outlier: float | None
    matrices: tuple[MatrixChange, ...]
    tokens: tuple[TokenMove, ...]
