"""Sources of records as one table of study rows × features, read in ranges of features.

Features are numbered through all sources, those that are not chosen left out. A source whose entries fit into one
range is read once and kept; else each pass reads it again. Memory is that of a range and of the candidates.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from radiograph.core import UserError
from radiograph.core.shapes import Float64, Int64
from radiograph.numerics.association import Columns, RowPool, is_range, pool_rows

if TYPE_CHECKING:
    from radiograph.methods._inspect.rows import Placed
    from radiograph.sources import Stored
    from radiograph.store.records import Block


@dataclass(eq=False)
class Table:
    """One source of records."""

    source: Stored
    placed: Placed
    first: int
    """Number of its first feature."""
    chosen: Int64[np.ndarray, " feature"]
    """Its features, by their numbers in the records."""
    held: Columns | None = field(default=None, repr=False)
    """All record rows, where they fit."""

    @property
    def absent(self) -> str:
        """What a missing entry means."""
        return self.source.records.header.absent

    @property
    def size(self) -> int:
        """Features."""
        return len(self.chosen)

    def ranges(self, memory: int) -> Iterator[tuple[Columns, Int64[np.ndarray, " feature"]]]:
        """Record rows of ranges of features, and the features' numbers."""
        if self.held is not None:
            yield self.held, np.arange(self.first, self.first + self.size)
            return
        made = 0
        only: Columns | None = None
        for block in self.source.records.blocks(memory=memory):
            own = (self.chosen >= block.first) & (self.chosen < block.first + block.features)
            if not own.any():
                continue
            only = self._columns(block).of(self.chosen[own] - block.first)
            made += 1
            yield only, self.first + np.flatnonzero(own)
        if made == 1 and only is not None and only.features == self.size:
            self.held = only

    def pooled(self, rows: Columns) -> Columns:
        """Record rows as rows of the study."""
        placed = self.placed
        if placed.pool in ("as_stored", "token") and is_range(placed.place, len(placed.place)):
            return rows
        how = "max" if placed.pool in ("as_stored", "token") else placed.pool
        return pool_rows(rows, placed.place, placed.rows, cast(RowPool, how))

    def of(self, numbers: Int64[np.ndarray, " wanted"], memory: int) -> Columns:
        """Record rows of some of its features, in their order."""
        place = numbers - self.first
        if self.held is not None:
            return self.held.of(place)
        index = np.full(int(self.source.records.header.features), -1, np.int64)
        index[self.chosen[place]] = np.arange(len(place))
        kept: list[list[np.ndarray]] = [[], [], []]
        for feature, row, value in self.source.records.triplets():
            own = index[feature] >= 0
            for part, values in zip(kept, (index[feature[own]], row[own], value[own]), strict=True):
                part.append(values)
        feature, row, value = (np.concatenate(part or [np.zeros(0)]) for part in kept)
        order = np.lexsort((row, feature))
        feature, row, value = feature[order].astype(np.int64), row[order].astype(np.int64), value[order]
        offsets = np.concatenate([[0], np.cumsum(np.bincount(feature, minlength=len(place)))])
        return _packed(offsets, row, value.astype(np.float64), len(self.placed.place), self._absence)

    @property
    def _absence(self) -> Any:
        return "missing" if self.absent == "missing" else "zero"

    def _columns(self, block: Block) -> Columns:
        value = block.values.astype(np.float64)
        return _packed(block.offsets, block.rows.astype(np.int64), value, len(self.placed.place), self._absence)


@dataclass(frozen=True, eq=False)
class Tables:
    """All sources, side by side over the same rows."""

    parts: tuple[Table, ...]
    rows: int

    @property
    def features(self) -> int:
        """Of all sources."""
        return sum(part.size for part in self.parts)

    @property
    def absent(self) -> Any:
        """What a missing entry means to a statistic."""
        return "missing" if any(part.absent == "missing" for part in self.parts) else "zero"

    def ranges(self, memory: int) -> Iterator[tuple[Columns, Int64[np.ndarray, " feature"]]]:
        """Ranges of features over rows of the study."""
        for part in self.parts:
            for rows, numbers in part.ranges(memory):
                yield part.pooled(rows), numbers

    def owner(self, number: int) -> Table:
        """The source of a feature."""
        return next(part for part in reversed(self.parts) if number >= part.first)

    def of(self, numbers: Int64[np.ndarray, " wanted"], memory: int) -> Columns:
        """Study rows of some features, ascending."""
        found = [
            part.pooled(part.of(own, memory))
            for part in self.parts
            if len(own := numbers[(numbers >= part.first) & (numbers < part.first + part.size)])
        ]
        return found[0] if len(found) == 1 else _beside(found)


def beside(sources: Sequence[tuple[Stored, Placed]], rows: int) -> Tables:
    """Number the features of some sources through.

    Raises:
        UserError: measured entries that are missing beside ones that are silent; a feature that stands twice.
    """
    parts: list[Table] = []
    seen: set[str] = set()
    first = 0
    for source, placed in sources:
        every = np.arange(source.records.header.features)
        chosen = every if source.chosen is None else every[source.chosen]
        ids = source.records.features["feature_id"][chosen].to_list()
        if twice := seen.intersection(ids):
            raise UserError(
                f"{len(twice)} features stand in more than one source",
                got=f"{min(twice)} in {source.name} again",
                expected="every feature once",
                fix="leave one of the sources out, or choose others of its features after #",
                code="feature_twice",
            )
        seen.update(ids)
        parts.append(Table(source, placed, first, chosen))
        first += len(chosen)
    kinds = {part.absent == "missing" for part in parts}
    if len(kinds) > 1:
        raise UserError(
            "a missing entry means not measured in one source and silent in another",
            expected="one meaning for all features that are compared",
            fix="inspect these sources apart",
            code="mixed_absence",
        )
    return Tables(tuple(parts), rows)


def _packed(
    offsets: Int64[np.ndarray, " offset"],
    row: Int64[np.ndarray, " entry"],
    value: Float64[np.ndarray, " entry"],
    rows: int,
    absent: Any,
) -> Columns:
    """A table of entries in order; zeros are silence unless absence is not."""
    if absent == "missing" or value.all():
        return Columns(np.asarray(offsets, np.int64), row, value, rows, absent)
    on = value != 0
    counts = np.concatenate([[0], np.cumsum(on)])[offsets]
    return Columns(counts.astype(np.int64), row[on], value[on], rows, absent)


def _beside(parts: Sequence[Columns]) -> Columns:
    ends = np.cumsum([0, *(part.offsets[-1] for part in parts)])
    offsets = np.concatenate([[0], *(part.offsets[1:] + end for part, end in zip(parts, ends, strict=False))])
    return Columns(
        offsets.astype(np.int64),
        np.concatenate([part.unit for part in parts]),
        np.concatenate([part.value for part in parts]),
        parts[0].units,
        parts[0].absent,
    )
