"""Planes that mean nothing: random ones of the same kind as those that were asked about.

1. Haar: two Gaussian directions, made orthonormal; every plane is as likely as any other.
2. Gaussian: directions drawn with the covariance of the rows, so that a plane sees as much of the loud directions as a
   typical row does. No D × D matrix is built: a draw is a random combination of centred rows.
3. The basis set under random rotations (Bird's question): the angles among basis vectors are kept, the set as a whole
   is turned by a Haar rotation. Since only the span of the set moves, a rotation is a random orthonormal frame of as
   many directions as the set has dimensions.
4. Halves: differences of the means of random halves of the rows.
5. Alike: each vector of a plane gives way to one of those that are like it. Itself is among them, and pairs that keep
   one of the two count: where being alike makes vectors exchangeable the p is exact. Without those pairs one loud
   vector would beat every pair by itself, and with K alike p would be 1/(1 + K²) once in K times.
6. Who is like whom: the vectors are cut at the median of the number that spreads most, again and again. The members of
   a part take turns as its outermost one; nearest neighbours would lie inward of every outlying vector, and p be small.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from radiograph.core import UserError
from radiograph.core.shapes import Float, Float64, Int64, Integer
from radiograph.numerics.planes._cones import supremum
from radiograph.numerics.planes._plane import Planes

_CHUNK = 1 << 22


def haar_vectors(width: int, count: int, seed: int) -> Float64[np.ndarray, "count width"]:
    """Isotropic unit vectors."""
    drawn = np.random.default_rng(seed).standard_normal((count, width))
    return drawn / np.linalg.norm(drawn, axis=1, keepdims=True)


def gaussian_vectors(rows: Float[np.ndarray, "row width"], count: int, seed: int) -> Float64[np.ndarray, "count width"]:
    """Unit vectors with the covariance of the rows.

    Raises:
        UserError: the rows do not vary.
    """
    centred = rows.astype(np.float64) - rows.mean(axis=0, dtype=np.float64)
    drawn = np.random.default_rng(seed).standard_normal((count, len(rows))) @ centred
    norms = np.linalg.norm(drawn, axis=1, keepdims=True)
    if not (norms > 0).all():
        raise UserError("rows that are all equal have no covariance to draw from", expected="rows that differ")
    return drawn / norms


def half_vectors(rows: Float[np.ndarray, "row width"], count: int, seed: int) -> Float64[np.ndarray, "count width"]:
    """Differences of the means of random halves, not scaled.

    Raises:
        UserError: fewer than two rows.
    """
    if len(rows) < 2:
        raise UserError("one row has no halves", expected="at least two rows", got=str(len(rows)))
    generator = np.random.default_rng(seed)
    half = len(rows) // 2
    signs = np.zeros((count, len(rows)))
    for row in signs:
        order = generator.permutation(len(rows))
        row[order[:half]], row[order[half : 2 * half]] = 1 / half, -1 / half
    return signs @ rows.astype(np.float64)


@dataclass(frozen=True, eq=False)
class PlaneLengths:
    """Source of r_G: the same for every column, r_G of random planes drawn from `vectors`."""

    mean: Float64[np.ndarray, " width"]
    """Mean of the unit rows of the group."""
    vectors: Callable[[int, int], Float64[np.ndarray, "count width"]]
    """(count, seed) → directions; two after another make a plane."""

    def smallest(self, draws: int) -> float:
        return 1 / (1 + draws)

    def draws(self, wanted: int) -> int:
        return wanted

    def chunks(
        self, columns: Integer[np.ndarray, " column"], draws: int, seed: int
    ) -> Iterator[Float[np.ndarray, "draw column"]]:
        step = max(1, _CHUNK // (2 * len(self.mean)))
        for number, start in enumerate(range(0, draws, step)):
            count = min(step, draws - start)
            drawn = self.vectors(2 * count, seed + 7919 * number)
            one, two = drawn[0::2], drawn[1::2]
            one = one / np.linalg.norm(one, axis=1, keepdims=True)
            two = two - np.einsum("pd,pd->p", one, two)[:, None] * one
            two = two / np.linalg.norm(two, axis=1, keepdims=True)
            length = np.hypot(one @ self.mean, two @ self.mean)
            yield np.repeat(length[:, None], len(columns), axis=1)


def alike(
    numbers: Float[np.ndarray, "item number"], items: Integer[np.ndarray, " asked"], size: int
) -> Integer[np.ndarray, "asked alike"]:
    """Up to `size` items of the part that each asked item falls into, itself first; numbers may not be NaN."""
    parts: list[Int64[np.ndarray, " member"]] = []
    waiting = [np.arange(len(numbers))]
    spread = numbers.std(axis=0)
    scaled = (numbers / np.where(spread > 0, spread, 1.0)).astype(np.float64)
    while waiting:
        part = waiting.pop()
        if len(part) < 2 * size:
            parts.append(part)
            continue
        order = part[np.argsort(scaled[part, int(scaled[part].std(axis=0).argmax())], kind="stable")]
        waiting += [order[: len(part) // 2], order[len(part) // 2 :]]
    part_of = np.empty(len(numbers), dtype=np.int64)
    place_in = np.empty(len(numbers), dtype=np.int64)
    for number, part in enumerate(parts):
        part_of[part], place_in[part] = number, np.arange(len(part))
    count = min(size, *(len(part) for part in parts))
    return np.array([np.roll(parts[part_of[item]], -place_in[item])[:count] for item in items], dtype=np.int64)


@dataclass(frozen=True, eq=False)
class AlikePairs:
    """Source of r_G in planes of vectors that are like those of each plane."""

    dots: Float64[np.ndarray, " vector"]
    """Of the mean row with every vector, of length one."""
    first: Integer[np.ndarray, "plane alike"]
    """Vectors like the first of each plane; itself at 0."""
    second: Integer[np.ndarray, "plane alike"]
    gram: Float64[np.ndarray, "vector vector"] | None = None
    """Cosines among the vectors; None: they are orthogonal."""

    @property
    def pairs(self) -> int:
        """Pairs that there are beside the plane itself: no p can be finer."""
        return self.first.shape[1] * self.second.shape[1] - 1

    def smallest(self, draws: int) -> float:
        return 1 / (1 + min(draws, self.pairs))

    def draws(self, wanted: int) -> int:
        return min(wanted, self.pairs)

    def chunks(
        self, columns: Integer[np.ndarray, " column"], draws: int, seed: int
    ) -> Iterator[Float[np.ndarray, "draw column"]]:
        alike = self.second.shape[1]
        one, two = self.first[columns].T, self.second[columns].T
        every = np.arange(1, self.pairs + 1)
        chosen = every if draws == self.pairs else np.random.default_rng(seed).choice(every, draws, replace=False)
        step = max(1, _CHUNK // (8 * max(len(columns), 1)))
        for start in range(0, draws, step):
            part = chosen[start : start + step]
            a, b = one[part // alike], two[part % alike]
            b = np.where(a == b, two[(part + 1) % alike], b)  # a vector and itself have no plane
            c = 0.0 if self.gram is None else np.clip(self.gram[a, b], -0.999, 0.999)
            yield np.hypot(self.dots[a], (self.dots[b] - c * self.dots[a]) / np.sqrt(1 - np.square(c)))


@dataclass(frozen=True, eq=False)
class Rotated:
    """Source of statistics of rows in planes, the basis set turned at random; columns are (plane, statistic)."""

    rows: Float[np.ndarray, "row width"]
    """Of length one."""
    gram: Float64[np.ndarray, "vector vector"]
    """Cosines among the basis vectors."""
    planes: Planes
    statistic: Callable[[Float[np.ndarray, "2 plane row"]], Float64[np.ndarray, "..."]]
    """[plane], or [plane, statistic]."""
    count: int = 1
    """How many statistics."""

    def smallest(self, draws: int) -> float:
        return 1 / (1 + draws)

    def draws(self, wanted: int) -> int:
        return wanted

    def chunks(
        self, columns: Integer[np.ndarray, " column"], draws: int, seed: int
    ) -> Iterator[Float[np.ndarray, "draw column"]]:
        asked, places = np.unique(columns // self.count, return_inverse=True)
        own = places * self.count + columns % self.count
        values, vectors = np.linalg.eigh(self.gram)
        spanned = values > 1e-10 * values.max()
        shape = vectors[:, spanned] * np.sqrt(values[spanned])
        shape = shape.astype(self.rows.dtype)
        rows, width, chosen = len(self.rows), self.rows.shape[1], self.planes[asked]
        cosine, sine = (v[:, None].astype(self.rows.dtype) for v in (chosen.cosine, chosen.sine))
        generator = np.random.default_rng(seed)
        step = max(1, _CHUNK // (8 * (width * shape.shape[1] + 2 * rows * max(len(chosen), 1))))
        for start in range(0, draws, step):
            count = min(step, draws - start)
            turned, triangle = np.linalg.qr(generator.standard_normal((count, width, shape.shape[1])))
            turned = turned * np.sign(np.diagonal(triangle, axis1=1, axis2=2))[:, None]  # without it, not Haar
            dots = shape @ np.moveaxis(self.rows @ turned.astype(self.rows.dtype), 1, 2)
            one = dots[:, chosen.first]
            z = np.stack([one, (dots[:, chosen.second] - cosine * one) / sine])
            yield self.statistic(z.reshape(2, -1, rows)).reshape(count, -1)[:, own]


def fourfold(z: Float[np.ndarray, "2 plane row"]) -> Float64[np.ndarray, " plane"]:
    """A₄, for `Rotated`."""
    one, two = z[0].astype(np.float64) ** 2, z[1].astype(np.float64) ** 2
    square = one + two
    total = square.sum(axis=1)
    crossed = (one * two / np.where(square > 0, square, 1)).sum(axis=1)
    return (total - 8 * crossed) / np.where(total > 0, total, 1.0)


def crowding(epsilon: float) -> Callable[[Float[np.ndarray, "2 plane row"]], Float64[np.ndarray, " plane"]]:
    """The supremum of f(θ; ε), for `Rotated`."""
    return lambda z: supremum(z, epsilon)[0]
