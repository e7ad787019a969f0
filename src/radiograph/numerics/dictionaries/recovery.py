"""Were planted directions found? Only where the truth is known: synthetic rows, organisms.

1. For each true direction the largest cosine with a decoder row; MMCS is the mean of those (Sharkey et al. 2022), and
   `found` counts those above .9. Cosines keep their sign: a feature writes one way.
2. Precision: the share of live features that lie within .9 of a true direction.
3. Code F1: true directions and features are paired one to one (Hungarian on cosine), and firing is compared with the
   true code entry by entry, all rows and pairs together.
4. Chance: the same for as many random unit rows, 20 draws. In 64 dimensions 256 random rows reach an MMCS of .35.

The interval of MMCS resamples true directions. Refuses other widths, and directions of length zero.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from radiograph.core import UserError
from radiograph.core.shapes import Bool, Float, Float64, Int
from radiograph.numerics.dictionaries.assignment import assignment
from radiograph.numerics.dictionaries.units import draws, ratio_interval
from radiograph.numerics.proportions import Interval, wilson

FOUND = 0.9
CHANCE_DRAWS = 20
_BLOCK = 8192


@dataclass(frozen=True)
class Recovery:
    """How much of a planted truth a decoder holds."""

    directions: int
    features: int
    live: int
    mmcs: float
    mmcs_interval: Interval | None
    found: int
    """True directions within cosine .9 of a decoder row."""
    found_interval: Interval
    """Of the share found."""
    precise: int | None
    """Live features within cosine .9 of a true direction; None without a live feature."""
    chance_mmcs: float
    chance_best: float
    """The largest cosine that any random row reached in any draw."""
    chance_found: float
    """Mean number of directions that random rows found."""


def planted_recovery(
    decoder: Float[np.ndarray, "feature _"],
    truth: Float[np.ndarray, "direction _"],
    *,
    live: Bool[np.ndarray, " feature"] | None = None,
    seed: int,
) -> Recovery:
    """Recovery of the rows of `truth` by the live rows of `decoder` (by default all that are not zero).

    Raises:
        UserError: widths differ, no direction, a direction of length zero.
    """
    if decoder.shape[1] != truth.shape[1] or not len(truth):
        raise UserError(
            "true directions do not fit the decoder", expected=f"[M, {decoder.shape[1]}]", got=str(truth.shape)
        )
    wanted, rows = _unit(truth), _unit(decoder)
    if not bool((np.einsum("mw,mw->m", wanted, wanted) > 0).all()):
        raise UserError("a true direction has length zero")
    alive = np.any(rows != 0, axis=1) if live is None else live & np.any(rows != 0, axis=1)
    best, back = best_cosines(wanted, rows[alive])
    chance = [_chance(wanted, rows.shape[0], (seed, draw)) for draw in range(CHANCE_DRAWS)]
    found = int((best > FOUND).sum())
    ones = np.ones(len(best))
    return Recovery(
        directions=len(wanted),
        features=len(rows),
        live=int(alive.sum()),
        mmcs=float(best.mean()),
        mmcs_interval=ratio_interval(best, ones, draws(len(best), seed=seed)),
        found=found,
        found_interval=wilson(found, len(wanted)),
        precise=int((back > FOUND).sum()) if len(back) else None,
        chance_mmcs=float(np.mean([c.mean() for c in chance])),
        chance_best=float(max(c.max() for c in chance)),
        chance_found=float(np.mean([(c > FOUND).sum() for c in chance])),
    )


def best_cosines(
    left: Float[np.ndarray, "left width"], right: Float[np.ndarray, "right width"]
) -> tuple[Float64[np.ndarray, " left"], Float64[np.ndarray, " right"]]:
    """For unit rows: the largest cosine of each left row with a right one, and the other way round; −1 without any."""
    best, back = np.full(len(left), -1.0), np.full(len(right), -1.0)
    for start in range(0, len(right) if len(left) else 0, _BLOCK):
        cosines = left @ right[start : start + _BLOCK].T
        best = np.maximum(best, cosines.max(axis=1))
        back[start : start + _BLOCK] = cosines.max(axis=0)
    return best, back


def matched(
    decoder: Float[np.ndarray, "feature width"], truth: Float[np.ndarray, "direction width"]
) -> Int[np.ndarray, " direction"]:
    """The feature paired with each true direction, one to one, so that the sum of cosines is largest.

    −1 where there are fewer features than directions.
    """
    pairs = np.full(len(truth), -1, dtype=np.int64)
    directions, features = assignment(_unit(truth) @ _unit(decoder).T)
    pairs[directions] = features
    return pairs


def code_f1(
    active: Bool[np.ndarray, "row direction"],
    rows: Int[np.ndarray, " entry"],
    features: Int[np.ndarray, " entry"],
    pairs: Int[np.ndarray, " direction"],
) -> float | None:
    """F1 of paired features' firing (entries: row and feature) against the true code; None if neither ever fires."""
    owner = np.full(int(max(features.max(initial=-1), pairs.max(initial=-1))) + 1, -1, dtype=np.int64)
    owner[pairs[pairs >= 0]] = np.flatnonzero(pairs >= 0)
    direction = owner[features]
    known = direction >= 0
    hits = int(active[rows[known], direction[known]].sum())
    total = int(known.sum()) + int(active.sum())
    return 2 * hits / total if total else None


def _chance(
    wanted: Float64[np.ndarray, "direction width"], features: int, seed: tuple[int, int]
) -> Float64[np.ndarray, " direction"]:
    # A sequence of numbers seeds a stream of its own: a truth drawn from the plain seed is not met again.
    generator = np.random.default_rng((*seed, *b"chance"))
    best = np.full(len(wanted), -1.0)
    for start in range(0, features, _BLOCK):
        rows = _unit(generator.standard_normal((min(_BLOCK, features - start), wanted.shape[1])))
        best = np.maximum(best, best_cosines(wanted, rows)[0])
    return best


def _unit(rows: Float[np.ndarray, "row width"]) -> Float64[np.ndarray, "row width"]:
    wide = rows.astype(np.float64)
    norms = np.linalg.norm(wide, axis=1, keepdims=True)
    return wide / np.where(norms > 0, norms, 1)
