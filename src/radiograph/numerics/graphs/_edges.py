"""Edges of a directed graph as three arrays of one length.

Two nodes may be joined by several edges (a value edge and a modulating one); sums over absolute weights count each.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, cast

import numpy as np

from radiograph.core import UserError
from radiograph.core.shapes import Bool, Float64, Int64


@dataclass(frozen=True, eq=False)
class Edges:
    """`weight` of the edge from `source` to `target`, among `n` nodes."""

    source: Int64[np.ndarray, " edge"]
    target: Int64[np.ndarray, " edge"]
    weight: Float64[np.ndarray, " edge"]
    n: int

    def __post_init__(self) -> None:
        for name, ends in (("source", self.source), ("target", self.target)):
            if len(ends) and not 0 <= int(ends.min()) <= int(ends.max()) < self.n:
                raise UserError(f"an edge has a {name} that is no node", expected=f"0 to {self.n - 1}")
        if not np.isfinite(self.weight).all():
            place = int(np.flatnonzero(~np.isfinite(self.weight))[0])
            raise UserError(
                "the weight of an edge is not finite",
                where=f"edge {place}: node {self.source[place]} to node {self.target[place]}",
                got=str(self.weight[place]),
                code="non_finite",
            )

    def __len__(self) -> int:
        return len(self.weight)

    def where(self, kept: Bool[np.ndarray, " edge"]) -> Edges:
        """Some of the edges, among the same nodes."""
        return Edges(self.source[kept], self.target[kept], self.weight[kept], self.n)

    def absolute(self) -> Any:
        """Σ |weight| from each source to each target, as a sparse matrix with a row for every target."""
        from scipy import sparse  # pyright: ignore[reportMissingTypeStubs]

        shape = (self.n, self.n)
        return cast(Any, sparse).csr_matrix((np.abs(self.weight), (self.target, self.source)), shape=shape)
