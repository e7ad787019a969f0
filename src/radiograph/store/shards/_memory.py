"""Activations held in memory as one shard: for tests, and for what fits in RAM."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from radiograph.core.shapes import Float, Int
from radiograph.numerics.moments import Moments
from radiograph.store.shards._activations import Split, known_sources
from radiograph.store.shards._commits import described
from radiograph.store.shards._index import Index
from radiograph.store.shards._reader import PLACE, Order, Reader
from radiograph.store.shards._statistics import Statistics

if TYPE_CHECKING:
    import polars
    from torch import Tensor


@dataclass(frozen=True, eq=False)
class MemoryActivations:
    """Rows of some sources in memory. `given` is an index as `begin` takes it, of one shard."""

    given: Index
    prompts: polars.DataFrame
    values: dict[str, Float[Tensor, "row width"]]
    """Source to rows; widths differ between sources."""
    tokens: Int[Tensor, " row"]
    owners: Int[Tensor, " row"]
    """Row of `prompts` that each row came from."""
    positions: Int[Tensor, " row"]
    """Position in the window."""

    @property
    def index(self) -> Index:
        """Complete, with statistics."""
        return self._complete

    @cached_property
    def _complete(self) -> Index:
        records = (described(record, self.statistics(record.source)) for record in self.given.sources)
        return self.given.model_copy(update={"sources": tuple(records), "complete": True})

    @property
    def sources(self) -> tuple[str, ...]:
        """`ROLE/SITE` of each source."""
        return tuple(self.values)

    @property
    def widths(self) -> dict[str, int]:
        """Width of each source."""
        return {source: rows.shape[1] for source, rows in self.values.items()}

    def count(self, split: Split | None = None) -> int:
        """Rows of a split, or of both."""
        return len(self.tokens) if split is None else len(self.shard_rows(0, split))

    def rows(self, source: str, split: Split | None = None) -> Float[Tensor, "row width"]:
        """All rows of one source in stored order.

        Raises:
            UserError: there is no such source.
        """
        (name,) = known_sources([source], self)
        if split is None:
            return self.values[name]
        import torch

        return self.values[name][torch.from_numpy(self.shard_rows(0, split))]

    def statistics(self, source: str) -> Statistics:
        """Statistics of all rows of a source."""
        (name,) = known_sources([source], self)
        if name not in self._statistics:
            self._statistics[name] = Statistics.of(self.values[name])
        return self._statistics[name]

    def moments(self, source: str) -> Moments:
        """Count, mean and squared deviations over all rows of a source."""
        return self.statistics(source).moments

    def reader(self, sources: Sequence[str], *, epoch: int = 0, columns: Sequence[str] = (), **order: Any) -> Reader:
        """Batches of rows; see `Reader`."""
        return Reader(self, (*known_sources(sources, self), *columns), Order(**order), epoch)

    def shard_rows(self, shard: int, split: Split) -> Int[np.ndarray, " row"]:
        """Rows on one side of the split, ascending."""
        return self._sides[split]

    def gather(self, names: Sequence[str], ids: Int[np.ndarray, " row"]) -> tuple[Tensor, ...]:
        """Rows by their ids."""
        import torch

        held = {"token": self.tokens, "prompt": self.owners, "position": self.positions, **self.values}
        at = torch.from_numpy(ids & PLACE)
        return tuple(held[name].index_select(0, at) for name in names)

    def will_read(self, shard: int, names: Sequence[str]) -> None:
        """They are here."""

    @cached_property
    def _statistics(self) -> dict[str, Statistics]:
        return {}

    @cached_property
    def _sides(self) -> dict[Split, Int[np.ndarray, " row"]]:
        held = (self.prompts["split"] == "validation").to_numpy()[self.owners.numpy()]
        return {"train": np.flatnonzero(~held), "validation": np.flatnonzero(held)}
