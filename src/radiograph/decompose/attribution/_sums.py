"""Sums of effects over tokens, in fixed point: whatever is added in whatever order, the same bytes."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from jaxtyping import Float64, Int64

from radiograph.numerics.cofiring import added, as_fixed
from radiograph.store.components import StoredArrays, read_arrays, write_arrays

BITS: Final = 28
"""Of the unit of every sum: effects of single tokens are small, and sums of 10^9 tokens fit."""
VARIANTS: Final = ("signed", "abs", "modulating")
NAMES: Final = (*(f"components.{v}" for v in VARIANTS), "tokens.signed", "tokens.abs", "out.components", "out.tokens")


@dataclass(eq=False)
class Effects:
    """By name: `components.VARIANT` [source, target]; `tokens.VARIANT` [token, target]; `out.KIND` [source, width].

    `signed` Σ (∂y/∂h) h and `abs` Σ (∂|y|/∂h) h along value edges; `modulating` signed, through queries, keys and
    gates. `out` is what a source adds to what the unembedding reads.
    """

    sums: dict[str, Int64[np.ndarray, "source target"]]
    counted: int
    shards: tuple[int, ...]

    @classmethod
    def empty(cls, components: int, vocabulary: int, width: int) -> Effects:
        """Of no tokens."""
        return cls({name: np.zeros(shape_of(name, components, vocabulary, width), np.int64) for name in NAMES}, 0, ())

    def add(self, name: str, column: int | slice, values: Float64[np.ndarray, "..."]) -> None:
        """Add one batch's values of some targets."""
        total = self.sums[name]
        total[:, column] = added(total[:, column], as_fixed(values, BITS, name), name)

    def take(self, path: Path) -> None:
        """Take in what a file holds, one array of it in memory at a time.

        Raises:
            UserError: a sum does not fit into 64 bits. FormatError: not such a file.
        """
        with StoredArrays(path) as held:
            for name in NAMES:
                self.sums[name] = added(self.sums[name], held[name], name)
            self.counted += held.facts["counted"]
            self.shards = tuple(sorted({*self.shards, *held.facts["shards"]}))

    def save(self, path: Path, sha256: str) -> None:
        """Commit."""
        write_arrays(path, self.sums, {"counted": self.counted, "shards": list(self.shards), "spec": sha256})

    @classmethod
    def load(cls, path: Path) -> Effects:
        """What was committed."""
        arrays, facts = read_arrays(path)
        return cls(arrays, facts["counted"], tuple(facts["shards"]))


def shape_of(name: str, components: int, vocabulary: int, width: int) -> tuple[int, int]:
    """Of one of the tables."""
    if name.startswith("out."):
        return (components if name.endswith("components") else vocabulary), width
    return (components if name.startswith("components") else vocabulary), components
