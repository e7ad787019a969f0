"""Moments up to the fourth, of columns, merged so that nobody can tell who measured which part.

1. a part: count, mean, Σ(x − mean)^k for k = 2, 3, 4, extremes, Σ‖x‖, and if asked Σ(x − mean)(x − mean)ᵀ
2. two parts: the pairwise formulas of Pébay (2008)
3. parts are leaves of a binary tree, by their number in a plan; only siblings merge. Any division of the leaves among
   workers, in any order, ends with the same nodes, hence with equal bytes. log₂(leaves) nodes are held at most
All in float64. Covariance holds width² numbers a node.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from radiograph.core.shapes import Float, Float64

_BLOCK = 2**17
"""Entries that are worked on at once: a megabyte in float64 stays in the cache."""


@dataclass(frozen=True, slots=True, eq=False)
class Shapes:
    """Moments of the columns of some rows."""

    n: int
    mean: Float64[np.ndarray, " width"]
    second: Float64[np.ndarray, " width"]
    """Σ(x − mean)²."""
    third: Float64[np.ndarray, " width"]
    fourth: Float64[np.ndarray, " width"]
    low: Float64[np.ndarray, " width"]
    high: Float64[np.ndarray, " width"]
    norms: float
    """Σ‖x‖ over rows."""
    outer: Float64[np.ndarray, "width width"] | None = None
    """Σ(x − mean)(x − mean)ᵀ."""

    @classmethod
    def of(cls, rows: Float[np.ndarray, "row width"], *, outer: bool = False) -> Shapes:
        """Of at least one row."""
        n, width = rows.shape
        assert n > 0, "a part has rows"
        found = np.empty((6, width))
        squares = np.zeros(n)
        step = max(_BLOCK // n, 1)
        for start in range(0, width, step):
            part = slice(start, start + step)
            x = rows[:, part].astype(np.float64)
            squares += np.einsum("ij,ij->i", x, x)
            found[0, part], found[4, part], found[5, part] = x.mean(0), x.min(0), x.max(0)
            x -= found[0, part]
            y = x * x
            found[1, part] = y.sum(0)
            found[2, part] = np.einsum("ij,ij->j", x, y)
            found[3, part] = np.einsum("ij,ij->j", y, y)
        product = None
        if outer:
            centred = rows - found[0]
            product = centred.T @ centred
        return cls(n, *found, norms=float(np.sqrt(squares).sum()), outer=product)

    def merged(self, other: Shapes) -> Shapes:
        """Of the rows of both."""
        a, b, n = float(self.n), float(other.n), self.n + other.n
        step = other.mean - self.mean
        square = step * step
        second = self.second + other.second + square * (a * b / n)
        third = (
            self.third
            + other.third
            + square * step * (a * b * (a - b) / n**2)
            + 3 * step * (a * other.second - b * self.second) / n
        )
        fourth = (
            self.fourth
            + other.fourth
            + square * square * (a * b * (a * a - a * b + b * b) / n**3)
            + 6 * square * (a * a * other.second + b * b * self.second) / n**2
            + 4 * step * (a * other.third - b * self.third) / n
        )
        outer = None
        if self.outer is not None and other.outer is not None:
            outer = self.outer + other.outer + np.outer(step, step) * (a * b / n)
        return Shapes(
            n,
            self.mean + step * (b / n),
            second,
            third,
            fourth,
            np.minimum(self.low, other.low),
            np.maximum(self.high, other.high),
            self.norms + other.norms,
            outer,
        )

    @property
    def sd(self) -> Float64[np.ndarray, " width"]:
        """√(Σ(x − mean)²/n)."""
        return np.sqrt(np.maximum(self.second, 0.0) / self.n)

    @property
    def skew(self) -> Float64[np.ndarray, " width"]:
        """Third standardised moment; 0 where nothing varies."""
        return _ratio(self.third / self.n, self.sd**3)

    @property
    def kurtosis(self) -> Float64[np.ndarray, " width"]:
        """Fourth standardised moment less 3, which is 0 for a normal distribution; 0 where nothing varies."""
        found = _ratio(self.fourth / self.n, self.sd**4)
        return np.where(self.second > 0, found - 3.0, 0.0)


@dataclass(eq=False, slots=True)
class ShapeTree:
    """Moments of the leaves of a plan that have been seen."""

    nodes: dict[tuple[int, int], Shapes] = field(default_factory=dict[tuple[int, int], Shapes])
    """(height, number) to the moments of leaves [number · 2^height, (number + 1) · 2^height)."""

    def put(self, leaf: int, shapes: Shapes, height: int = 0) -> None:
        """Take in a leaf, or a node of another tree."""
        place = (height, leaf)
        assert place not in self.nodes, "a leaf is measured once"
        while (sibling := self.nodes.pop((place[0], place[1] ^ 1), None)) is not None:
            shapes = shapes.merged(sibling) if place[1] % 2 == 0 else sibling.merged(shapes)
            place = (place[0] + 1, place[1] // 2)
        self.nodes[place] = shapes

    def merge(self, other: ShapeTree) -> None:
        """Take in every node of another tree, over other leaves."""
        for (height, number), shapes in sorted(other.nodes.items(), key=lambda item: item[0]):
            self.put(number, shapes, height)

    def total(self) -> Shapes:
        """Of all leaves, in their order."""
        order = sorted(self.nodes, key=lambda place: place[1] << place[0])
        assert order, "nothing was measured"
        found = self.nodes[order[0]]
        for place in order[1:]:
            found = found.merged(self.nodes[place])
        return found


def _ratio(top: Float64[np.ndarray, " width"], bottom: Float64[np.ndarray, " width"]) -> Float64[np.ndarray, " width"]:
    return np.divide(top, bottom, out=np.zeros_like(top), where=bottom > 0)
