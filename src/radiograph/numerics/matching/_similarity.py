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

from radiograph.core.shapes import Float, Float32, Float64, Int64, Integer
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

    def drawn(self, sources: Int64[np.ndarray, "draw unit"], kind: Kind) -> Scaled:
        """Every feature once for each draw, unit u with the value of unit sources[draw, u]; draws outermost."""
        table, draws, units = self.table, len(sources), sources.shape[1]
        by_unit = np.argsort(table.units, kind="stable")
        owner = np.repeat(np.arange(table.features), table.active)[by_unit]
        counts = np.bincount(table.units, minlength=units)
        wanted = sources.ravel()
        lengths = counts[wanted]
        begin: Int64[np.ndarray, " target"] = (np.cumsum(counts) - counts)[wanted] - (np.cumsum(lengths) - lengths)
        entry = np.arange(int(lengths.sum()), dtype=np.int64) + np.repeat(begin, lengths)
        target: Int64[np.ndarray, " moved"] = np.repeat(np.arange(draws * units, dtype=np.int64), lengths)
        feature = target // units * table.features + owner[entry]
        order = np.argsort(feature, kind="stable")  # units stay ascending
        offsets = np.searchsorted(feature[order], np.arange(draws * table.features + 1)).astype(np.int64)
        values = table.values[by_unit[entry[order]]]
        moved = Activations(offsets, (target % units)[order], values, units)
        # A group may have taken the place of a longer or shorter one: means and lengths are those of the draw.
        return scaled(moved, "jaccard" if kind == "jaccard" else "pearson")

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

    def blocks(self) -> Iterator[Part]:
        """Every block, left ones innermost."""
        for r, right in enumerate(self.right.blocks):
            for first, left in enumerate(self.left.blocks):
                values = self._finished(self._product(left, right), left.table.active, right)
                yield Part(first * BLOCK, r * BLOCK, values)

    def best_of_draws(self, sources: Int64[np.ndarray, "draw unit"]) -> Float64[np.ndarray, "draw left"]:
        """The largest similarity of each left feature if its unit u has the value of its unit sources[draw, u]."""
        best = np.empty((len(sources), self.left.table.features))
        for first, left in enumerate(self.left.blocks):
            columns = slice(first * BLOCK, first * BLOCK + left.table.features)
            step = max(1, BLOCK // left.table.features)
            for start in range(0, len(sources), step):
                some = sources[start : start + step]
                best[start : start + step, columns] = self._best_of_moved(left, some).reshape(len(some), -1)
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

    @property
    def _kept(self) -> bool:
        sides = self.left.table.features + self.right.table.features
        return not self.sparse and self.left.table.n_units * sides <= _KEPT

    def _best_of_moved(
        self, left: Scaled, sources: Int64[np.ndarray, "draw unit"]
    ) -> Float64[np.ndarray, " left_of_draw"]:
        if self._kept:
            table = _gathered(left.dense, sources, centred=self.kind != "jaccard")
            active = np.count_nonzero(table, axis=0) if self.kind == "jaccard" else np.empty(0, dtype=np.int64)
            parts = (self._finished(table.T @ right.dense, active, right) for right in self.right.blocks)
        else:
            moved = left.drawn(sources, self.kind)
            parts = (
                self._finished(self._product(moved, right), moved.table.active, right) for right in self.right.blocks
            )
        return np.maximum.reduce([values.max(axis=1) for values in parts]).astype(np.float64)

    def _product(self, left: Scaled, right: Scaled) -> Float[np.ndarray, "left right"]:
        if self.sparse:
            values = (_compressed(left.table) @ right.columns).toarray()
            if self.kind != "jaccard":
                values -= np.multiply.outer(left.centre, right.centre)
            return values
        if self._kept:
            return left.dense.T @ right.dense
        units = left.table.n_units
        total = np.zeros((left.table.features, right.table.features), dtype=np.float32)
        for start in range(0, units, _UNITS):
            stop = min(start + _UNITS, units)
            total += _dense(left, start, stop).T @ _dense(right, start, stop)
        return total

    def _finished(
        self, values: Float[np.ndarray, "left right"], active: Integer[np.ndarray, " some"], right: Scaled
    ) -> Float[np.ndarray, "left right"]:
        if self.kind != "jaccard":
            return values
        either = np.add.outer(active, right.table.active).astype(values.dtype) - values
        return values / np.maximum(either, 1)


def _gathered(
    dense: Float32[np.ndarray, "unit feature"], sources: Int64[np.ndarray, "draw unit"], *, centred: bool
) -> Float32[np.ndarray, "unit feature_of_draw"]:
    """Columns with their units exchanged, draws outermost; `centred` again and of length 1."""
    table = np.ascontiguousarray(dense[sources].transpose(1, 0, 2)).reshape(len(dense), -1)
    if centred:
        table -= table.mean(axis=0)
        length = np.sqrt(np.einsum("uf,uf->f", table, table))
        table *= np.where(length > ROUNDING, 1 / np.where(length > ROUNDING, length, 1), 0)
    return table


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
