"""Planes of two vectors, and what a set of rows does in one.

1. The plane of b₁, b₂: u₁ = b̂₁, c = b̂₁·b̂₂, s = √(1 − c²), u₂ = (b̂₂ − c·b̂₁)/s. Below `MIN_SINE` the pair has no plane
   worth the name and is dropped, and listed.
2. Coordinates z = (x̂·u₁, x̂·u₂), r = ‖z‖, φ = atan2(z₂, z₁); degrees in [0, 360), and +90° is +u₂, the side of b₂.
3. The curve of a row is s(θ) = r·cos(θ − φ), the cosine of x̂ with u₁cos θ + u₂sin θ; no rotation matrix is built.
4. Grey vector g = mean z, r_G = ‖g‖, θ_G: the mean curve is r_G·cos(θ − θ_G) exactly. r_G mixes energy and agreement,
   so it comes with r̄ = mean r, concentration R̄ = ‖Σz‖/Σr, energy E = mean r², lift E·D/2 (1 for isotropic rows).
5. Shape: axial A₂ = |Σr²e^{2iφ}|/Σr², four-fold A₄ = Σr²cos 4φ/Σr² (positive: rows crowd the axes).
6. The plane of (b, a) is that of (a, b) read backwards: θ′ = arccos c − θ.

Source: Bird (2025), arXiv 2505.13471, with the plane orthonormalised. Lengths are cosines.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from radiograph.core import UserError
from radiograph.core.shapes import Bool, Float, Float64, Integer

MIN_SINE = 0.05


@dataclass(frozen=True, eq=False)
class Planes:
    """Pairs of basis vectors, as indices into them."""

    first: Integer[np.ndarray, " plane"]
    second: Integer[np.ndarray, " plane"]
    cosine: Float64[np.ndarray, " plane"]
    """b̂₁·b̂₂; its arccosine is where b₂ is drawn."""

    def __len__(self) -> int:
        return len(self.first)

    @property
    def sine(self) -> Float64[np.ndarray, " plane"]:
        """√(1 − c²)."""
        return np.sqrt(np.maximum(1 - self.cosine**2, 0.0))

    @property
    def second_angle(self) -> Float64[np.ndarray, " plane"]:
        """Degrees at which b₂ lies; b₁ lies at 0."""
        return np.degrees(np.arccos(np.clip(self.cosine, -1, 1)))

    def __getitem__(self, places: slice | Integer[np.ndarray, " place"]) -> Planes:
        return Planes(self.first[places], self.second[places], self.cosine[places])


@dataclass(frozen=True, eq=False)
class PlaneStatistics:
    """One number a plane, over one set of rows."""

    n: int
    grey: Float[np.ndarray, "2 plane"]
    mean_r: Float[np.ndarray, " plane"]
    energy: Float[np.ndarray, " plane"]
    lift: Float[np.ndarray, " plane"]
    concentration: Float[np.ndarray, " plane"]
    axial: Float[np.ndarray, " plane"]
    fourfold: Float[np.ndarray, " plane"]

    @property
    def r(self) -> Float[np.ndarray, " plane"]:
        """Length of the Grey vector: the height of the mean curve."""
        return np.hypot(self.grey[0], self.grey[1])

    @property
    def theta(self) -> Float64[np.ndarray, " plane"]:
        """Degrees of the Grey vector."""
        return degrees(self.grey)


def all_pairs(count: int, ordered: bool = False) -> tuple[Integer[np.ndarray, " plane"], Integer[np.ndarray, " plane"]]:
    """Indices of every pair a < b, in the order (0, 1), (0, 2), …; `ordered` adds (b, a) after them."""
    first, second = np.triu_indices(count, 1)
    if ordered:
        return np.concatenate([first, second]).astype(np.int32), np.concatenate([second, first]).astype(np.int32)
    return first.astype(np.int32), second.astype(np.int32)


def planes_of(
    gram: Float[np.ndarray, "vector vector"],
    first: Integer[np.ndarray, " pair"],
    second: Integer[np.ndarray, " pair"],
    min_sine: float = MIN_SINE,
) -> tuple[Planes, Bool[np.ndarray, " pair"]]:
    """The planes of these pairs of unit vectors, and which pairs had one; `gram` holds their cosines."""
    if len(first) and not 0 <= min(first.min(), second.min()) <= max(first.max(), second.max()) < len(gram):
        raise UserError("a plane names a vector that is not there", expected=f"0 to {len(gram) - 1}")
    cosine = gram[first, second].astype(np.float64)
    kept = 1 - cosine**2 >= min_sine**2
    return Planes(first[kept], second[kept], cosine[kept]), kept


def frame(
    basis: Float[np.ndarray, "vector width"], plane: Planes, place: int
) -> tuple[Float64[np.ndarray, " width"], Float64[np.ndarray, " width"]]:
    """u₁, u₂ of one plane of unit vectors."""
    one, two = (basis[int(i[place])].astype(np.float64) for i in (plane.first, plane.second))
    across = two - (one @ two) * one
    return one, across / np.linalg.norm(across)


def coordinates(dots: Float[np.ndarray, "row vector"], planes: Planes) -> Float[np.ndarray, "2 plane row"]:
    """Where every row lies in every plane, from the cosines of rows with basis vectors."""
    columns = np.ascontiguousarray(dots.T)
    one = columns[planes.first]
    two = columns[planes.second]
    kind = dots.dtype
    two -= planes.cosine[:, None].astype(kind) * one
    two /= planes.sine[:, None].astype(kind)
    return np.stack([one, two])


def degrees(vectors: Float[np.ndarray, "2 ..."]) -> Float64[np.ndarray, "..."]:
    """Angle in [0, 360)."""
    angle = np.degrees(np.arctan2(vectors[1], vectors[0], dtype=np.float64)) % 360
    return np.where(angle >= 360, 0.0, angle)


def curve(z: Float[np.ndarray, "2 ..."], angles: Float64[np.ndarray, " angle"]) -> Float64[np.ndarray, "... angle"]:
    """s(θ) of each vector, angles in degrees: of rows their own curves, of Grey vectors the mean curve."""
    theta = np.radians(angles)
    return z[0][..., None] * np.cos(theta) + z[1][..., None] * np.sin(theta)


def statistics(z: Float[np.ndarray, "2 plane row"], width: int) -> PlaneStatistics:
    """Grey vector, energy and shape of the rows, plane by plane."""
    n = z.shape[2]
    if n == 0:
        raise UserError("a group without rows has no statistics", expected="at least one row")
    one, two = z[0] * z[0], z[1] * z[1]
    square = one + two
    length = np.sqrt(square)
    total = square.sum(axis=1, dtype=np.float64)
    reach = length.sum(axis=1, dtype=np.float64)
    grey = z.mean(axis=2, dtype=np.float64)
    across = np.einsum("pn,pn->p", z[0], z[1], dtype=np.float64)
    along = one.sum(axis=1, dtype=np.float64) - two.sum(axis=1, dtype=np.float64)
    one *= two
    one /= np.where(square > 0, square, 1)
    four = total - 8 * one.sum(axis=1, dtype=np.float64)
    safe = np.where(total > 0, total, 1.0)
    energy = total / n
    return PlaneStatistics(
        n=n,
        grey=grey,
        mean_r=reach / n,
        energy=energy,
        lift=energy * width / 2,
        concentration=n * np.hypot(grey[0], grey[1]) / np.where(reach > 0, reach, 1.0),
        axial=np.hypot(along, 2 * across) / safe,
        fourfold=four / safe,
    )


def swapped(theta: Float[np.ndarray, " plane"], planes: Planes) -> Float64[np.ndarray, " plane"]:
    """The same direction, in degrees of the plane whose vectors are exchanged."""
    return (planes.second_angle - theta) % 360
