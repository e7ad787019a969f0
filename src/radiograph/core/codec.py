"""The codec: what lets a dictionary, a unit, a direction or a weight component stand in a forward pass.

Rows of a site go in, sparse codes come out, and codes decode to rows again. Interventions, harvest and probes know
this protocol and nothing of what implements it. Nothing here imports torch at run time.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, runtime_checkable

if TYPE_CHECKING:
    from torch import Tensor

    from radiograph.core.shapes import Float, Int


@dataclass(frozen=True, slots=True, eq=False)
class Codes:
    """Sparse activations of `size` features over rows: compressed rows, features ascending, no stored zero.

    Row r owns the entries `offsets[r]:offsets[r + 1]`, so a row may be empty and rows may differ in length.
    """

    indices: Int[Tensor, " entry"]
    """Feature of each entry."""
    values: Float[Tensor, " entry"]
    """Activation of each entry, in the codec's own unit."""
    offsets: Int[Tensor, " offset"]
    """First entry of each row, and at the end the number of entries."""
    size: int
    """Number of features that could have fired."""

    @property
    def n_rows(self) -> int:
        """Rows, empty ones included."""
        return self.offsets.shape[0] - 1

    @property
    def active(self) -> Int[Tensor, " row"]:
        """Entries per row: the L0 of each row."""
        return self.offsets[1:] - self.offsets[:-1]

    @property
    def rows(self) -> Int[Tensor, " entry"]:
        """Row of each entry."""
        return self.offsets.new_ones(self.n_rows).cumsum(0).sub(1).repeat_interleave(self.active)


@runtime_checkable
class Codec(Protocol):
    """Encodes rows of its sites to sparse codes and decodes them to rows of its targets, row by row, without state."""

    @property
    def sites(self) -> tuple[str, ...]:
        """Sources read, in the order in which their rows are concatenated."""
        ...

    @property
    def targets(self) -> tuple[str, ...]:
        """Sources written, likewise: those that were read, but for a codec from one site to another."""
        ...

    @property
    def width(self) -> int:
        """Width of a row that is read."""
        ...

    @property
    def target_width(self) -> int:
        """Width of a row that is written."""
        ...

    @property
    def size(self) -> int:
        """Number of features."""
        ...

    @property
    def hash(self) -> str:
        """SHA-256 of everything that decides what the codec returns."""
        ...

    def encode(self, rows: Float[Tensor, "row width"]) -> Codes:
        """Activations of the features on each row."""
        ...

    def decode(self, codes: Codes, rows: Float[Tensor, "row width"] | None = None) -> Float[Tensor, "row target"]:
        """The rows that the codes stand for, biases included.

        `rows` are those that were encoded: needed where they enter the output beside the codes (a skip connection, a
        normalisation that is undone row by row).
        """
        ...

    def reconstruct(self, rows: Float[Tensor, "row width"]) -> Float[Tensor, "row target"]:
        """`decode(encode(rows), rows)`."""
        ...
