"""Similarity of every left feature with every right one over shared units, a block of 2,048 × 2,048 at a time.

1. `pearson` correlation of values; `spearman` of mid-ranks, the silent units being one tie; `jaccard`: units where both
   are active over units where either is. What is not listed is 0.
2. Features are scaled once, so that a block is one matrix product: of sparse tables where their entries meet rarely
   (float64, less the product of the centres, which are below 1 for anything sparse), else of dense ones (float32,
   centred first, 4,096 units at a time). Memory does not grow with units or features beyond the entries themselves.
3. `exact` gives the similarity of named pairs in float64.

A constant feature has similarity 0 with everything.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Literal, NamedTuple, cast

import numpy as np
from jaxtyping import Float, Float32, Float64, Int64, Integer

from radiograph.numerics.matching._activations import Activations

Kind = Literal["pearson", "spearman", "jaccard"]
BLOCK = 2048
ROUNDING = 1e-5
"""What float32 may take from a similarity: two of them that differ by less are a tie."""
_UNITS = 4096
_KEPT = 1 << 24
"""Dense values of both sides that are kept from draw to draw: 64 MiB. Larger sides are filled in anew."""
_PAIRS = 1 << 21
"""Dense values held for named pairs."""
_SPARSE_COST = 256
"""A product of two sparse entries costs about as much as so many of dense ones."""


@dataclass(frozen=True, eq=False)
class Scaled:
    """Features of one side, ready to be multiplied."""

    table: Activations
    centre: Float64[np.ndarray, " feature"]
    """Σ over units of a product, less the product of centres, is a correlation."""

    def of_features(self, features: Integer[np.ndarray, " kept"]) -> Scaled:
        return Scaled(self.table.of_features(features), self.centre[features])

    def moved(self, places: Int64[np.ndarray, "draw unit"]) -> Scaled:
        """Every feature once for each draw, its values moved from unit u to unit places[draw, u]; draws outermost."""
        t, draws = self.table, len(places)
        offsets = (np.arange(draws)[:, None] * len(t.units) + t.offsets[:-1]).ravel()
        ends = np.append(offsets, draws * len(t.units)).astype(np.int64)
        moved = Activations(ends, places[:, t.units].ravel(), np.tile(t.values, draws), t.n_units)
        return Scaled(moved, np.tile(self.centre, draws))

    @cached_property
    def blocks(self) -> tuple[Scaled, ...]:
        n = self.table.features
        if n <= BLOCK:
            return (self,)
        return tuple(self.of_features(np.arange(start, min(start + BLOCK, n))) for start in range(0, n, BLOCK))

    @cached_property
    def dense(self) -> Float32[np.ndarray, "unit feature"]:
        """Centred columns of all units; kept, so for small tables alone."""
        return _dense(self, 0, self.table.n_units)

    @cached_property
    def columns(self) -> Any:
        """SciPy's [unit, feature] table, by unit."""
        return _compressed(self.table).T.tocsr()


class Part(NamedTuple):
    """A block of similarities and where it lies."""

    left: int
    right: int
    values: Float[np.ndarray, "left right"]


def scaled(activations: Activations, kind: Kind) -> Scaled:
    """One side, ready to be multiplied."""
    feature = np.repeat(np.arange(activations.features), activations.active)
    n, units = activations.features, activations.n_units
    if kind == "jaccard":
        ones = np.ones(len(activations.values))
        return Scaled(Activations(activations.offsets, activations.units, ones, units), np.zeros(n))
    values = activations.values if kind == "pearson" else _ranks(activations, feature)
    mean = np.bincount(feature, values, minlength=n) / max(units, 1)
    deviations = np.bincount(feature, np.square(values - mean[feature]), minlength=n)
    deviations += (units - activations.active) * np.square(mean)
    size = np.sqrt(deviations)
    # Rounding leaves a constant feature a spread of about 1e-16 of its mean.
    varies = size > 1e-12 * np.abs(mean) * np.sqrt(max(units, 1))
    factor = np.where(varies, 1 / np.where(varies, size, 1.0), 0.0)
    table = Activations(activations.offsets, activations.units, values * factor[feature], units)
    return Scaled(table, mean * factor * np.sqrt(units))


@dataclass(frozen=True, eq=False)
class Similarity:
    """All pairs of two sides."""

    left: Scaled
    right: Scaled
    kind: Kind
    sparse: bool
    """Whether blocks are products of sparse tables."""

    @classmethod
    def of(cls, left: Activations, right: Activations, kind: Kind = "pearson") -> Similarity:
        one, two = scaled(left, kind), scaled(right, kind)
        return cls(one, two, kind, _meet_rarely(one.table, two.table))

    def blocks(self, places: Int64[np.ndarray, " unit"] | None = None) -> Iterator[Part]:
        """Every block, left ones innermost; `places` moves the left values from unit u to unit places[u]."""
        for r, right in enumerate(self.right.blocks):
            for first, left in enumerate(self.left.blocks):
                values = self._sparsely(left, right, places) if self.sparse else self._densely(left, right, places)
                yield Part(first * BLOCK, r * BLOCK, self._finished(values, left, right))

    def best(self, places: Int64[np.ndarray, " unit"] | None = None) -> Float64[np.ndarray, " left"]:
        """The largest similarity of each left feature."""
        best = np.full(self.left.table.features, -np.inf)
        for part in self.blocks(places):
            rows = slice(part.left, part.left + len(part.values))
            best[rows] = np.maximum(best[rows], part.values.max(axis=1))
        return best

    def of_left(self, left: Scaled) -> Similarity:
        """Other left features against the same right side, prepared once."""
        return replace(self, left=left)

    def exact(
        self, left: Integer[np.ndarray, " pair"], right: Integer[np.ndarray, " pair"]
    ) -> Float64[np.ndarray, " pair"]:
        """Similarities of these pairs in float64."""
        found = np.zeros(len(left))
        step = max(1, _PAIRS // max(self.left.table.n_units, 1))
        for start in range(0, len(left), step):
            part = slice(start, start + step)
            one, two = self.left.table.dense(left[part]), self.right.table.dense(right[part])
            found[part] = np.einsum("up,up->p", one, two)
        if self.kind == "jaccard":
            either = self.left.table.active[left] + self.right.table.active[right] - found
            return found / np.maximum(either, 1)
        return np.clip(found - self.left.centre[left] * self.right.centre[right], -1.0, 1.0)

    def _sparsely(
        self, left: Scaled, right: Scaled, places: Int64[np.ndarray, " unit"] | None
    ) -> Float64[np.ndarray, "left right"]:
        table = left.table if places is None else left.moved(places[None]).table
        values = (_compressed(table) @ right.columns).toarray()
        if self.kind != "jaccard":
            values -= np.multiply.outer(left.centre, right.centre)
        return values

    def _densely(
        self, left: Scaled, right: Scaled, places: Int64[np.ndarray, " unit"] | None
    ) -> Float32[np.ndarray, "left right"]:
        units = left.table.n_units
        if units * (self.left.table.features + self.right.table.features) <= _KEPT:
            if places is None:
                return left.dense.T @ right.dense
            moved = np.empty_like(left.dense)
            moved[places] = left.dense
            return moved.T @ right.dense
        there = left if places is None else left.moved(places[None])
        total = np.zeros((left.table.features, right.table.features), dtype=np.float32)
        for start in range(0, units, _UNITS):
            stop = min(start + _UNITS, units)
            total += _dense(there, start, stop).T @ _dense(right, start, stop)
        return total

    def _finished(
        self, values: Float[np.ndarray, "left right"], left: Scaled, right: Scaled
    ) -> Float[np.ndarray, "left right"]:
        if self.kind != "jaccard":
            return values
        either = np.add.outer(left.table.active, right.table.active).astype(values.dtype) - values
        return values / np.maximum(either, 1)


def _meet_rarely(left: Activations, right: Activations) -> bool:
    met = np.bincount(left.units, minlength=left.n_units).astype(np.float64) @ np.bincount(
        right.units, minlength=left.n_units
    )
    return bool(_SPARSE_COST * met < float(left.n_units) * left.features * right.features)


def _compressed(table: Activations) -> Any:
    """SciPy's [feature, unit] table of the same entries."""
    from scipy import sparse  # pyright: ignore[reportMissingTypeStubs]

    shape = (table.features, table.n_units)
    return cast(Any, sparse).csr_matrix((table.values, table.units, table.offsets), shape=shape)


def _dense(part: Scaled, start: int, stop: int) -> Float32[np.ndarray, "unit feature"]:
    """Centred columns for the units from start to stop."""
    table = part.table
    base = (-part.centre / np.sqrt(max(table.n_units, 1))).astype(np.float32)
    feature = np.repeat(np.arange(table.features), table.active)
    unit, values = table.units, table.values
    if stop - start < table.n_units:
        inside = (unit >= start) & (unit < stop)
        feature, unit, values = feature[inside], unit[inside] - start, values[inside]
    out = np.empty((stop - start, table.features), dtype=np.float32)
    out[:] = base
    out[unit, feature] += values.astype(np.float32)
    return out


def _ranks(activations: Activations, feature: Int64[np.ndarray, " entry"]) -> Float64[np.ndarray, " entry"]:
    """Mid-rank of each entry within its feature, less the mid-rank of the units where it is silent."""
    order = np.lexsort((activations.values, feature))
    values, owner = activations.values[order], feature[order]
    new = np.ones(len(values), dtype=bool)
    new[1:] = (values[1:] != values[:-1]) | (owner[1:] != owner[:-1])
    starts = np.flatnonzero(new)
    ends = np.append(starts, len(values))[1:]
    tie = np.repeat((starts + ends + 1) / 2, ends - starts)
    # Places among the entries of the feature, from 1; positive values stand behind all silent units.
    silent = (activations.n_units - activations.active)[owner]
    negative = np.bincount(feature[activations.values < 0], minlength=activations.features)[owner]
    place = tie - activations.offsets[:-1][owner] + np.where(values > 0, silent, 0)
    ranks = np.empty(len(values))
    ranks[order] = place - (negative + (silent + 1) / 2)
    return ranks
