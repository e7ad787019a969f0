"""One part of the rows, every feature of a table: the test statistic of its design, the estimate, and their law.

| design | estimate | test |
|---|---|---|
| between, mixed | AUROC | Mann-Whitney, labels exchanged |
| within | share of pairs with the positive larger, ties ½ | Pratt's signed rank, signs flipped |
| continuous | Spearman's ρ | the same, scores exchanged |
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from radiograph.core.shapes import Float64, Int64
from radiograph.numerics.association._columns import Columns, added
from radiograph.numerics.association._power import ranks_of
from radiograph.numerics.association._units import Units
from radiograph.numerics.association.estimates import (
    FEWEST_GROUPS,
    Limits,
    Moments,
    Sizes,
    area_limits,
    bootstrap_limits,
    correlation_limits,
    delong,
    exchanged,
    flipped,
    pairs,
    ranked,
    score,
    share_limits,
    signed_ranks,
    two_classes,
)
from radiograph.numerics.association.estimates._effects import counts

FEWEST_RESAMPLED = 80
"""Units of a class from which percentiles of a bootstrap are as wide as they say."""


class Measured(NamedTuple):
    """Every feature of a table in one part of the rows."""

    table: Columns
    """What is ranked: units, or differences of pairs."""
    score: Float64[np.ndarray, " entry"]
    loose: Int64[np.ndarray, " feature"]
    """Units outside the largest tie."""
    law: Moments
    estimate: Float64[np.ndarray, " feature"]
    detectable: Float64[np.ndarray, " feature"]
    """Standard error of the estimate if nothing is associated: times z*, the minimal detectable effect."""


def null_value(units: Units) -> float:
    """The estimate of a feature that has nothing to do with the labels."""
    return 0.0 if units.design == "continuous" else 0.5


def measured(units: Units, cells: Columns) -> Measured:
    """Rank, compare, standardise; `cells` is a table of these units."""
    if units.design == "within":
        table = units.differences(cells)
        own = signed_ranks(table)
        n = table.stored if table.absent == "missing" else np.full(table.features, table.units)
        error = 0.5 * np.sqrt(table.active) / np.maximum(n, 1)
        return Measured(table, own.score, own.loose, flipped(table, own.score), pairs(table)[1], error)
    own = ranked(cells, units.stratum)
    weight = ranks_of(units)
    inside = exchanged(cells, own.score, weight, units.stratum)
    law = exchanged(cells, own.score, weight, units.block) if units.design == "mixed" else inside
    scale = _scale(units, cells, weight, inside)
    estimate = np.divide(inside.sum - inside.mean, scale, out=np.zeros(cells.features), where=scale > 1e-12)
    error = np.divide(np.sqrt(law.variance), scale, out=np.full(cells.features, np.inf), where=scale > 1e-12)
    return Measured(cells, own.score, own.loose, law, estimate + null_value(units), error)


def z_of(units: Units, found: Measured, weight: Float64[np.ndarray, " unit"]) -> Float64[np.ndarray, " feature"]:
    """Z under other labels (or signs of pairs): a sham run."""
    if units.design == "within":
        return flipped(found.table, found.score, weight).z
    return exchanged(found.table, found.score, weight, units.block).z


def sizes(units: Units, found: Measured) -> Sizes:
    """R and g; m and d_z of pairs."""
    if units.design == "within":
        return pairs(found.table)[0]
    if units.design == "continuous":
        return score(found.table, units.label, units.stratum)
    return two_classes(found.table, units.classes, units.stratum)


def limits(units: Units, found: Measured, confidence: float = 0.95) -> Limits:
    """Analytic interval of every estimate; NaN below 8 groups."""
    if units.groups < FEWEST_GROUPS:
        nothing = np.full(found.table.features, np.nan)
        return Limits(nothing, nothing.copy())
    table = found.table
    if units.design == "within":
        n = table.stored if table.absent == "missing" else np.full(table.features, table.units)
        # Outcomes are ½ + s/2 with s the sign of the difference.
        squares = 0.25 * (table.active - np.square(table.sums(np.sign(table.value))) / np.maximum(n, 1))
        return share_limits(found.estimate, n, squares, confidence)
    n = counts(table, units.classes, units.stratum).sum(axis=1)
    if units.design == "continuous":
        return correlation_limits(found.estimate, n.sum(axis=1), confidence)
    area, error = delong(table, units.label, units.stratum)
    return area_limits(area, error, n[:, 1], n[:, 0], confidence)


def resampled_limits(units: Units, found: Measured, *, draws: int, seed: int) -> Limits:
    """Cluster bootstrap of every estimate; NaN below 8 groups, without draws, and for a score.

    NaN too below 80 units of either class where an analytic interval holds, which the mixed design lacks: percentiles
    of few units lie too low (AUROC near .9, nominal .95: coverage .89 at 20 a class, .92 at 50, .95 at 80; else .96).
    """
    few = units.design != "mixed" and min(units.positive, units.negative) < FEWEST_RESAMPLED
    if few or units.groups < FEWEST_GROUPS or units.design == "continuous" or not draws:
        nothing = np.full(found.table.features, np.nan)
        return Limits(nothing, nothing.copy())
    if units.design == "within":
        group = np.zeros(units.blocks, np.int64)
        group[units.block] = units.group
        one, none = np.ones(units.blocks), np.zeros(units.blocks, np.int64)
        return bootstrap_limits(found.table, one, group, none, draws=draws, seed=seed, paired=True)
    return bootstrap_limits(found.table, units.label, units.group, units.stratum, draws=draws, seed=seed)


def _scale(
    units: Units, cells: Columns, weight: Float64[np.ndarray, " unit"], law: Moments
) -> Float64[np.ndarray, " feature"]:
    """What makes an estimate of S − mean: Σ P·Q, or √(spread of ranks · spread of the score's ranks)."""
    if units.design != "continuous":
        n = counts(cells, units.classes, units.stratum).astype(np.float64)
        return (n[..., 0] * n[..., 1]).sum(axis=1)
    size = np.maximum(np.bincount(units.stratum), 1)
    own = np.square(weight - (added(units.stratum, weight) / size)[units.stratum])
    if cells.absent == "zero":
        return np.sqrt(law.spread * float(own.sum()))
    strata = units.strata
    key = cells.feature * strata + units.stratum[cells.unit]
    n = np.maximum(np.bincount(key, minlength=cells.features * strata), 1)
    middle = added(key, weight[cells.unit], len(n)) / n
    return np.sqrt(law.spread * cells.sums(np.square(weight[cells.unit] - middle[key])))
