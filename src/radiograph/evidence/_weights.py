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
    reference_norm: float | None = None
    """Frobenius norm of the reference; None if the two have no common shape."""
    norm: float | None = None
    """Frobenius norm of the difference."""
    relative: float | None = None
    """Divided by the norm of the reference; None where that is zero."""
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
    intruder_chance: float | None = None
    """What random directions reach in 5 % of draws."""
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
    """Stored tensors of either model; tied ones once."""
    n_changed: int
    """Those that are not equal: changed, added, missing or resized."""
    relative_norm: float | None
    """sqrt(sum of squared changes) / sqrt(sum of squared reference weights) over all matrices; None if the
    models share none."""
    top_share: float | None
    """Largest top share of a matrix; 0 if none changed."""
    embed_outlier: float | None
    """Largest robust z of a token's embedding row; None without comparable tokens."""
    spare_rows: int = 0
    """Embedding rows beyond the tokenizer, left out."""
    notes: tuple[str, ...] = ()
    """Why a number is absent."""
    matrices: tuple[MatrixChange, ...]
    tokens: tuple[TokenMove, ...]
