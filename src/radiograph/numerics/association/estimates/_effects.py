"""Sizes of associations that do not go by rank, and how often a feature fires.

1. two classes: D = Σ_s v_s·D_s/Σ v_s with D_s the mean difference of stratum s; variance by a second pass about the
   means of the classes, so that nothing cancels where means are large
   r = Σ_s (PQ/N)·D_s/√(Σ_s [SS_within + (PQ/N)·D_s²]·Σ_s PQ/N), the correlation inside strata; without strata this is
   the point-biserial (s⁺/P − s⁻/Q)·√(PQ)/(N·sd)
   g = D/pooled sd × (1 − 3/(4·df − 1)), v = PQ (Hedges 1981), df = N − 2 per stratum
2. a score: Pearson's r inside strata
3. pairs: d_z = mean/sd of differences; m = Σd/√(n·Σd²), which is in [−1, 1]; share of positive larger, ties one half
4. firing: recall n⁺/P, false firing n⁻/Q, lift (n⁺/n_f)/(P/N)

NaN where a feature does not vary. Units: r, m in [−1, 1]; g and d_z in standard deviations.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from radiograph.core.shapes import Float64, Int64
from radiograph.numerics.association._columns import Columns, added


class Sizes(NamedTuple):
    """How large the association is: correlation and standardised difference."""

    r: Float64[np.ndarray, " feature"]
    g: Float64[np.ndarray, " feature"]
    """Hedges' g; d_z in a within design; NaN for a score."""


class Firing(NamedTuple):
    """How often a feature is not zero in either class."""

    active: Int64[np.ndarray, " feature"]
    active_positive: Int64[np.ndarray, " feature"]
    positive: Int64[np.ndarray, " feature"]
    """P: the same for all features unless some were not measured."""
    negative: Int64[np.ndarray, " feature"]

    @property
    def recall(self) -> Float64[np.ndarray, " feature"]:
        """n⁺/P."""
        return _over(self.active_positive, self.positive)

    @property
    def false_firing(self) -> Float64[np.ndarray, " feature"]:
        """n⁻/Q."""
        return _over(self.active - self.active_positive, self.negative)

    @property
    def lift(self) -> Float64[np.ndarray, " feature"]:
        """Share of positives among active units over their share among all."""
        return _over(_over(self.active_positive, self.active), _over(self.positive, self.positive + self.negative))


def counts(
    table: Columns, classes: Int64[np.ndarray, " unit"], stratum: Int64[np.ndarray, " unit"]
) -> Int64[np.ndarray, "feature stratum class"]:
    """Measured units of each class and stratum, by feature."""
    strata = int(stratum.max(initial=0)) + 1
    key = stratum * 2 + classes
    if table.absent == "zero":
        one = np.bincount(key, minlength=strata * 2).reshape(1, strata, 2)
        return np.broadcast_to(one, (table.features, strata, 2))
    every = np.bincount(table.feature * strata * 2 + key[table.unit], minlength=table.features * strata * 2)
    return every.reshape(-1, strata, 2)


def two_classes(table: Columns, classes: Int64[np.ndarray, " unit"], stratum: Int64[np.ndarray, " unit"]) -> Sizes:
    """Point-biserial r and Hedges' g."""
    n = counts(table, classes, stratum)
    strata = n.shape[1]
    mean, squares = _spread(table, (stratum * 2 + classes)[table.unit], n.reshape(-1, strata * 2))
    mean, squares = mean.reshape(n.shape), squares.reshape(n.shape)
    p, q = n[..., 1].astype(np.float64), n[..., 0].astype(np.float64)
    apart = np.where(p * q > 0, mean[..., 1] - mean[..., 0], 0.0)
    weight = _over(p * q, p + q)
    weight[np.isnan(weight)] = 0.0
    inside = squares.sum(axis=(1, 2))
    whole = inside + (weight * apart**2).sum(axis=1)
    r = _over((weight * apart).sum(axis=1), np.sqrt(whole * weight.sum(axis=1)))
    df = n.sum(axis=(1, 2)) - 2.0 * ((p > 0) & (q > 0)).sum(axis=1)
    difference = _over((p * q * apart).sum(axis=1), (p * q).sum(axis=1))
    g = _over(difference, np.sqrt(_over(inside, df))) * (1 - 3 / np.where(df > 0, 4 * df - 1, np.nan))
    return Sizes(r, g)


def score(table: Columns, label: Float64[np.ndarray, " unit"], stratum: Int64[np.ndarray, " unit"]) -> Sizes:
    """Pearson's r with a score."""
    n = counts(table, np.zeros_like(stratum), stratum)[..., 0]
    strata = n.shape[1]
    at = stratum[table.unit]
    _, squares = _spread(table, at, n)
    key = table.feature * strata + at
    y = label[table.unit]
    if table.absent == "zero":
        size = np.maximum(np.bincount(stratum, minlength=strata), 1)
        centred = label - (added(stratum, label, strata) / size)[stratum]
        spread = np.full(table.features, float(np.square(centred).sum()))
        cross = table.sums(table.value * centred[table.unit])
    else:
        own = added(key, y, n.size) / np.maximum(n.ravel(), 1)
        spread = table.sums(np.square(y - own[key]))
        middle = added(key, table.value, n.size) / np.maximum(n.ravel(), 1)
        cross = table.sums((table.value - middle[key]) * (y - own[key]))
    return Sizes(_over(cross, np.sqrt(squares.sum(axis=1) * spread)), np.full(table.features, np.nan))


def pairs(differences: Columns) -> tuple[Sizes, Float64[np.ndarray, " feature"]]:
    """M and d_z of differences, and the share of pairs in which the positive side is larger, ties one half."""
    n = differences.stored if differences.absent == "missing" else np.full(differences.features, differences.units)
    mean, squares = _spread(differences, np.zeros(len(differences.unit), np.int64), n[:, None])
    mean, squares = mean[:, 0], squares[:, 0]
    m = _over(mean * np.sqrt(n), np.sqrt(squares + n * mean**2))
    sd = np.sqrt(_over(squares, n - 1))
    larger = 0.5 + 0.5 * _over(differences.sums(np.sign(differences.value)), n)
    return Sizes(m, _over(mean, sd)), larger


def firing(table: Columns, classes: Int64[np.ndarray, " unit"]) -> Firing:
    """Counts of active units by class."""
    n = counts(table, classes, np.zeros_like(classes))[:, 0]
    on = table.value != 0
    positive = np.bincount(table.feature[on & (classes[table.unit] == 1)], minlength=table.features)
    return Firing(table.active.astype(np.int64), positive, n[:, 1].copy(), n[:, 0].copy())


def intraclass(
    rows: Columns, cell: Int64[np.ndarray, " row"], size: Int64[np.ndarray, " cell"]
) -> Float64[np.ndarray, " feature"]:
    """Share of a feature's variance that lies between cells: ICC(1), one-way (Shrout and Fleiss 1979).

    Rows of one cell are paraphrases. NaN where no cell has two rows, nothing varies, or rows were not measured.
    """
    kept = cell[rows.unit] >= 0
    feature, at, value = rows.feature[kept], cell[rows.unit[kept]], rows.value[kept]
    cells, n = len(size), float(size.sum())
    if cells < 2 or n <= cells or rows.absent == "missing":
        return np.full(rows.features, np.nan)
    held = added(feature, value, rows.features) / n
    key = feature * cells + at
    names, place = np.unique(key, return_inverse=True)
    own_feature, own_cell = np.divmod(names, cells)
    sums = added(place, value, len(names))
    active = np.bincount(place, minlength=len(names))
    means = sums / size[own_cell]
    inside = added(feature, (value - means[place]) ** 2, rows.features)
    quiet = (size[own_cell] - active) * means**2
    inside += added(own_feature, quiet, rows.features)
    # Cells without any entry lie at zero, the overall mean away from the middle.
    seen = added(own_feature, size[own_cell], rows.features)
    moved = size[own_cell] * (means - held[own_feature]) ** 2
    between = added(own_feature, moved, rows.features) + (n - seen) * held**2
    typical = (n - float(np.square(size).sum()) / n) / (cells - 1)
    between, inside = between / (cells - 1), inside / (n - cells)
    return _over(between - inside, between + (typical - 1) * inside)


def _spread(
    table: Columns, at: Int64[np.ndarray, " entry"], n: Int64[np.ndarray, "feature part"]
) -> tuple[Float64[np.ndarray, "feature part"], Float64[np.ndarray, "feature part"]]:
    """Mean and sum of squared deviations of each part of each feature, in two passes."""
    key = table.feature * n.shape[1] + at
    size = n.ravel().astype(np.float64)
    shape = n.shape
    mean = added(key, table.value, len(size)) / np.maximum(size, 1)
    away = table.value - mean[key]
    squares = added(key, away * away, len(size))
    zeros = size - np.bincount(key, minlength=len(size))
    squares += zeros * mean**2
    # What rounding left of the mean, as in the corrected two-pass algorithm (Chan, Golub and LeVeque 1983).
    left = added(key, away, len(size)) - zeros * mean
    return mean.reshape(shape), np.maximum(squares - left**2 / np.maximum(size, 1), 0.0).reshape(shape)


def _over(above: np.ndarray, below: np.ndarray) -> Float64[np.ndarray, "..."]:
    """Quotients; NaN over zero."""
    above, below = np.broadcast_arrays(np.asarray(above, np.float64), np.asarray(below, np.float64))
    return np.divide(above, below, out=np.full(above.shape, np.nan), where=below > 0)
