"""Two adapters made into one: the merges that PEFT names, on the factors of one module.

ΔW = B·A with the scale of the adapter inside. As `LoraModel.add_weighted_adapter` does with weights 1, 1:
`linear`     √s of each scale goes into both factors, then A = ΣA_i, B = ΣB_i. Products across adapters come along
`svd`        the best approximation of ΣΔW_i of the larger rank, found through the r × r core
`ties`       each factor keeps its largest entries (`density`), a sign is elected, those of that sign are averaged
             (Yadav et al. 2023)
`dare_ties`  the same with entries kept at random and scaled by 1/density (Yu et al. 2024)
A module that only one adapter has is merged from that one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from radiograph.core import UserError
from radiograph.core.shapes import Float, Float64

MERGES: Final = ("linear", "svd", "ties", "dare_ties")


@dataclass(frozen=True, eq=False)
class Factors:
    """ΔW = scale·B·A of one module."""

    b: Float[np.ndarray, "row rank"]
    a: Float[np.ndarray, "rank column"]
    scale: float = 1.0

    @property
    def rank(self) -> int:
        """Columns of B."""
        return self.b.shape[1]


def merged(
    parts: Sequence[Factors], how: str, *, density: float = 0.5, generator: np.random.Generator | None = None
) -> Factors:
    """One pair of factors for several.

    Raises:
        UserError: `ranks_differ`, where factors are added entry by entry.
    """
    if how == "svd":
        return _truncated(parts)
    if len({part.rank for part in parts}) > 1:
        raise UserError(
            f"--combine {how} adds factors entry by entry, and these have other ranks",
            got=" and ".join(str(part.rank) for part in parts),
            fix="--combine joint or svd",
            code="ranks_differ",
        )
    weights = np.array([np.sqrt(abs(part.scale)) for part in parts])
    signs = np.array([1.0 if part.scale >= 0 else -1.0 for part in parts])
    a = np.stack([part.a.astype(np.float64) for part in parts])
    b = np.stack([part.b.astype(np.float64) for part in parts])
    if how == "linear":
        return Factors(np.tensordot(weights, b, 1), np.tensordot(weights * signs, a, 1))
    if how == "ties":
        a, b = _largest(a, density), _largest(b, density)
    else:
        assert generator is not None, "random pruning needs a generator"
        a, b = (np.where(generator.random(x.shape) < density, x / density, 0.0) for x in (a, b))
    return Factors(_elected(b, weights), _elected(a, weights * signs))


def _truncated(parts: Sequence[Factors]) -> Factors:
    b = np.concatenate([part.b.astype(np.float64) * part.scale for part in parts], axis=1)
    a = np.concatenate([part.a.astype(np.float64) for part in parts])
    rank = max(part.rank for part in parts)
    q, r = np.linalg.qr(b)
    p, s = np.linalg.qr(a.T)
    u, values, v = np.linalg.svd(r @ s.T)
    return Factors((q @ u[:, :rank]) * values[:rank], v[:rank] @ p.T)


def _largest(stack: Float64[np.ndarray, "part row column"], density: float) -> Float64[np.ndarray, "part row column"]:
    """Each part with all but its largest entries set to 0."""
    flat = stack.reshape(len(stack), -1)
    keep = int(density * flat.shape[1])
    if density >= 1:
        return stack
    order = np.argsort(-np.abs(flat), axis=1, kind="stable")[:, :keep]
    out = np.zeros_like(flat)
    np.put_along_axis(out, order, np.take_along_axis(flat, order, axis=1), axis=1)
    return out.reshape(stack.shape)


def _elected(
    stack: Float64[np.ndarray, "part row column"], weights: Float64[np.ndarray, " part"]
) -> Float64[np.ndarray, "row column"]:
    """Mean of the weighted entries that have the sign of the sum."""
    majority = np.where(stack.sum(0) >= 0, 1.0, -1.0)
    kept = np.sign(stack) == majority
    return (stack * weights[:, None, None] * kept).sum(0) / np.maximum(kept.sum(0), 1)
