"""Influence of training rows on a scalar of a model, from their gradients, in sweeps over stored blocks.

g_k is the gradient of the loss of row k, v that of the scalar f. Score > 0: training on the row raised f.

    dot      −⟨v, g_k⟩                     cosine   −⟨v, g_k⟩/(‖v‖‖g_k‖), over all matrices together
    datainf  Σ_l −⟨h_l, g_lk⟩, h_l = (1/λ_l)[v_l − (1/n)Σ_i ⟨g_li, v_l⟩/(λ_l + ‖g_li‖²)·g_li],
             λ_l = c/(n·d_l)·Σ_i ‖g_li‖²    (Kwon, Wu, Wu and Zou 2024): the mean of the inverses (g gᵀ + λI)⁻¹ times v

`datainf_direction` is one sweep (`mean_squares` another, unless norms were summed before), `products` the second.
Nothing of size n × n, and nothing of size n × matrices, is ever held. Several v are scored at once, one row each.
Relative influence (RelatIF, Barshan, Brunet and Dziugaite 2020) is score/√⟨g, H⁻¹g⟩. For every row at no further sweep
the root's argument keeps the row's own term of the mean of inverses and takes those of other rows as I/λ:
Σ_l [s − s²/(n(λ_l + s))]/λ_l with s = ‖g_lk‖², so it is never too small. Sums over blocks run in float64, products
inside a block in the type of the block.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import numpy as np

from radiograph.core import UserError
from radiograph.core.shapes import Float, Float64, Int
from radiograph.numerics.influence._layout import Layout

Blocks = Callable[[], Iterable[Float[np.ndarray, "row entry"]]]
"""Gives the gradients of all rows again, block by block, in one order."""
DAMPING = 0.1
_NOTHING = float(np.finfo(np.float64).tiny)


def squares(block: Float[np.ndarray, "row entry"], layout: Layout) -> Float64[np.ndarray, "row matrix"]:
    """‖g_lk‖² of each row and matrix."""
    out = np.empty((len(block), len(layout.shapes)))
    for number, part in enumerate(layout.slices()):
        out[:, number] = np.einsum("re,re->r", block[:, part], block[:, part])
    return out


def mean_squares(blocks: Blocks, layout: Layout) -> tuple[Float64[np.ndarray, " matrix"], int]:
    """(1/n)Σ_i ‖g_li‖² of each matrix, and n: one sweep.

    Raises:
        UserError: a gradient that is not finite; names row and entry.
    """
    total, n = np.zeros(len(layout.shapes)), 0
    for block in blocks():
        own = squares(block, layout)
        if not np.isfinite(own).all():
            row, matrix = (int(i) for i in np.argwhere(~np.isfinite(own))[0])
            raise UserError("a gradient is not finite", where=f"row {n + row}, matrix {matrix}", code="not_finite")
        total += own.sum(0)
        n += len(block)
    return total / max(n, 1), n


def damping(
    mean_square: Float64[np.ndarray, " matrix"], sizes: Int[np.ndarray, " matrix"], c: float = DAMPING
) -> Float64[np.ndarray, " matrix"]:
    """λ_l; a matrix whose gradients are all zero gets the least positive number, and so no influence.

    `sizes` are those of the matrices as they are, d_l, however few entries of them a projection keeps: it keeps norms.
    """
    return np.maximum(c * mean_square / np.maximum(sizes, 1), _NOTHING)


def datainf_direction(
    blocks: Blocks,
    targets: Float[np.ndarray, "target entry"],
    layout: Layout,
    strength: Float64[np.ndarray, " matrix"],
) -> tuple[Float64[np.ndarray, "target entry"], Float64[np.ndarray, " row"]]:
    """Directions h of all v, and each row's own ⟨g, H⁻¹g⟩ (see above): one sweep. `strength` is λ."""
    pulled, n = np.zeros(targets.shape), 0
    plain: list[np.ndarray] = [np.empty(0)]
    own_term: list[np.ndarray] = [np.empty(0)]
    for block in blocks():
        v = targets.astype(block.dtype)
        first, second = np.zeros(len(block)), np.zeros(len(block))
        for number, part in enumerate(layout.slices()):
            own = block[:, part]
            norms = np.einsum("re,re->r", own, own)[:, None]
            pulled[:, part] += ((own @ v[:, part].T) / (strength[number] + norms)).astype(block.dtype).T @ own
            if strength[number] > _NOTHING:
                square = norms[:, 0].astype(np.float64)
                first += square / strength[number]
                second += square**2 / (strength[number] + square) / strength[number]
        plain.append(first)
        own_term.append(second)
        n += len(block)
    out = targets.astype(np.float64) - pulled / max(n, 1)
    for number, part in enumerate(layout.slices()):
        # A matrix without any gradient has no say: v over next to nothing would give it the only one.
        out[:, part] = out[:, part] / strength[number] if strength[number] > _NOTHING else 0.0
    return out, np.concatenate(plain) - np.concatenate(own_term) / max(n, 1)


def relative(
    scores: Float64[np.ndarray, "row target"],
    energy: Float64[np.ndarray, " row"],
    lengths: Float64[np.ndarray, " target"],
) -> Float64[np.ndarray, "row target"]:
    """score/(‖v‖√⟨g, H⁻¹g⟩); 0 where there is no gradient."""
    size = np.sqrt(np.maximum(energy, 0.0))[:, None] * lengths[None, :]
    return np.divide(scores, size, out=np.zeros_like(scores), where=size > 0)


def products(
    blocks: Blocks, directions: Float[np.ndarray, "target entry"]
) -> tuple[Float64[np.ndarray, "row target"], Float64[np.ndarray, " row"]]:
    """−⟨h, g_k⟩ of every row and direction, and ‖g_k‖: one sweep.

    Raises:
        UserError: one is not finite.
    """
    scores: list[np.ndarray] = [np.empty((0, len(directions)))]
    norms: list[np.ndarray] = [np.empty(0)]
    n = 0
    for block in blocks():
        found = -(block @ directions.T.astype(block.dtype)).astype(np.float64)
        lengths = np.sqrt(np.einsum("re,re->r", block, block, dtype=np.float64))
        if not (np.isfinite(found).all() and np.isfinite(lengths).all()):
            bad = int(np.argwhere(~np.isfinite(found.sum(1) + lengths))[0, 0])
            raise UserError("an influence score is not finite", where=f"row {n + bad}", code="not_finite")
        scores.append(found)
        norms.append(lengths)
        n += len(block)
    return np.concatenate(scores), np.concatenate(norms)


def parts_of(
    rows: Float[np.ndarray, "row entry"], direction: Float[np.ndarray, " entry"], layout: Layout
) -> Float64[np.ndarray, "row matrix"]:
    """−⟨h_l, g_lk⟩ of some rows, matrix by matrix: they sum to the score."""
    out = np.empty((len(rows), len(layout.shapes)))
    for number, part in enumerate(layout.slices()):
        out[:, number] = -(rows[:, part].astype(np.float64) @ direction[part].astype(np.float64))
    return out
