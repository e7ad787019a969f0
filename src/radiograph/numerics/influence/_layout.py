"""Where each matrix stands in a row of gradients, and how large its sides are kept.

A row of gradients is one vector: the gradients of all tracked matrices, each [output, input] and flattened by rows, one
after the other. `cut` finds the sizes of a two-sided projection (LoGra, Choe et al. 2024): every side is cut to one
common length, the largest with which all matrices together keep `entries`; a side of low rank is kept whole.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from radiograph.core.shapes import Float64, Int

Shape = tuple[int, int]


@dataclass(frozen=True)
class Layout:
    """Shapes [output, input] of the matrices of a row, in their order."""

    shapes: tuple[Shape, ...]

    @cached_property
    def bounds(self) -> Int[np.ndarray, " bound"]:
        """Where each matrix begins, and the length of a row last."""
        return np.concatenate([[0], np.cumsum([o * i for o, i in self.shapes])]).astype(np.int64)

    @property
    def size(self) -> int:
        """Entries of a row."""
        return int(self.bounds[-1])

    @property
    def lengths(self) -> Int[np.ndarray, " matrix"]:
        """Entries of each matrix."""
        return np.diff(self.bounds)

    def slices(self) -> Iterator[slice]:
        """The place of each matrix."""
        for start, stop in zip(self.bounds[:-1].tolist(), self.bounds[1:].tolist(), strict=True):
            yield slice(start, stop)


def cut(shapes: Sequence[Shape], low_rank: Sequence[tuple[bool, bool]], entries: int) -> tuple[Shape, ...]:
    """Kept lengths of both sides of each matrix; all of them where they fit.

    Args:
        shapes: [output, input] of each matrix.
        low_rank: whether a side is a rank, and so kept whole.
        entries: of a row, at most; a length of one a side may need more.
    """

    def kept(side: int) -> tuple[Shape, ...]:
        return tuple(
            (o if whole[0] else min(o, side), i if whole[1] else min(i, side))
            for (o, i), whole in zip(shapes, low_rank, strict=True)
        )

    low, high = 1, max((max(shape) for shape in shapes), default=1)
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if sum(o * i for o, i in kept(middle)) <= entries else (low, middle - 1)
    return kept(low)


def orthonormal(rows: int, columns: int, seed: int) -> Float64[np.ndarray, "row column"]:
    """A random projection from `columns` to `rows` dimensions that keeps inner products in expectation.

    Rows are orthogonal, each of length √(columns/rows); their directions are Haar, from the counter-based generator.
    """
    draws = np.random.Generator(np.random.Philox(key=seed)).standard_normal((columns, rows))
    basis, triangle = np.linalg.qr(draws)
    turned = basis * np.sign(np.diagonal(triangle))
    return np.ascontiguousarray(turned.T) * np.sqrt(columns / rows)
