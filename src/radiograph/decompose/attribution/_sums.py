"""Sums of effects over tokens, in fixed point: whatever is added in whatever order, the same bytes.

Beside the sums of effects lie, of the same shape, those that their errors over texts follow from: of squares of each
text's sum, and of its products with the text's tokens, in units of `length` tokens so that long texts do not overflow.
`readers` are effects on random directions: what chance gives.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np

from radiograph.core.shapes import Float64, Int64
from radiograph.numerics.cofiring import Spread, added, as_fixed, as_real, errors
from radiograph.store.components import StoredArrays, read_arrays, write_arrays

BITS: Final = 28
"""Of the unit of every sum: effects of single tokens are small, and sums of 10^9 tokens fit."""
FINE: Final = 36
"""The same of squares and products."""
VARIANTS: Final = ("signed", "abs", "modulating")
MEANS: Final = (*(f"components.{v}" for v in VARIANTS), "tokens.signed", "tokens.abs")
SQUARES, PRODUCTS, READERS = ".squares", ".products", ".readers"
NAMES: Final = (
    *MEANS,
    *(f"{name}{more}" for name in MEANS for more in (SQUARES, PRODUCTS, READERS)),
    "out.components",
    "out.tokens",
)
_COUNTS: Final = ("counted", "texts", "squared", "batches", "length")


@dataclass(eq=False)
class Effects:
    """By name: `components.VARIANT` [source, target]; `tokens.VARIANT` [token, target]; `out.KIND` [source, width].

    `signed` Σ (∂y/∂h) h and `abs` Σ (∂|y|/∂h) h along value edges; `modulating` signed, through queries, keys and
    gates. `out` is what a source adds to what the unembedding reads.
    """

    sums: dict[str, Int64[np.ndarray, "source target"]]
    length: int
    """Tokens that squares and products are in units of."""
    counted: int = 0
    texts: int = 0
    """Windows of text with counted tokens."""
    squared: int = 0
    """Σ of squares of their counted tokens."""
    batches: int = 0
    """Each rounds every sum once."""
    shards: tuple[int, ...] = ()

    @classmethod
    def empty(cls, components: int, vocabulary: int, width: int, *, readers: int = 0, length: int = 1) -> Effects:
        """Of no tokens. `readers`: random directions, of all weights together."""
        shapes = {name: shape_of(name, components, vocabulary, width, readers) for name in NAMES}
        return cls({name: np.zeros(shape, np.int64) for name, shape in shapes.items()}, length)

    def count(self, tokens: Int64[np.ndarray, " text"]) -> None:
        """One batch of texts, by their counted tokens."""
        self.counted += int(tokens.sum())
        self.texts += int((tokens > 0).sum())
        self.squared += int(np.square(tokens).sum())
        self.batches += 1

    def add(self, name: str, at: Any, values: Float64[np.ndarray, "..."]) -> None:
        """Add one batch's values where `at` says."""
        total = self.sums[name]
        total[at] = added(total[at], as_fixed(values, bits_of(name), name), name)

    def add_texts(
        self,
        name: str,
        at: Any,
        values: Float64[np.ndarray, "text source"],
        tokens: Int64[np.ndarray, " text"],
    ) -> None:
        """Add one batch's values by text, with what their error follows from."""
        self.add(name, at, values.sum(0))
        unit = values / self.length
        self.add(f"{name}{SQUARES}", at, np.square(unit).sum(0))
        self.add(f"{name}{PRODUCTS}", at, (unit * (tokens / self.length)[:, None]).sum(0))

    def real(self, name: str) -> Float64[np.ndarray, "source target"]:
        """Sums as numbers."""
        return as_real(self.sums[name], bits_of(name))

    def error(self, name: str) -> Float64[np.ndarray, "source target"]:
        """Standard errors of means over tokens, over texts; NaN of too few texts."""
        unit = float(self.length) ** 2
        slack = self.batches * 2.0 ** -(FINE + 1) * unit
        spread = Spread(max(1, self.counted), float(self.squared), self.texts, slack)
        return errors(
            self.real(name), self.real(f"{name}{SQUARES}") * unit, self.real(f"{name}{PRODUCTS}") * unit, spread
        )

    def take(self, path: Path) -> None:
        """Take in what a file holds, one array of it in memory at a time.

        Raises:
            UserError: a sum does not fit into 64 bits. FormatError: not such a file.
        """
        with StoredArrays(path) as held:
            for name in NAMES:
                self.sums[name] = added(self.sums[name], held[name], name)
            for name in ("counted", "texts", "squared", "batches"):
                setattr(self, name, getattr(self, name) + held.facts[name])
            self.shards = tuple(sorted({*self.shards, *held.facts["shards"]}))

    def save(self, path: Path, sha256: str) -> None:
        """Commit."""
        facts = {name: getattr(self, name) for name in _COUNTS}
        write_arrays(path, self.sums, {**facts, "shards": list(self.shards), "spec": sha256})

    @classmethod
    def load(cls, path: Path) -> Effects:
        """What was committed."""
        arrays, facts = read_arrays(path)
        return cls(arrays, shards=tuple(facts["shards"]), **{name: facts[name] for name in _COUNTS})


def bits_of(name: str) -> int:
    """Of the unit of one of the tables."""
    return FINE if name.endswith((SQUARES, PRODUCTS)) else BITS


def shape_of(name: str, components: int, vocabulary: int, width: int, readers: int) -> tuple[int, int]:
    """Of one of the tables."""
    if name.startswith("out."):
        return (components if name.endswith("components") else vocabulary), width
    return (components if name.startswith("components") else vocabulary), (
        readers if name.endswith(READERS) else components
    )
