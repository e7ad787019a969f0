"""A low-rank change of a matrix as rank-one pieces that are defined by something other than how it was trained.

ΔW = W R has no pieces of its own: for every invertible G, (W G)(G⁻¹ R) is the same change, with other pieces. Two
choices are identified up to sign, and sorted:

1. `balanced`: the singular value decomposition of ΔW; needs no data. Pieces by size
2. `contrasted`: with h = R x, second moments S_on of inputs on which the change shows and S_off of inputs on which it
   does not, the generalised eigenvectors S_on v = λ S_off v. Pieces read directions that are uncorrelated on both kinds
   of input, have unit size on the second, and size λ on the first. Pieces by λ: the first are those that are used on
   the examples and idle elsewhere, so that taking them out costs least

A ridge of `RIDGE` of the mean of S_off's diagonal keeps directions that never vary from dividing by 0; it makes 2
depend on the form in which the change comes, which is why 2 starts from 1. The sum of the pieces is the change, to
rounding, whichever choice is made. Source of 2: common spatial patterns (Koles et al. 1990).
"""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np

from radiograph.core.shapes import Float

RIDGE: Final = 1e-3


class Pieces(NamedTuple):
    """Pieces of one change, sorted; float64."""

    reads: Float[np.ndarray, "input piece"]
    writes: Float[np.ndarray, "piece output"]
    order: Float[np.ndarray, " piece"]
    """What they are sorted by: singular values, or λ."""


def balanced(reads: Float[np.ndarray, "input rank"], writes: Float[np.ndarray, "rank output"]) -> Pieces:
    """Singular vectors of reads @ writes, without forming it; ‖reads‖ = 1, the size is in the writes."""
    q, r = np.linalg.qr(reads.astype(np.float64))
    u, s, vt = np.linalg.svd(r @ writes.astype(np.float64), full_matrices=False)
    return _signed(q @ u, s[:, None] * vt, s)


def contrasted(
    reads: Float[np.ndarray, "input rank"],
    writes: Float[np.ndarray, "rank output"],
    on: Float[np.ndarray, "rank rank"],
    off: Float[np.ndarray, "rank rank"],
) -> Pieces:
    """Pieces by how much more they are used on the examples, of a change in its `balanced` form.

    `on`, `off`: second moments of h = x @ reads.
    """
    off = off.astype(np.float64)
    off = off + max(RIDGE * float(np.diagonal(off).mean()), np.finfo(np.float64).tiny) * np.eye(len(off))
    lower = np.linalg.cholesky(off)
    inverse = np.linalg.inv(lower)
    values, vectors = np.linalg.eigh(inverse @ on.astype(np.float64) @ inverse.T)
    turn = np.ascontiguousarray(vectors[:, ::-1])  # h L^-T Q has second moment 1 off and λ on
    return _signed(
        reads.astype(np.float64) @ inverse.T @ turn, turn.T @ lower.T @ writes.astype(np.float64), values[::-1]
    )


def _signed(reads: np.ndarray, writes: np.ndarray, order: np.ndarray) -> Pieces:
    """The largest entry of each read is positive: of the two signs one."""
    largest = np.take_along_axis(reads, np.abs(reads).argmax(axis=0)[None], axis=0)[0]
    sign = np.where(largest < 0, -1.0, 1.0)
    return Pieces(reads * sign, writes * sign[:, None], np.ascontiguousarray(order))
