"""Which share of rows points at an angle: cone fractions, their difference with the far side, exact suprema.

1. f(θ; ε) = share of rows with r·cos(θ − φ) ≥ ε. A row counts at no angle if ε > r, at all if ε ≤ −r, else on the
   closed arc |θ − φ| ≤ arccos(ε/r). Fractions, never counts: groups of unequal size compare.
2. Signed: f(θ) − f(θ + 180°).
3. Supremum: the ends of all arcs are sorted once and summed up; the largest sum is the supremum, over every angle and
   not over a grid. For the signed difference it may be approached and not attained.

An end is stored as the bits of its angle with the last bit replaced by its sign, so that one sort of integers orders
ends by angle and openings before closings. Angles in degrees at the surface, radians inside.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from radiograph.core.shapes import Float, Float64, Int64

_TURN = 2 * np.pi
_LAST = np.iinfo(np.int64).max
"""Sorts after every angle, and closes: padding."""


@dataclass(frozen=True, eq=False)
class _Arcs:
    """Arcs of the rows of each plane, in rows padded to one length."""

    always: Int64[np.ndarray, " plane"]
    """Rows that count at every angle, and arcs that are open at angle 0."""
    opens: Float64[np.ndarray, "plane arc"]
    closes: Float64[np.ndarray, "plane arc"]
    """In [0, 2π); padded with infinity."""


def cone_fraction(
    z: Float[np.ndarray, "2 plane row"], epsilon: float, angles: Float64[np.ndarray, " angle"]
) -> Float64[np.ndarray, "plane angle"]:
    """f(θ; ε) at these angles, in degrees."""
    arcs = _arcs(z, epsilon)
    opens, closes = np.sort(arcs.opens, axis=1), np.sort(arcs.closes, axis=1)
    theta = np.radians(angles % 360)
    counts = np.empty((z.shape[1], len(angles)), dtype=np.int64)
    for place, (one, two) in enumerate(zip(opens, closes, strict=True)):
        counts[place] = np.searchsorted(one, theta, side="right") - np.searchsorted(two, theta, side="left")
    return (counts + arcs.always[:, None]) / z.shape[2]


def signed_fraction(
    z: Float[np.ndarray, "2 plane row"], epsilon: float, angles: Float64[np.ndarray, " angle"]
) -> Float64[np.ndarray, "plane angle"]:
    """f(θ) − f(θ + 180°) at these angles, in degrees."""
    return cone_fraction(z, epsilon, angles) - cone_fraction(z, epsilon, angles + 180)


def supremum(
    z: Float[np.ndarray, "2 plane row"], epsilon: float, signed: bool = False
) -> tuple[Float64[np.ndarray, " plane"], Float64[np.ndarray, " plane"]]:
    """The largest f over all angles, or the largest signed difference, and a degree at which it begins."""
    n = z.shape[2]
    arcs = _arcs(z, epsilon)
    keys, base = [_keys(arcs.opens, 0), _keys(arcs.closes, 1)], arcs.always
    if signed:
        far = _arcs(-z, epsilon)
        keys, base = [*keys, _keys(far.opens, 1), _keys(far.closes, 0)], base - far.always
    events = np.concatenate(keys, axis=1)
    if not events.shape[1]:
        return base / n, np.zeros(len(base))
    events.sort(axis=1)
    heights = np.cumsum(1 - 2 * (events & 1).astype(np.int32), axis=1)
    # Padding closes, so that it lowers what follows the last angle and can never be the largest.
    best = heights.argmax(axis=1)
    rows = np.arange(len(base))
    top = heights[rows, best]
    angle = (events[rows, best] & ~np.int64(1)).view(np.float64)
    angle = np.where((top > 0) & np.isfinite(angle), angle, 0.0)
    return (base + np.maximum(top, 0)) / n, np.degrees(angle) % 360


def _keys(angles: Float64[np.ndarray, "plane arc"], closing: int) -> Int64[np.ndarray, "plane arc"]:
    bits = (angles.view(np.int64) & ~np.int64(1)) | closing
    return np.where(np.isfinite(angles), bits, _LAST)


def _arcs(z: Float[np.ndarray, "2 plane row"], epsilon: float) -> _Arcs:
    """Only rows with an arc are looked at twice: at large D and ε they are few."""
    square = z[0] * z[0] + z[1] * z[1]
    count = z.shape[1]
    if epsilon > 0:
        active, always = square >= epsilon**2, np.zeros(count, dtype=np.int64)
    else:
        active = square > epsilon**2
        always = (~active).sum(axis=1)
    owner, row = np.nonzero(active)
    numbers = np.bincount(owner, minlength=count)
    widest = int(numbers.max(initial=0))
    opens, closes = np.full((2, count, widest), np.inf)
    if not len(owner):
        return _Arcs(always.astype(np.int64), opens, closes)
    one, two = z[0][owner, row].astype(np.float64), z[1][owner, row].astype(np.float64)
    half = np.arccos(np.clip(epsilon / np.hypot(one, two), -1, 1))
    middle = np.arctan2(two, one)
    start, end = (middle - half) % _TURN, (middle + half) % _TURN
    start, end = np.where(start >= _TURN, 0.0, start), np.where(end >= _TURN, 0.0, end)
    place = np.arange(len(owner)) - np.repeat(np.cumsum(numbers) - numbers, numbers)
    opens[owner, place], closes[owner, place] = start, end
    always = always + np.bincount(owner[end < start], minlength=count)
    return _Arcs(always.astype(np.int64), opens, closes)
