"""The shift of the mean codes as a whole, beside what relabelled groups give.

1. L2 = ‖μ_cand − μ_ref‖ over mean codes. It grows with the number of features and with noise, so it never stands alone
2. floor: the same under relabellings of *centred* group sums, median and 95 %; p: against uncentred ones. Of several
   kinds of null the one with the longer floor, and the larger p
3. excess = √max(0, L2² − mean floor²)
4. seen = 1 − ‖δ − Σ_j (μ_cand,j − μ_ref,j) D_j‖² / ‖δ‖², which may be negative; its null is the same for relabellings
All of it is quadratic in the group sums, so that a relabelling costs G², not F.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from radiograph.core.shapes import Float, Float64
from radiograph.numerics.shifts._design import LEAST_GROUPS, Design
from radiograph.numerics.shifts._features import blocks


@dataclass(frozen=True)
class Drift:
    """Length of a shift with its floor."""

    drift: float
    median: float | None
    q95: float | None
    p: float | None
    excess: float | None


def shift_length(sums: Float64[np.ndarray, "group column"], design: Design) -> Drift:
    """‖W_0·P‖ with its floor and p; floor, p and excess are None below 12 groups."""
    return shift_length_of(sums @ sums.T, design)


def shift_length_of(gram: Float64[np.ndarray, "group group"], design: Design) -> Drift:
    """The same from the products of the group sums."""
    length = float(np.sqrt(_lengths(gram, design.weights[:1])[0]))
    if design.groups < LEAST_GROUPS:
        return Drift(length, None, None, None, None)
    kinds = [null[1 : design.flips + 1] for null in design.nulls]
    centring = design.centred(np.eye(design.groups))  # of the products: the sums are as wide as there are features
    centred = centring @ gram @ centring.T
    floor = max((_lengths(centred, flips) for flips in kinds), key=lambda lengths: float(lengths.mean()))
    moved = [np.sqrt(_lengths(gram, flips)) for flips in kinds]
    p = max(float(1 + (own >= length * (1 - 1e-12)).sum()) / (1 + len(own)) for own in moved)
    excess = float(np.sqrt(max(0.0, length**2 - floor.mean())))
    median, q95 = (float(v) for v in np.quantile(np.sqrt(floor), [0.5, 0.95]))
    return Drift(length, median, q95, p, excess)


def _lengths(
    gram: Float64[np.ndarray, "group group"], weights: Float64[np.ndarray, "label group"]
) -> Float64[np.ndarray, " label"]:
    return np.maximum(np.einsum("lg,lg->l", weights @ gram, weights), 0)


def unseen(
    shift: Float64[np.ndarray, "group width"],
    codes: Float64[np.ndarray, "group feature"],
    decoder: Float[np.ndarray, "feature width"],
) -> Float64[np.ndarray, "group width"]:
    """The shift without what the change of codes writes."""
    written = np.zeros_like(shift)
    for block in blocks(len(decoder)):
        written += codes[:, block] @ decoder[block].astype(np.float64)
    return shift - written


def seen_null(
    shift: Float64[np.ndarray, "group group"], rest: Float64[np.ndarray, "group group"], design: Design
) -> tuple[float | None, float | None]:
    """Share of the shift that the change of mean codes writes, and its median over relabellings of centred sums, from
    the products of the group sums and of what is unseen of them.

    None where nothing moved, or below 12 groups for the median.
    """
    weights = design.weights
    whole = float(_lengths(shift, weights[:1])[0])
    if whole == 0:
        return None, None
    seen = 1 - float(_lengths(rest, weights[:1])[0]) / whole
    if design.groups < LEAST_GROUPS:
        return seen, None
    flips = weights[1 : design.flips + 1]
    centring = design.centred(np.eye(design.groups))
    below = _lengths(centring @ shift @ centring.T, flips)
    known = below > 0
    if not known.any():
        return seen, None
    return seen, float(np.median(1 - _lengths(centring @ rest @ centring.T, flips)[known] / below[known]))
