"""A sparse table of units × features, stored by feature, and what an absent entry means.

1. entries ascend by feature, then by unit, without repeats, so that every sum has one order whatever order rows came in
2. absent = `zero`: measured, and silent; stored zeros are dropped, so that omitted and written ones are the same table
   absent = `missing`: not measured; stored zeros stay, and n differs by feature
3. `pooled`: rows to cells. The value of a cell is the mean over its rows (`zero`) or over its present rows (`missing`).
   Entries of a cell are added in ascending order of value, so that the order of rows never changes a bit.

Cost: O(n log n) in the entries n to build or pool, O(n) for everything else; nothing is ever dense.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np

from radiograph.core import UserError
from radiograph.core.shapes import Bool, Float64, Int, Int64, Num
from radiograph.numerics._finite import finite

Absent = Literal["zero", "missing"]


@dataclass(frozen=True, eq=False)
class Columns:
    """Entries by feature: those of feature f are offsets[f] to offsets[f + 1]."""

    offsets: Int64[np.ndarray, " offset"]
    unit: Int64[np.ndarray, " entry"]
    value: Float64[np.ndarray, " entry"]
    units: int
    absent: Absent = "zero"

    @property
    def features(self) -> int:
        """How many features there are, silent ones included."""
        return len(self.offsets) - 1

    @property
    def stored(self) -> Int64[np.ndarray, " feature"]:
        """Entries of each feature."""
        return np.diff(self.offsets)

    @cached_property
    def feature(self) -> Int64[np.ndarray, " entry"]:
        """The feature of each entry."""
        return np.repeat(np.arange(self.features), self.stored)

    @property
    def active(self) -> Int64[np.ndarray, " feature"]:
        """Entries of each feature that are not zero."""
        if self.absent == "zero":
            return self.stored
        return np.bincount(self.feature[self.value != 0], minlength=self.features)

    def sums(self, values: Num[np.ndarray, " entry"]) -> Float64[np.ndarray, " feature"]:
        """Σ of something known for every entry, by feature."""
        return added(self.feature, values, self.features)

    def among(self, units: Bool[np.ndarray, " unit"]) -> Columns:
        """The table of some units, renumbered in their order."""
        number = np.cumsum(units) - 1
        kept = units[self.unit]
        offsets = _offsets(kept)[self.offsets]
        return Columns(offsets, number[self.unit[kept]], self.value[kept], int(units.sum()), self.absent)

    def of(self, features: Int[np.ndarray, " chosen"]) -> Columns:
        """The table of some features, in the order given."""
        if is_range(features, self.features):
            return self
        counts = self.stored[features]
        places = np.repeat(self.offsets[:-1][features] - _offsets(counts)[:-1], counts) + np.arange(int(counts.sum()))
        return Columns(_offsets(counts), self.unit[places], self.value[places], self.units, self.absent)

    def pooled(self, cell: Int64[np.ndarray, " unit"], rows: Int64[np.ndarray, " cell"]) -> Columns:
        """The mean of each cell; `cell` is −1 for rows that belong to none, `rows` how many rows each cell has."""
        if len(rows) == self.units and is_range(cell, self.units):
            return self
        kept = cell[self.unit] >= 0
        key = self.feature[kept] * len(rows) + cell[self.unit[kept]]
        value = self.value[kept]
        ascending = bool((key[1:] > key[:-1]).all())
        if not ascending:
            # Two terms have one sum, three have three.
            order = np.argsort(key) if rows.max(initial=0) <= 2 else np.lexsort((value, key))
            key, value = key[order], value[order]
        starts = starts_of_runs(key)
        if len(starts) < len(key):
            value = np.add.reduceat(value, starts)
        runs = np.diff(np.append(starts, len(key)))
        key = key[starts]
        feature, unit = np.divmod(key, max(len(rows), 1))
        value = value / (rows[unit] if self.absent == "zero" else runs)
        return _packed(feature, unit, value, len(rows), self.features, self.absent)


def columns(
    unit: Int[np.ndarray, " entry"],
    feature: Int[np.ndarray, " entry"],
    value: Num[np.ndarray, " entry"],
    *,
    units: int,
    features: int,
    absent: Absent = "zero",
) -> Columns:
    """A table from triplets in any order.

    Raises:
        UserError: an index out of range, a value that is not finite, two values for one unit and feature.
    """
    for what, index, size in (("unit", unit, units), ("feature", feature, features)):
        bad = (index < 0) | (index >= size)
        if bad.any():
            place = int(np.flatnonzero(bad)[0])
            raise UserError(
                f"entry {place} names a {what} that does not exist",
                expected=f"0 to {size - 1}",
                got=str(int(index[place])),
                where=f"{what}[{place}]",
            )
    held = finite(value, "values")
    key = feature.astype(np.int64) * max(units, 1) + unit.astype(np.int64)
    if not bool((key[1:] > key[:-1]).all()):
        order = np.argsort(key)
        key, held = key[order], held[order]
        repeated = np.flatnonzero(key[1:] == key[:-1])
        if len(repeated):
            f, u = divmod(int(key[repeated[0]]), max(units, 1))
            raise UserError(
                f"unit {u} has two values for feature {f}",
                expected="one value for a unit and a feature",
                got=f"{len(repeated)} repeated entries",
                fix="choose how values of one place are joined, or drop repeats",
                code="duplicate",
            )
    found, place = np.divmod(key, max(units, 1))
    return _packed(found, place, held, units, features, absent)


def _packed(
    feature: Int64[np.ndarray, " entry"],
    unit: Int64[np.ndarray, " entry"],
    value: Float64[np.ndarray, " entry"],
    units: int,
    features: int,
    absent: Absent,
) -> Columns:
    if absent == "zero" and not value.all():
        kept = value != 0
        feature, unit, value = feature[kept], unit[kept], value[kept]
    return Columns(_offsets(np.bincount(feature, minlength=features)), unit, value, units, absent)


def _offsets(counts: Int64[np.ndarray, " place"] | Bool[np.ndarray, " place"]) -> Int64[np.ndarray, " offset"]:
    return np.concatenate([np.zeros(1, np.int64), np.cumsum(counts)])


def is_range(numbers: Int[np.ndarray, " _"], size: int) -> bool:
    """Whether they are 0, 1, …, size − 1."""
    return len(numbers) == size and bool((numbers == np.arange(size)).all())


def starts_of_runs(key: Num[np.ndarray, " entry"]) -> Int64[np.ndarray, " run"]:
    """Where runs of equal neighbours begin."""
    first = np.ones(len(key), dtype=bool)
    first[1:] = key[1:] != key[:-1]
    return np.flatnonzero(first)


def added(
    key: Int64[np.ndarray, " entry"], weights: Num[np.ndarray, " entry"], minlength: int = 0
) -> Float64[np.ndarray, " place"]:
    """Σ of weights by place, in the order given; a float also where there is nothing to add."""
    return np.bincount(key, weights=weights, minlength=minlength).astype(np.float64, copy=False)
