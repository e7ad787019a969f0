"""Units and directions as codecs, so that they are encoded, recorded and written to as features of a dictionary are.

Units of a site: code i is coordinate i, and decoding gives the row back. Directions U of length 1: code i is the
projection ⟨x, uᵢ⟩, and decoding sums code × uᵢ. A coordinate or projection of exactly 0 is silent.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cached_property

from torch import Tensor

from radiograph.core import UserError
from radiograph.core.codec import Codes
from radiograph.core.shapes import Float
from radiograph.numerics.sparse import codes_of_dense, dense, gather_sum


@dataclass(frozen=True, eq=False)
class Units:
    """The coordinates of one site."""

    site: str
    width: int

    @property
    def sites(self) -> tuple[str, ...]:
        """The site."""
        return (self.site,)

    @property
    def targets(self) -> tuple[str, ...]:
        """The site."""
        return (self.site,)

    @property
    def target_width(self) -> int:
        """Width of the site."""
        return self.width

    @property
    def size(self) -> int:
        """Number of units."""
        return self.width

    @property
    def hash(self) -> str:
        """SHA-256 of site and width: nothing else decides anything."""
        return self._sha256

    @cached_property
    def _sha256(self) -> str:
        return hashlib.sha256(f"radiograph.units/1 {self.site} {self.width}".encode()).hexdigest()

    def address(self, feature: int) -> str:
        """`SITE[n]`."""
        return f"{self.site}[{feature}]"

    def encode(self, rows: Float[Tensor, "row width"]) -> Codes:
        """The rows themselves."""
        _check(rows, self.width, self.site)
        return codes_of_dense(rows)

    def decode(self, codes: Codes, rows: Float[Tensor, "row width"] | None = None) -> Float[Tensor, "row width"]:
        """The rows that have these coordinates, and 0 elsewhere."""
        return dense(codes)

    def reconstruct(self, rows: Float[Tensor, "row width"]) -> Float[Tensor, "row width"]:
        """The rows."""
        return self.decode(self.encode(rows))


@dataclass(frozen=True, eq=False)
class Directions:
    """Named directions of length 1 at one site."""

    site: str
    names: tuple[str, ...]
    vectors: Float[Tensor, "direction width"]

    @property
    def sites(self) -> tuple[str, ...]:
        """The site."""
        return (self.site,)

    @property
    def targets(self) -> tuple[str, ...]:
        """The site."""
        return (self.site,)

    @property
    def width(self) -> int:
        """Width of the site."""
        return self.vectors.shape[1]

    @property
    def target_width(self) -> int:
        """Width of the site."""
        return self.vectors.shape[1]

    @property
    def size(self) -> int:
        """Number of directions."""
        return self.vectors.shape[0]

    @property
    def hash(self) -> str:
        """SHA-256 of site and vectors; names decide nothing."""
        return self._sha256

    @cached_property
    def _sha256(self) -> str:
        digest = hashlib.sha256(f"radiograph.direction_codec/1 {self.site} {list(self.vectors.shape)}".encode())
        digest.update(self.vectors.detach().cpu().float().contiguous().numpy().tobytes())
        return digest.hexdigest()

    def address(self, feature: int) -> str:
        """`SITE~NAME`."""
        return f"{self.site}~{self.names[feature]}"

    def encode(self, rows: Float[Tensor, "row width"]) -> Codes:
        """Projections."""
        _check(rows, self.width, self.site)
        return codes_of_dense(rows @ self._on(rows).T)

    def decode(self, codes: Codes, rows: Float[Tensor, "row width"] | None = None) -> Float[Tensor, "row width"]:
        """Sums of code × direction."""
        return gather_sum(codes.indices, codes.values, self._on(codes.values), codes.offsets)

    def reconstruct(self, rows: Float[Tensor, "row width"]) -> Float[Tensor, "row width"]:
        """What of the rows lies along the directions."""
        return self.decode(self.encode(rows))

    def _on(self, rows: Tensor) -> Float[Tensor, "direction width"]:
        return self.vectors.to(rows)


def _check(rows: Tensor, width: int, site: str) -> None:
    if rows.shape[1] != width:
        raise UserError(f"rows do not fit {site}", expected=f"width {width}", got=f"width {rows.shape[1]}")
