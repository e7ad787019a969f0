"""Did a feature's pre-activation, or its rate, shift by more than relabelled groups shift?

1. P_gj = (Σ_{i∈g} x̃)·E_j: group sums of rows times encoder rows, so that no product of tokens and features exists
2. Δ_j = W_0·P_j, effect Δ_j / s_j with s_j = √(E_j Σ E_jᵀ), t_j = Δ_j / √V_j over all groups
3. T = t² over the merged groups, or the larger of t² and that of the rate where codes were counted; the same under
   every relabelling. Of one group nothing is known of the spread: T is Δ² then, and only an order
4. p_j = (1 + #{(b, k): T_k^b ≥ T_j}) / (1 + B·F): pooled over features, since T is studentised; the larger of the
   kinds of null; Benjamini-Hochberg

Features go in blocks, float64 inside, so that neither memory nor bytes depend on how many there are. A feature whose
spread is zero in every group has T = 0 where it did not move, and the largest T where it did. Refuses (p None) below
12 groups. Cost: O(G d F) + O(B·G·F).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from radiograph.core.shapes import Float, Float32, Float64, Int
from radiograph.numerics.multiplicity import q_values
from radiograph.numerics.shifts._design import LEAST_GROUPS, Design, Moved

BLOCK: Final = 2048
"""Features at a time."""
STRIPS: Final = 4
"""Of a symmetric matrix: nearly half of a product is saved, and strips are still wide enough to be fast."""
LARGEST: Final = np.float32(1e30)
"""T of what moved without any spread."""


@dataclass(frozen=True, eq=False)
class FeatureShifts:
    """Per feature, in float64."""

    shift: Float64[np.ndarray, " feature"]
    effect: Float64[np.ndarray, " feature"] | None
    """None: the covariance was too large to hold."""
    t: Float64[np.ndarray, " feature"]


def feature_shifts(
    encoder: Float[np.ndarray, "feature width"],
    design: Design,
    sums: Callable[[slice], Float64[np.ndarray, "group feature"]],
    variance: Float64[np.ndarray, "width width"] | None,
    covariance: Float64[np.ndarray, "width width"] | None,
) -> FeatureShifts:
    """Shift, effect and t of every feature.

    Args:
        encoder: E.
        design: how groups are weighted.
        sums: a block of features → its group sums P.
        variance: of the mean shift of rows, from all groups; None where P holds all of them, and gives it.
        covariance: Σ of the reference's rows.
    """
    size = len(encoder)
    shift, spread, error = np.empty(size), np.empty(size), np.empty(size)
    unit, sigma = (1.0, None) if covariance is None else _scaled(covariance)
    for block in blocks(size):
        rows, own = encoder[block], sums(block)
        shift[block] = design.weights[0] @ own
        if sigma is not None:
            spread[block] = _quadratic(rows, sigma).astype(np.float64) * unit
        if variance is None:
            error[block] = design.moments(own, slice(0, 1))[1][0]
        else:
            error[block] = _quadratic(rows.astype(np.float64), variance)
    effect = None if sigma is None else ratio(shift, np.sqrt(np.maximum(spread, 0)))
    t = ratio(shift, np.sqrt(np.maximum(error, 0)))
    return FeatureShifts(shift, effect, t)


def _scaled(covariance: Float64[np.ndarray, "width width"]) -> tuple[float, Float32[np.ndarray, "width width"]]:
    """A power of two, and the covariance over it in float32: no variance of rows is too large or small for that."""
    unit = power_of_two(float(np.abs(covariance.diagonal()).max(initial=0)))
    return unit, (covariance / unit).astype(np.float32)


def power_of_two(largest: float) -> float:
    """By what to divide numbers so that the largest is about 1 and no digit is lost."""
    return 2.0 ** np.frexp(largest)[1] if largest > 0 else 1.0


def blocks(size: int) -> Iterator[slice]:
    """The features in blocks."""
    for start in range(0, size, BLOCK):
        yield slice(start, min(size, start + BLOCK))


def ratio(above: Float64[np.ndarray, "*s"], below: Float64[np.ndarray, "*s"]) -> Float64[np.ndarray, "*s"]:
    """Of two columns; 0 where both are 0, as large as can be written where only the divisor is. NaN stays NaN."""
    with np.errstate(over="ignore"):
        found = np.divide(above, below, out=np.zeros_like(above), where=~(below <= 0))
    empty = (below <= 0) & (above != 0)
    return np.clip(np.where(empty, np.sign(above) * float(LARGEST) ** 0.5, found), -1e15, 1e15)


def _quadratic(rows: Float[np.ndarray, "row width"], matrix: Float[np.ndarray, "width width"]) -> NDArray[np.floating]:
    """Each row's e·M·eᵀ, M symmetric: strips of columns down to the diagonal, what lies above it twice."""
    width = rows.shape[1]
    step = max(-(-width // STRIPS), 1)
    found = np.zeros(len(rows), np.result_type(rows, matrix))
    for start in range(0, width, step):
        strip = slice(start, min(start + step, width))
        own = matrix[: strip.stop, strip].copy()
        own[:start] *= 2
        found += np.einsum("rw,rw->r", rows[:, : strip.stop] @ own, rows[:, strip])
    return found


@dataclass(frozen=True, eq=False)
class FeatureTests:
    """Tests of all features against one pool of relabellings."""

    statistic: Float32[np.ndarray, " feature"]
    """T."""
    p: Float64[np.ndarray, " feature"] | None
    q: Float64[np.ndarray, " feature"] | None
    sham_q: Float64[np.ndarray, " feature"] | None
    """q of one more relabelling, tested as if it were the data."""
    null: Int[np.ndarray, " bin"]
    """Of the pool: counts over `edges` of √T; of several kinds of null the larger count beyond each edge."""
    edges: Float64[np.ndarray, " edge"]

    def moved(self, level: float) -> tuple[int, int]:
        """Features below a level of q: of the data, and of the sham."""
        if self.q is None or self.sham_q is None:
            return 0, 0
        return int((self.q < level).sum()), int((self.sham_q < level).sum())


Columns = Callable[[slice], list[Float64[np.ndarray, "group feature"]]]


def feature_tests(design: Design, size: int, columns: Columns) -> FeatureTests:
    """T, p and q of every feature.

    Args:
        design: which relabellings there are.
        size: F.
        columns: a block of features → its group sums, a table for each statistic that is to be looked at; called for
            every block twice.
    """
    last = design.flips + 1
    ends = np.array([0, last])
    statistic, sham = np.empty(size, np.float32), np.empty(size, np.float32)
    for block in blocks(size):
        found = _statistics(design, design.moments, columns(block), ends)
        statistic[block], sham[block] = found
    edges = np.linspace(0, 10, 81)
    if design.groups < LEAST_GROUPS:
        return FeatureTests(statistic, None, None, None, np.zeros(len(edges), np.int64), edges)
    sought = [(np.argsort(values, kind="stable"), values) for values in (statistic, sham)]
    counts = np.zeros((len(sought), len(design.kinds), size), np.int64)
    beyond = np.zeros((len(design.kinds), len(edges)), np.int64)
    for block in blocks(size):
        tables = columns(block)
        for kind, moments in enumerate(design.kinds):
            pool = np.sort(_statistics(design, moments, tables, np.arange(1, last)), axis=None)
            for (order, values), count in zip(sought, counts[:, kind], strict=True):
                count[order] += len(pool) - np.searchsorted(pool, values[order], side="left")
            beyond[kind] += len(pool) - np.searchsorted(pool, np.square(edges).astype(np.float32))
    null = -np.diff(beyond.max(0), append=0)
    p, sham_p = (1 + counts.max(1)) / (1 + design.flips * size)
    return FeatureTests(statistic, p, q_values(p), q_values(sham_p), null, edges)


def _statistics(
    design: Design, moments: Moved, tables: list[Float64[np.ndarray, "group feature"]], labels: NDArray[np.integer]
) -> Float32[np.ndarray, "label feature"]:
    """The largest studentised square over the tables, under some labels."""
    found: NDArray[np.float32] | None = None
    for sums in tables:
        shift, variance = moments(sums, labels)
        np.square(shift, out=shift)
        if design.groups < 2:
            found = np.minimum(shift, LARGEST).astype(np.float32)
            break
        # What is left of a spread after rounding is no spread.
        floor = np.square(np.abs(design.weights[0]) @ np.abs(sums)) * 1e-24
        still = variance <= floor
        if still.any():
            shift[still] = np.where((shift > floor)[still], float(LARGEST), 0.0)
            variance[still] = 1.0
        np.divide(shift, variance, out=shift)
        one = np.minimum(shift, LARGEST, out=shift).astype(np.float32)
        found = one if found is None else np.maximum(found, one)
    assert found is not None, "a statistic at least"
    return found
