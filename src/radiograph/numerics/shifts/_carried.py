"""Which rows of a dictionary carry the shift, jointly: greedy selection with two tests a step.

1. R [group, width] sums the shift by group, r̄ = W_0·R; D̂ are the rows, of length 1. The next row j* has the largest
   |⟨D̂_j, r̄⟩| among those not chosen.
2. *Noise*: p = (1 + #{b: max_j |⟨D̂_j, W_b·R⟩| ≥ |⟨D̂_j*, r̄⟩|}) / (1 + B) ≤ .05, the largest over the kinds of null
   that the design has. Relabelled groups shift that little.
   *Chance*: ⟨D̂_j*, r̄⟩² / ‖r̄‖² exceeds the 95 % quantile of max_j ⟨D̂_j, u⟩² over 200 random unit u: in an
   overcomplete dictionary every direction has a near row.
3. Both pass: the span of the chosen rows leaves R, and the next row is looked for, up to 64. Noise passed and chance
   not: the rest is `diffuse`, real, without a row that stands out. q of a row is the largest p so far.
4. Least squares of the whole shift on the chosen rows: coefficients, their interval over groups, share = the drop of
   ‖r̄‖² when the row came. Rows with |cosine| > .7 to a chosen one and a score within 10 % are its alternatives.

The products D̂Rᵀ are kept and updated by rank one: O((G + d)F) a step. A relabelling is multiplied out only for rows
whose absolute sum reaches the score, which no others can exceed. The limit is near d / (2 ln F) equally strong rows.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

import numpy as np

from radiograph.core.shapes import Float, Float64
from radiograph.numerics.proportions import Interval
from radiograph.numerics.shifts._design import Design
from radiograph.numerics.shifts._features import blocks, power_of_two

LEVEL: Final = 0.05
RANDOM: Final = 200
MOST: Final = 64
NEAR_COSINE: Final = 0.7
NEAR_SCORE: Final = 0.9
SHOWN: Final = 8
"""Alternatives that are listed."""
DRAWS: Final = 1000
NOTHING: Final = 1e-12
"""Share of the shift below which nothing is left but rounding."""

_solve: Any = np.linalg.solve  # the stubs leave what it gives open

Rest = Literal["nothing", "noise", "diffuse", "limit"]


@dataclass(frozen=True)
class Chosen:
    """A row that carries a part of the shift."""

    row: int
    coefficient: float
    """Length of what is written along the row; negative where it is suppressed."""
    interval: Interval
    share: float
    q: float
    alternatives: tuple[int, ...]
    """Rows that the data cannot tell from it."""


@dataclass(frozen=True, eq=False)
class Carried:
    """All rows that stand out, and what the rest is."""

    chosen: tuple[Chosen, ...]
    rest: Rest
    """`nothing` is left, it is within `noise`, it is `diffuse`, or the `limit` of rows was reached."""
    rest_p: float | None
    """Of the noise test at which the selection stopped."""
    rest_share: float | None
    """Of the row that was not chosen, of what was left; beside the chance."""
    chance: float
    """What a random direction's nearest row explains of it, at 95 %."""
    share: float
    share_interval: Interval | None
    sham: int
    """Rows that stand out in one more relabelling, which is tested as if it were the data."""


@dataclass(frozen=True)
class _Selection:
    """What the steps gave: of each row its number, share, q and alternatives; then why they ended."""

    rows: list[tuple[int, float, float, tuple[int, ...]]]
    rest: Rest
    p: float | None
    share: float | None


def carried(
    rows: Float[np.ndarray, "row width"], sums: Float64[np.ndarray, "group width"], design: Design, *, seed: int
) -> Carried:
    """Choose rows of length 1.

    Args:
        rows: D̂; a row of zeros is never chosen.
        sums: the shift by group.
        design: which relabellings there are.
        seed: of the random directions and the draws.
    """
    # Everything but the coefficients is a share, and products are float32: sums of size 1 neither overflow nor vanish.
    scaled = sums / power_of_two(float(np.abs(sums).max(initial=0)))
    products = rows @ scaled.T.astype(rows.dtype)
    chance = _chance(rows, seed)
    data, sham = (
        _selected(_Search(rows, scaled.copy(), products.copy(), _relabelled(design, label)), chance)
        for label in (0, design.flips + 1)
    )
    chosen, total, interval = _fitted(data.rows, rows, sums, design, seed)
    return Carried(chosen, data.rest, data.p, data.share, chance, total, interval, len(sham.rows))


def explained(
    shift: Float64[np.ndarray, "group group"],
    along: Float64[np.ndarray, "group row"],
    rows: Float64[np.ndarray, "row row"],
    design: Design,
    seed: int,
) -> tuple[Float64[np.ndarray, " row"], Float64[np.ndarray, "end row"], Float64[np.ndarray, " row"], Interval]:
    """Coefficients, their intervals, shares at entry and the interval of their sum, of rows that were chosen.

    Args:
        shift: products of the group sums.
        along: coefficients of the group sums.
        rows: products of the chosen rows, in their order.
        design: which relabellings there are.
        seed: of the draws.
    """
    coefficients = design.weights[0] @ along
    spread = design.resampled(along, DRAWS, seed)
    taken = design.resampled(np.eye(design.groups), DRAWS, seed)
    whole = float(design.weights[0] @ shift @ design.weights[0])
    lower: Float64[np.ndarray, " row"] = _solve(np.linalg.cholesky(rows), rows @ coefficients)
    shares = np.square(lower) / whole
    drawn = np.einsum("dg,gh,dh->d", taken, shift, taken, optimize=True)
    missed = 1 - np.einsum("dr,rs,ds->d", spread, rows, spread, optimize=True) / drawn
    return coefficients, np.quantile(spread, [0.025, 0.975], axis=0), shares, _around(float(shares.sum()), missed)


def _around(whole: float, missed: Float64[np.ndarray, " draw"]) -> Interval:
    """Noise in a draw adds to what is missed: the draws are moved to where the estimate stands."""
    ends = np.quantile(1 - missed, [0.025, 0.975]) + (whole - (1 - missed).mean())
    return Interval(float(ends[0]), float(min(ends[1], 1.0)))


def _selected(search: _Search, chance: float) -> _Selection:
    whole = search.left
    found: list[tuple[int, float, float, tuple[int, ...]]] = []
    p: float | None = None
    share: float | None = None
    worst = 0.0
    while search.left > NOTHING * whole and whole > 0:
        if len(found) == min(MOST, *search.rows.shape):
            return _Selection(found, "limit", p, share)
        best, score = search.best()
        p, share = search.noise(score), score**2 / search.left
        if p > LEVEL:
            return _Selection(found, "noise", p, share)
        if share <= chance:
            return _Selection(found, "diffuse", p, share)
        worst = max(worst, p)
        before, near = search.left, search.near(best, score)
        search.remove(best)
        found.append((best, (before - search.left) / whole, worst, near))
    return _Selection(found, "nothing", p, share)


class _Search:
    """R, D̂Rᵀ, and the span of the chosen rows, as they are now."""

    def __init__(
        self,
        rows: Float[np.ndarray, "row width"],
        sums: Float64[np.ndarray, "group width"],
        products: Float[np.ndarray, "row group"],
        nulls: Sequence[Float64[np.ndarray, "label group"]],
    ) -> None:
        self.rows, self.sums, self.products, self.nulls = rows, sums, products, nulls
        self.weights = nulls[0][0]
        self.basis = np.zeros((0, sums.shape[1]))
        self.taken = np.zeros(len(rows), bool)

    @property
    def left(self) -> float:
        """‖r̄‖² of what is left."""
        mean = self.weights @ self.sums
        return float(mean @ mean)

    def best(self) -> tuple[int, float]:
        """The row that explains most, and |⟨D̂_j, r̄⟩|."""
        scores = np.abs(self.products @ self.weights.astype(self.products.dtype))
        self.scores = np.where(self.taken, -1.0, scores)
        best = int(self.scores.argmax())
        # The sum of float32 products is good to 1e-6; the tests compare it with others of the same make.
        return best, float(self.scores[best])

    def noise(self, score: float) -> float:
        """The p-value against relabellings, of every kind."""
        return max(self._reached(score, null[1:].astype(self.products.dtype)) for null in self.nulls)

    def _reached(self, score: float, others: Float[np.ndarray, "label group"]) -> float:
        sizes = np.abs(others).max(0)
        able = np.flatnonzero(np.abs(self.products) @ sizes >= score * (1 - 1e-6))
        reached = np.zeros(len(others), bool)
        for start in range(0, len(able), 4096):
            part = np.abs(others @ self.products[able[start : start + 4096]].T)
            reached |= part.max(1) >= score * (1 - 1e-6)
        return float(1 + reached.sum()) / (1 + len(others))

    def near(self, best: int, score: float) -> tuple[int, ...]:
        """Rows close to the best one that score within a tenth of it."""
        close = np.flatnonzero(self.scores >= NEAR_SCORE * score)
        close = close[close != best]
        close = close[np.abs(self.rows[close] @ self.rows[best]) > NEAR_COSINE]
        order = np.argsort(-self.scores[close], kind="stable")
        return tuple(int(i) for i in close[order][:SHOWN])

    def remove(self, row: int) -> None:
        """Take the direction of a row out of everything."""
        self.taken[row] = True
        unit = self.rows[row].astype(np.float64)
        for _ in range(2):  # once more for what rounding left
            unit -= self.basis.T @ (self.basis @ unit)
        unit /= np.linalg.norm(unit)
        self.basis = np.concatenate([self.basis, unit[None]])
        along = self.sums @ unit
        self.sums -= np.outer(along, unit)
        kind = self.products.dtype
        self.products -= np.outer(self.rows @ unit.astype(kind), along.astype(kind))


def _relabelled(design: Design, label: int) -> list[Float64[np.ndarray, "label group"]]:
    """The weights of every kind of null with one label as the data; the sham stays out of the pool."""
    own = design.weights[[label]]
    return [np.concatenate([own, null[1 : design.flips + 1]]) for null in design.nulls]


def _chance(rows: Float[np.ndarray, "row width"], seed: int) -> float:
    """95 % quantile of what the nearest row explains of a random direction."""
    drawn = np.random.default_rng((seed, *b"chance")).standard_normal((RANDOM, rows.shape[1]))
    drawn = (drawn / np.linalg.norm(drawn, axis=1, keepdims=True)).astype(rows.dtype)
    largest = np.zeros(RANDOM)
    for block in blocks(len(rows)):
        np.maximum(largest, np.abs(drawn @ rows[block].T).max(1), out=largest)
    # The order statistic at which a random direction passes at most once in twenty.
    return float(np.sort(np.square(largest))[int(np.ceil(0.95 * (RANDOM + 1))) - 1])


def _fitted(
    found: list[tuple[int, float, float, tuple[int, ...]]],
    rows: Float[np.ndarray, "row width"],
    sums: Float64[np.ndarray, "group width"],
    design: Design,
    seed: int,
) -> tuple[tuple[Chosen, ...], float, Interval | None]:
    if not found:
        return (), 0.0, None
    basis = rows[[row for row, *_ in found]].astype(np.float64)
    inverse = np.linalg.pinv(basis)
    coefficients = design.weights[0] @ sums @ inverse
    drawn = design.resampled(sums, DRAWS, seed)
    spread = drawn @ inverse
    low, high = np.quantile(spread, [0.025, 0.975], axis=0)
    missed = np.square(drawn - spread @ basis).sum(1) / np.square(drawn).sum(1)
    whole = sum(share for _, share, _, _ in found)
    bounds = _around(whole, missed)
    chosen = tuple(
        Chosen(row, float(coefficients[i]), Interval(float(low[i]), float(high[i])), share, q, near)
        for i, (row, share, q, near) in enumerate(found)
    )
    return chosen, float(whole), bounds
