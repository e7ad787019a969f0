"""Activations of many features on the same units, as a sparse table; what is not listed is 0.

Entries are sorted by feature, then unit, so that the order in which they came never changes a sum. Refuses two values
in one place, places outside the table, numbers that are not finite.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from radiograph.core import UserError
from radiograph.core.shapes import Float, Float64, Int64, Integer
from radiograph.numerics._finite import finite

LEAST_ACTIVE = 10
"""Shared units on which a feature must be active to be matched: with fewer, chance reaches a similarity of 1."""


@dataclass(frozen=True, eq=False)
class Activations:
    """Non-zero values of each feature."""

    offsets: Int64[np.ndarray, " offset"]
    """Entries of feature f are those from offsets[f] to offsets[f + 1]."""
    units: Int64[np.ndarray, " entry"]
    values: Float64[np.ndarray, " entry"]
    n_units: int

    @classmethod
    def of(
        cls,
        feature: Integer[np.ndarray, " entry"],
        unit: Integer[np.ndarray, " entry"],
        value: Float[np.ndarray, " entry"],
        *,
        features: int,
        units: int,
    ) -> Activations:
        """From entries in any order; zeros are left out.

        Raises:
            UserError: a place outside the table, two values in one place, a value that is not finite.
        """
        amounts = finite(value, "activation")
        for name, places, size in (("feature", feature, features), ("unit", unit, units)):
            if len(places) and not 0 <= int(places.min()) <= int(places.max()) < size:
                raise UserError(
                    f"a {name} lies outside the table",
                    expected=f"0 to {size - 1}",
                    got=f"{places.min()} to {places.max()}",
                )
        key = feature.astype(np.int64) * units + unit
        order = np.argsort(key, kind="stable")
        key = key[order]
        twice = np.flatnonzero(key[1:] == key[:-1])
        if len(twice):
            f, u = divmod(int(key[twice[0]]), units)
            raise UserError(
                "two values for one feature and unit",
                got=f"feature {f}, unit {u}, and {len(twice) - 1} more",
                fix="pool them first, by their maximum or sum",
                code="duplicate_value",
            )
        amounts = amounts[order]
        kept = amounts != 0
        key, amounts = key[kept], amounts[kept]
        offsets = np.searchsorted(key, np.arange(features + 1, dtype=np.int64) * units)
        return cls(offsets.astype(np.int64), key % max(units, 1), amounts, units)

    @classmethod
    def of_dense(cls, table: Float[np.ndarray, "unit feature"]) -> Activations:
        """From a dense table; for small cases."""
        unit, feature = np.nonzero(table)
        return cls.of(feature, unit, table[unit, feature], features=table.shape[1], units=len(table))

    @property
    def features(self) -> int:
        return len(self.offsets) - 1

    @property
    def active(self) -> Int64[np.ndarray, " feature"]:
        """Units on which each feature is not 0."""
        return np.diff(self.offsets)

    def of_features(self, features: Integer[np.ndarray, " kept"]) -> Activations:
        """Some features, in the order given; one may be taken twice."""
        lengths = self.active[features]
        offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
        begin: Int64[np.ndarray, " kept"] = self.offsets[:-1][features] - offsets[:-1]
        places: Int64[np.ndarray, " entry"] = np.arange(int(offsets[-1]), dtype=np.int64) + np.repeat(begin, lengths)
        return Activations(offsets, self.units[places], self.values[places], self.n_units)

    def on_units(self, places: Integer[np.ndarray, " unit"], units: int) -> Activations:
        """The same on other units: `places` gives the new place of each unit, −1 drops it."""
        new = places[self.units]
        kept = new >= 0
        feature = np.repeat(np.arange(self.features), self.active)
        return Activations.of(feature[kept], new[kept], self.values[kept], features=self.features, units=units)

    def dense(self, features: Integer[np.ndarray, " kept"]) -> Float64[np.ndarray, "unit kept"]:
        """Some features as columns; for few of them."""
        part = self.of_features(features)
        table = np.zeros((self.n_units, len(features)))
        table[part.units, np.repeat(np.arange(len(features)), part.active)] = part.values
        return table


def enough_active(activations: Activations, least: int = LEAST_ACTIVE) -> Int64[np.ndarray, " kept"]:
    """Features active in `least` units or more; the others are `few_active`."""
    return np.flatnonzero(activations.active >= least).astype(np.int64)
