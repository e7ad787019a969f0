"""Many planes at once: how much of a row they hold together, and which of them are one plane told twice.

1. Triangulation: the projection of the mean row on the span of all planes, and its share of the squared norm. More
   vectors hold more by themselves (rank/D for isotropic rows), so the share belongs beside that of random sets of
   planes of the same kind.
2. Clusters: planes are joined when both principal angles between them are below 15°, that is when the second singular
   value of U₁U₂ᵀ is above cos 15°. The smaller angle alone would join all planes that share one axis. Groups are the
   connected components; the exemplar is the plane nearest to all others of its cluster.

Source: Björck and Golub (1973) for principal angles.
"""

from __future__ import annotations

import numpy as np

from radiograph.core import UserError
from radiograph.core.shapes import Float, Float64, Int64

JOINED = 15.0
MAX_PLANES = 4000


def triangulated(
    mean: Float64[np.ndarray, " width"], vectors: Float[np.ndarray, "vector width"]
) -> tuple[Float64[np.ndarray, " width"], float, int]:
    """The projection of a row on the span, its share of the squared norm, and the rank of the span."""
    _, values, axes = np.linalg.svd(vectors.astype(np.float64), full_matrices=False)
    axes = axes[values > 1e-10 * max(float(values.max(initial=0.0)), 1e-300)]
    seen = axes @ mean
    norm = float(mean @ mean)
    return seen @ axes, (float(seen @ seen) / norm if norm > 0 else 0.0), len(axes)


def principal_angles(frames: Float[np.ndarray, "plane 2 width"]) -> Float64[np.ndarray, "plane plane"]:
    """The larger principal angle between any two planes, in degrees; frames are orthonormal.

    Raises:
        UserError: more than `MAX_PLANES` planes.
    """
    count = len(frames)
    if count > MAX_PLANES:
        raise UserError(
            "too many planes to cluster", expected=f"at most {MAX_PLANES}", got=str(count), fix="--max-planes"
        )
    flat = frames.reshape(2 * count, -1).astype(np.float64)
    blocks = (flat @ flat.T).reshape(count, 2, count, 2)
    square = np.einsum("piqj,piqj->pq", blocks, blocks)
    determinant = np.abs(blocks[:, 0, :, 0] * blocks[:, 1, :, 1] - blocks[:, 0, :, 1] * blocks[:, 1, :, 0])
    # Singular values of a 2 × 2 matrix: σ₁² + σ₂² is its square, σ₁σ₂ its determinant.
    smaller = (np.sqrt(np.maximum(square + 2 * determinant, 0)) - np.sqrt(np.maximum(square - 2 * determinant, 0))) / 2
    return np.degrees(np.arccos(np.clip(smaller, 0.0, 1.0)))


def clusters(
    angles: Float64[np.ndarray, "plane plane"], joined: float = JOINED
) -> tuple[Int64[np.ndarray, " plane"], Int64[np.ndarray, " cluster"]]:
    """The cluster of each plane, in the order of first appearance, and the exemplar of each cluster."""
    near = angles < joined
    labels = np.full(len(angles), -1, dtype=np.int64)
    exemplars: list[int] = []
    for start in range(len(angles)):
        if labels[start] >= 0:
            continue
        members, frontier = np.zeros(len(angles), dtype=bool), [start]
        members[start] = True
        while frontier:
            new = near[frontier].any(axis=0) & ~members
            members |= new
            frontier = np.flatnonzero(new).tolist()
        places = np.flatnonzero(members)
        labels[places] = len(exemplars)
        exemplars.append(int(places[angles[np.ix_(places, places)].sum(axis=1).argmin()]))
    return labels, np.array(exemplars, dtype=np.int64)
