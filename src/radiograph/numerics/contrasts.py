"""Directions between two classes of rows, and how far they hold on rows that they were not fitted on.

Unit = cell of a group and a label, its value the mean of its rows, so that a group of many rows does not speak for
others. Paired: where 80 % of the groups have both labels, differences inside these groups; others are left out.

1. `mean_difference`: mean of positives less mean of others (Rimsky et al. 2024: contrastive activation addition)
2. `whitened`: (Σ + λ·tr(Σ)/d·I)⁻¹ times that, Σ within classes (of pairs: of the differences), λ = .1
3. `logistic`: weights of a ridge logistic regression (λ = 1, columns over the root of their mean square) on cells; of
   pairs on differences; without intercept, as both are signed
4. AUROC of projections with DeLong's interval; cosine of the directions of random halves of the groups
5. labels permuted: inside groups of two labels, among groups of one
All in the span of the rows: cost O(cells²·width). Refuses fewer than two cells of a class, and rows that do not differ.
"""

from __future__ import annotations

from typing import Any, Literal, NamedTuple, cast

import numpy as np

from radiograph.core import Refusal
from radiograph.core.shapes import Bool, Float, Float64, Int64
from radiograph.numerics._finite import finite
from radiograph.numerics.proportions import Interval

Method = Literal["mean_difference", "whitened", "logistic"]
PAIRED = 0.8
_solved: Any = np.linalg.solve
RIDGE, PENALTY, STEPS = 0.1, 1.0, 50
HALVES = 20


class Cells(NamedTuple):
    """Means of the rows of every group and label."""

    value: Float64[np.ndarray, "cell width"]
    positive: Bool[np.ndarray, " cell"]
    group: Int64[np.ndarray, " cell"]

    @property
    def paired(self) -> bool:
        """Whether 80 % of the groups have both labels."""
        size = np.bincount(self.group)
        return bool((size[size > 0] == 2).mean() >= PAIRED)

    def of(self, chosen: Bool[np.ndarray, " cell"]) -> Cells:
        """Some of them."""
        return Cells(self.value[chosen], self.positive[chosen], self.group[chosen])


def cells_of(
    rows: Float[np.ndarray, "row width"], positive: Bool[np.ndarray, " row"], group: Int64[np.ndarray, " row"]
) -> Cells:
    """Cells in the order of groups, others before positives."""
    _, own = np.unique(group, return_inverse=True)
    keys, cell = np.unique(own * 2 + positive, return_inverse=True)
    total = np.zeros((len(keys), rows.shape[1]))
    np.add.at(total, cell, finite(rows, "row"))
    return Cells(total / np.bincount(cell)[:, None], keys % 2 == 1, keys // 2)


def contrast(cells: Cells, method: Method = "mean_difference") -> Float64[np.ndarray, " width"]:
    """The fitted vector, not made a unit.

    Raises:
        Refusal: too few cells of a class, or no difference.
    """
    paired = cells.paired
    if paired:
        differences = _differences(cells)
        if len(differences) < 2:
            raise _few(len(differences), "pairs")
        found = _solve(differences, differences - differences.mean(axis=0), differences.mean(axis=0), method)
    else:
        first, second = cells.value[cells.positive], cells.value[~cells.positive]
        if min(len(first), len(second)) < 2:
            raise _few(min(len(first), len(second)), "cells of a class")
        centre = (first.mean(axis=0) + second.mean(axis=0)) / 2
        signed = np.concatenate([first - centre, centre - second])
        within = np.concatenate([first - first.mean(axis=0), second - second.mean(axis=0)])
        found = _solve(signed, within, first.mean(axis=0) - second.mean(axis=0), method)
    if not np.linalg.norm(found) > 0:
        raise Refusal("no_difference", "the two classes have the same activations: there is no direction between them")
    return found


def separation(direction: Float64[np.ndarray, " width"], cells: Cells) -> tuple[float, Interval | None]:
    """AUROC of the projections with DeLong's interval; None where all cells are told apart or a class has one."""
    scores = cells.value @ direction
    first, second = scores[cells.positive], scores[~cells.positive]
    wins = (first[:, None] > second) + 0.5 * (first[:, None] == second)
    area = float(wins.mean())
    if min(len(first), len(second)) < 2:
        return area, None
    error = float(np.sqrt(wins.mean(axis=1).var(ddof=1) / len(first) + wins.mean(axis=0).var(ddof=1) / len(second)))
    return area, Interval(max(0.0, area - 1.959964 * error), min(1.0, area + 1.959964 * error)) if error else None


def split_half(cells: Cells, method: Method, *, seed: int) -> float | None:
    """Mean cosine of directions fitted on random halves of the groups; None where a half is too small."""
    groups = np.unique(cells.group)
    rng = np.random.default_rng(seed)
    found: list[float] = []
    for _ in range(HALVES):
        half = np.isin(cells.group, rng.permutation(groups)[: len(groups) // 2])
        try:
            a, b = contrast(cells.of(half), method), contrast(cells.of(~half), method)
        except Refusal:
            continue
        found.append(float(a @ b / (np.linalg.norm(a) * np.linalg.norm(b))))
    return float(np.mean(found)) if found else None


def permuted(cells: Cells, method: Method, *, draws: int, seed: int) -> Float64[np.ndarray, "draw width"]:
    """Unit vectors fitted on permuted labels; a draw without a direction is left out."""
    rng = np.random.default_rng(seed)
    groups, of = np.unique(cells.group, return_inverse=True)
    both = np.bincount(of) == 2
    single = np.flatnonzero(~both[of])
    out: list[np.ndarray] = []
    for _ in range(draws):
        turned = (rng.random(len(groups)) < 0.5) & both
        positive = np.where(turned[of], ~cells.positive, cells.positive)
        positive[single] = rng.permutation(positive[single])
        try:
            found = contrast(cells._replace(positive=positive), method)
        except Refusal:
            continue
        out.append(found / np.linalg.norm(found))
    return np.stack(out) if out else np.empty((0, cells.value.shape[1]))


def along(values: Float[np.ndarray, " cell"], cells: Cells) -> Float64[np.ndarray, " width"]:
    """The direction in which a number of the cells grows: their covariance with it."""
    centred = np.asarray(values, np.float64) - np.mean(values)
    return centred @ (cells.value - cells.value.mean(axis=0))


def _differences(cells: Cells) -> Float64[np.ndarray, "pair width"]:
    both = np.flatnonzero(np.bincount(cells.group) == 2)
    inside = np.isin(cells.group, both)
    # Groups stand in order in both, so that pairs meet.
    return cells.value[inside & cells.positive] - cells.value[inside & ~cells.positive]


def _solve(
    signed: Float64[np.ndarray, "row width"],
    within: Float64[np.ndarray, "row width"],
    mean: Float64[np.ndarray, " width"],
    method: Method,
) -> Float64[np.ndarray, " width"]:
    """`signed` rows point from the others to the positives."""
    if method == "mean_difference":
        return mean
    if method == "whitened":
        width = within.shape[1]
        ridge = RIDGE * float(np.square(within).sum()) / len(within) / width
        if not ridge > 0:
            return mean
        # (WᵀW/n + r·I)⁻¹ m by way of the rows (Woodbury).
        small = within @ within.T / len(within) + ridge * np.eye(len(within))
        inner = _solved(small, within @ mean)
        return (mean - within.T @ inner / len(within)) / ridge
    return _logistic(signed)


def _logistic(signed: Float64[np.ndarray, "row width"]) -> Float64[np.ndarray, " width"]:
    """Newton's method on Σ log(1 + exp(−⟨w, x⟩)) + ½·λ‖w‖², in the span of the rows."""
    left, values, right = cast("tuple[Any, Any, Any]", np.linalg.svd(signed, full_matrices=False))
    kept = values > 1e-10 * values[0] if len(values) and values[0] > 0 else np.zeros(len(values), dtype=bool)
    # One scale for all: each component by itself would make noise as large as the rest.
    scale = float(np.sqrt(np.square(signed).mean()))
    x = left[:, kept] * values[kept] / scale
    w: Any = np.zeros(x.shape[1])
    for _ in range(STEPS):
        p: Any = 1 / (1 + np.exp(x @ w))
        gradient: Any = PENALTY * w - x.T @ p
        step = _solved(x.T @ (x * (p * (1 - p))[:, None]) + PENALTY * np.eye(len(w)), gradient)
        w = w - step
        if np.abs(step).max(initial=0.0) < 1e-10:
            break
    return w @ right[kept]


def _few(found: int, what: str) -> Refusal:
    return Refusal("few_groups", f"too few {what} to fit a direction", expected="2 or more", got=str(found))
