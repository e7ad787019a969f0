"""Is this the kind of input that a probe was calibrated on? Row by row, and as a set.

1. rows about the mean of the fit are turned into axes of unit variance, the class direction taken out: the axes are
   orthogonal to it in whitened space, so that what raises the score of a true alarm does not make it look strange
2. a row is outside if its squared distance leaves the [.25, 99.75] % range of held-out calibration rows, or its length
   does
3. a set is outside if more than 10 % of its rows are; if the squared distances differ by more than .25 (Kolmogorov and
   Smirnov) from those of calibration and from those of every kind of text in it (a set of one kind is no stranger); if
   the mean |log variance ratio| over the axes is above log 2; if an axis is off by more than 2.5 sd; or if it
   has fewer than 20 distinct rows

Axes: all of the shrunk covariance, at most half as many as there are rows, 256 at most.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from radiograph.core.shapes import Bool, Float, Float64, Int64
from radiograph.numerics.probes._covariance import covariance

TAIL = 0.0025
OUTSIDE_SHARE = 0.10
DISTANCE = 0.25
LOG_VARIANCE = float(np.log(2))
MEAN_OFF = 2.5
DISTINCT = 20
AXES = 256
QUANTILES = 1001
_GRID = np.linspace(0, 1, QUANTILES)


class Support(NamedTuple):
    """What calibration rows look like."""

    mean: Float[np.ndarray, " width"]
    whiten: Float[np.ndarray, "width axis"]
    distance: Float64[np.ndarray, "kind quantile"]
    """1,001 quantiles of the squared distances of calibration rows: of all, then of every kind."""
    length: Float64[np.ndarray, " quantile"]
    """And of their lengths, before normalisation."""


class SetSupport(NamedTuple):
    """A set of rows beside calibration."""

    outside: float
    """Share of the rows."""
    distance: float
    """Of Kolmogorov and Smirnov."""
    log_variance: float
    mean_off: float
    """Largest, in sd."""
    distinct: int

    @property
    def broken(self) -> str | None:
        """The first rule that is broken, in words."""
        rules = (
            (self.distinct < DISTINCT, f"{self.distinct} distinct rows, fewer than {DISTINCT}"),
            (
                self.outside > OUTSIDE_SHARE,
                f"{self.outside:.0%} of the rows are outside, over {OUTSIDE_SHARE:.0%}",
            ),
            (
                self.distance > DISTANCE,
                f"their distances from the middle differ from calibration by {self.distance:.2f}, more than {DISTANCE}",
            ),
            (
                self.log_variance > LOG_VARIANCE,
                f"their variance differs by e^{self.log_variance:.2f} an axis, more than by half or double",
            ),
            (self.mean_off > MEAN_OFF, f"the mean of an axis is {self.mean_off:.1f} sd off, more than {MEAN_OFF}"),
        )
        return next((text for bad, text in rules if bad), None)


def support_of(
    fit: Float[np.ndarray, "row width"],
    held: Float[np.ndarray, "other width"],
    lengths: Float[np.ndarray, " other"],
    kind: Int64[np.ndarray, " other"],
    delta: Float64[np.ndarray, " width"],
) -> Support:
    """From rows of the fit and of calibration, both normalised; `kind` numbers the kinds of the latter's texts, and
    `delta` is the difference of the class means.
    """
    mean = fit.mean(axis=0, dtype=np.float64)
    eigh: Any = np.linalg.eigh
    values, vectors = eigh(covariance(fit))
    count = max(2, min(len(values), AXES, len(fit) // 2))
    whiten = vectors[:, ::-1][:, :count] / np.sqrt(values[::-1][:count])
    whiten = whiten @ _beside(whiten.T @ delta)
    # As stored, so that a probe that was read again measures the same.
    mean, whiten = mean.astype(np.float32), whiten.astype(np.float32)
    distance = squared_distances(held, mean, whiten)
    of_kinds = [distance, *(distance[kind == one] for one in np.unique(kind))]
    return Support(
        mean,
        whiten,
        np.stack([np.quantile(own, _GRID) for own in of_kinds]),
        np.quantile(lengths.astype(np.float64), _GRID),
    )


def projected(
    rows: Float[np.ndarray, "row width"], mean: Float[np.ndarray, " width"], whiten: Float[np.ndarray, "width axis"]
) -> Float[np.ndarray, "row axis"]:
    """Rows in the axes, in the precision of the rows."""
    return rows @ whiten.astype(rows.dtype, copy=False) - (mean @ whiten).astype(rows.dtype)


def squared_distances(
    rows: Float[np.ndarray, "row width"], mean: Float[np.ndarray, " width"], whiten: Float[np.ndarray, "width axis"]
) -> Float64[np.ndarray, " row"]:
    """Σ over axes of the squared coordinates."""
    axes = projected(rows, mean, whiten)
    return np.einsum("ij,ij->i", axes, axes).astype(np.float64)


def outside(
    support: Support, distance: Float64[np.ndarray, " row"], lengths: Float[np.ndarray, " row"]
) -> Bool[np.ndarray, " row"]:
    """Rows that calibration has none like."""

    def leaves(values: np.ndarray, quantiles: np.ndarray) -> np.ndarray:
        low, high = np.interp([TAIL, 1 - TAIL], _GRID, quantiles)
        return (values < low) | (values > high)

    return leaves(distance, support.distance[0]) | leaves(lengths, support.length)


def set_support(
    support: Support,
    distance: Float64[np.ndarray, " row"],
    beyond: Bool[np.ndarray, " row"],
    mean: Float64[np.ndarray, " axis"],
    variance: Float64[np.ndarray, " axis"],
    distinct: int,
) -> SetSupport:
    """The rules of a set, from what a stream leaves: distances of all rows, mean and variance of each axis."""
    ratio = np.log(np.maximum(variance, 1e-12))
    return SetSupport(
        float(beyond.mean()),
        min(_apart(distance, own) for own in support.distance),
        float(np.abs(ratio).mean()),
        float(np.abs(mean).max(initial=0.0)),
        distinct,
    )


def _apart(values: Float64[np.ndarray, " row"], quantiles: Float64[np.ndarray, " quantile"]) -> float:
    """Largest difference of two distribution functions, one of them known by its quantiles."""
    ordered = np.sort(values)
    # A value that calibration holds often is a jump: both of its sides count.
    above = np.searchsorted(quantiles, ordered, side="right") / len(quantiles)
    below = np.searchsorted(quantiles, ordered, side="left") / len(quantiles)
    n = len(ordered)
    upper = np.searchsorted(ordered, ordered, side="right") / n
    lower = np.searchsorted(ordered, ordered, side="left") / n
    return float(max(np.abs(upper - above).max(), np.abs(lower - below).max()))


def _beside(direction: Float64[np.ndarray, " axis"]) -> Float64[np.ndarray, "axis other"]:
    """Orthonormal axes that leave a direction out; all of them where it is zero."""
    length = float(np.linalg.norm(direction))
    if not length > 0:
        return np.eye(len(direction))
    basis, _ = np.linalg.qr(np.column_stack([direction / length, np.eye(len(direction))]))
    return basis[:, 1:]
