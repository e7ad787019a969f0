"""Features of several codecs side by side, as one codec that is encoded and never decoded.

1. its sites are those of all, each once   2. every codec encodes its own columns   3. of its codes those that are
chosen are kept and numbered on from those of the codec before, so features stay ascending in every row
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from radiograph.core import UserError
from radiograph.core.codec import Codes
from radiograph.core.shapes import Float, Int
from radiograph.sources._given import Features


@dataclass(frozen=True, eq=False)
class Joined:
    """Several codecs as one to encode with."""

    parts: tuple[Features, ...]
    widths: Mapping[str, int]
    """Width of every site."""

    @property
    def sites(self) -> tuple[str, ...]:
        """Every site that a part reads, once."""
        return tuple(dict.fromkeys(site for part in self.parts for site in part.codec.sites))

    @property
    def targets(self) -> tuple[str, ...]:
        """As read: it is never decoded."""
        return self.sites

    @property
    def width(self) -> int:
        """Columns of all sites."""
        return sum(self.widths[site] for site in self.sites)

    @property
    def target_width(self) -> int:
        """As read."""
        return self.width

    @property
    def size(self) -> int:
        """Features of all parts."""
        return sum(map(len, self.parts))

    @property
    def hash(self) -> str:
        """SHA-256 of the parts and what was chosen of them."""
        return self._sha256

    @cached_property
    def _sha256(self) -> str:
        digest = hashlib.sha256(b"radiograph.joined/1")
        for part in self.parts:
            digest.update(part.codec.hash.encode())
            digest.update(part.numbers.astype("<i8").tobytes())
        return digest.hexdigest()

    def encode(self, rows: Float[Tensor, "row width"]) -> Codes:
        """Codes of every part, those of the first part first."""
        starts: dict[str, int] = {}
        at = 0
        for site in self.sites:
            starts[site], at = at, at + self.widths[site]
        owners: list[Tensor] = []
        indices: list[Tensor] = []
        values: list[Tensor] = []
        base = 0
        for part, place in zip(self.parts, self._places, strict=True):
            own = [rows[:, starts[site] : starts[site] + self.widths[site]] for site in part.codec.sites]
            codes = part.codec.encode(own[0] if len(own) == 1 else torch.cat(own, dim=1))
            number = place.to(codes.indices.device)[codes.indices]
            kept = number >= 0
            owners.append(codes.rows[kept])
            indices.append(number[kept] + base)
            values.append(codes.values[kept].float())
            base += len(part)
        owner = torch.cat(owners)
        order = owner.argsort(stable=True)
        counts = torch.bincount(owner, minlength=len(rows))
        offsets = torch.cat([counts.new_zeros(1), counts.cumsum(0)])
        return Codes(torch.cat(indices)[order], torch.cat(values)[order], offsets, self.size)

    def decode(self, codes: Codes, rows: Float[Tensor, "row width"] | None = None) -> Float[Tensor, "row width"]:
        """Refused: parts of one site would be added up.

        Raises:
            UserError: always.
        """
        raise UserError("features of several codecs have no common reconstruction", fix="decode with one of them")

    def reconstruct(self, rows: Float[Tensor, "row width"]) -> Float[Tensor, "row width"]:
        """Refused, as `decode`."""
        return self.decode(self.encode(rows))

    @cached_property
    def _places(self) -> tuple[Int[Tensor, " feature"], ...]:
        """Number of each feature of a codec among those that are kept, -1 for the others."""
        out: list[Tensor] = []
        for part in self.parts:
            place = torch.full((part.codec.size,), -1, dtype=torch.long)
            place[torch.from_numpy(part.numbers)] = torch.arange(len(part))
            out.append(place)
        return tuple(out)


def joined(parts: Sequence[Features], widths: Mapping[str, int]) -> Joined:
    """Features of all parts as one codec.

    Raises:
        UserError: nothing to join, or one feature twice.
    """
    if not parts or not any(map(len, parts)):
        raise UserError("no feature is left", expected="at least one", code="no_features")
    seen: set[str] = set()
    for part in parts:
        for name in part.ids:
            if name in seen:
                raise UserError(f"feature {name} is named by two sources", fix="name it once", code="feature_twice")
            seen.add(name)
    return Joined(tuple(parts), dict(widths))
