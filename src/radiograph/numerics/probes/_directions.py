"""Directions between two classes of rows, for many labellings of the same rows at once.

δ = mean of the positive cells less mean of the others (a cell: the rows of one group and label). Where four groups of
five hold both labels, rows are first taken about the middle of their group, and groups of one label are left out of
the fit: δ is then the mean difference inside groups.

    mean_difference  δ                          lda       S_w⁻¹δ, S_w within classes, shrunk (Ledoit and Wolf)
    logistic         L2, on S_w-whitened cells   whitened  S_0⁻¹δ, S_0 the covariance of clean text, shrunk

`lda` solves with the covariance of all cells, whatever their label: it is S_w and a multiple of δδᵀ, and by the formula
of Sherman and Morrison both give the same direction. So one factor serves every labelling.

Vectors have length 1. A labelling without a difference gives the zero vector.
"""

from __future__ import annotations

from typing import Any, Literal, NamedTuple, cast

import numpy as np

from radiograph.core.shapes import Bool, Float, Float64
from radiograph.numerics.contrasts import PAIRED
from radiograph.numerics.probes._covariance import cell_moment, shrunk
from radiograph.numerics.probes._labels import Cells

Method = Literal["mean_difference", "logistic", "lda", "whitened"]
STRENGTHS = (0.01, 0.1, 1.0)
"""L2 penalties that `logistic` chooses among: of the mean loss, on whitened cells."""
_solve: Any = np.linalg.solve


class Fit(NamedTuple):
    """What the labels of some rows decide a direction from."""

    value: Float64[np.ndarray, "cell width"]
    used: Bool[np.ndarray, " cell"]
    """Cells that take part."""
    within: Float64[np.ndarray, "width width"]
    """Shrunk covariance about the mean of all cells."""
    clean: Float64[np.ndarray, "width width"] | None


def prepared(
    rows: Float[np.ndarray, "row width"], cells: Cells, clean: Float64[np.ndarray, "width width"] | None = None
) -> Fit:
    """Means of the cells and the covariances; `clean` is that of clean text."""
    size = np.bincount(cells.cell)
    means = np.zeros((len(size), rows.shape[1]))
    values = rows.astype(np.float64)
    np.add.at(means, cells.cell, values)
    means /= size[:, None]
    used = np.ones(len(size), dtype=bool)
    if cells.paired >= PAIRED:
        used = cells.both
        middle = np.zeros((int(cells.group.max()) + 1, rows.shape[1]))
        np.add.at(middle, cells.group, means / np.bincount(cells.group)[cells.group, None])
        means = means - middle[cells.group]
        values = values - middle[cells.group[cells.cell]]
    taken = used[cells.cell]
    number = np.cumsum(used) - 1
    count = int(used.sum())
    centre = means[used].mean(axis=0)
    moment, fourth = cell_moment(values[taken] - centre, number[cells.cell[taken]], count)
    return Fit(means, used, shrunk(moment, fourth, count), clean)


def directions(
    fit: Fit, labels: Bool[np.ndarray, "draw cell"], method: Method, strength: float = STRENGTHS[0]
) -> Float64[np.ndarray, "draw width"]:
    """A unit vector for every labelling of the cells."""
    taken = labels[:, fit.used].astype(np.float64)
    value = fit.value[fit.used]
    first, second = taken.sum(axis=1, keepdims=True), (1 - taken).sum(axis=1, keepdims=True)
    delta = taken @ value / np.maximum(first, 1) - (1 - taken) @ value / np.maximum(second, 1)
    delta *= (first > 0) & (second > 0)
    match method:
        case "mean_difference":
            found = delta
        case "lda":
            found = _solve(fit.within, delta.T).T
        case "whitened":
            found = _solve(fit.within if fit.clean is None else fit.clean, delta.T).T
        case "logistic":
            found = np.stack(
                [_logistic(value, one > 0.5, fit.within, d, strength) for one, d in zip(taken, delta, strict=True)]
            )
    norm = np.linalg.norm(found, axis=1, keepdims=True)
    return found / np.where(norm > 0, norm, 1.0)


def _logistic(
    value: Float64[np.ndarray, "cell width"],
    positive: Bool[np.ndarray, " cell"],
    total: Float64[np.ndarray, "width width"],
    delta: Float64[np.ndarray, " width"],
    strength: float,
) -> Float64[np.ndarray, " width"]:
    """Classes weigh alike; the intercept is free."""
    from scipy import optimize  # pyright: ignore[reportMissingTypeStubs]

    if not delta.any():
        return delta
    share = float(positive.mean())
    within = total - share * (1 - share) * np.outer(delta, delta)
    values, vectors = cast("tuple[np.ndarray, np.ndarray]", np.linalg.eigh(within))
    kept = values > 1e-9 * values[-1]
    whiten = vectors[:, kept] / np.sqrt(values[kept])
    x = (value - value.mean(axis=0)) @ whiten
    sign = np.where(positive, 1.0, -1.0)
    first = float(positive.sum())
    weight: Any = np.where(positive, 0.5 / first, 0.5 / (len(positive) - first))

    def loss(theta: Any) -> Any:
        margin: Any = sign * (x @ theta[:-1] + theta[-1])
        slope: Any = -weight * sign / (1 + np.exp(np.minimum(margin, 500)))
        value: Any = weight @ np.logaddexp(0, -margin) + 0.5 * strength * theta[:-1] @ theta[:-1]
        gradient: Any = np.empty_like(theta)
        gradient[:-1] = x.T @ slope + strength * theta[:-1]
        gradient[-1] = slope.sum()
        return value, gradient

    start = np.zeros(x.shape[1] + 1)
    solved = cast(Any, optimize).minimize(loss, start, jac=True, method="L-BFGS-B", options={"maxiter": 200})
    return whiten @ solved.x[:-1]
