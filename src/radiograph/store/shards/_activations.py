"""The protocol that shards on disk and tensors in memory both answer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal, Protocol, runtime_checkable

from numpy import ndarray

from radiograph.core.shapes import Int

if TYPE_CHECKING:
    import polars
    from torch import Tensor

    from radiograph.numerics.moments import Moments
    from radiograph.store.shards._index import Index
    from radiograph.store.shards._reader import Reader

Split = Literal["train", "validation"]


@runtime_checkable
class Activations(Protocol):
    """Rows of one or more sources; row r of every source belongs to the same token."""

    @property
    def index(self) -> Index:
        """Models, data, split and statistics."""
        ...

    @property
    def prompts(self) -> polars.DataFrame:
        """A row a window: prompt, prompt_id, group, split and more."""
        ...

    @property
    def sources(self) -> tuple[str, ...]:
        """`ROLE/SITE` of each source."""
        ...

    @property
    def widths(self) -> dict[str, int]:
        """Width of each source."""
        ...

    def count(self, split: Split | None = None) -> int:
        """Rows of a split, or of both."""
        ...

    def moments(self, source: str) -> Moments:
        """Count, mean and squared deviations over all rows of a source."""
        ...

    def reader(
        self,
        sources: Sequence[str],
        *,
        split: Split,
        batch: int,
        seed: int = 0,
        epoch: int = 0,
        rank: int = 0,
        world: int = 1,
        buffer: int = 262_144,
        disjoint: bool = False,
        endless: bool = False,
        columns: Sequence[str] = (),
    ) -> Reader:
        """Batches of rows; see `Reader`."""
        ...

    def shard_rows(self, shard: int, split: Split) -> Int[ndarray, " row"]:
        """Rows of one shard that are on one side of the split, ascending."""
        ...

    def gather(self, names: Sequence[str], ids: Int[ndarray, " row"]) -> tuple[Tensor, ...]:
        """Rows by their ids (see `Reader`) of some sources, or of the columns token, prompt and position."""
        ...

    def will_read(self, shard: int, names: Sequence[str]) -> None:
        """Rows of this shard are wanted soon."""
        ...


def known_sources(given: Sequence[str], activations: Activations) -> tuple[str, ...]:
    """Sources in the form that the activations use; a plain site is the reference's.

    Raises:
        UserError: one that there is not.
    """
    from radiograph.core import Source, UserError

    names = tuple(str(Source.parse(text)) for text in given)
    for name in names:
        if name not in activations.sources:
            raise UserError(
                f"no rows of {name}", expected=", ".join(activations.sources), got=name, code="unknown_site"
            )
    return names
