"""Which relabellings of the data are as likely as the data, if nothing moved.

`Paired`: the same tokens on both sides. The difference of a group keeps its size and loses its sign: ε ∈ {−1, +1} per
group, the same for every feature. `Unpaired`: other tokens. Whole groups change sides, as many on each as before. That
is as likely as the data where groups of both sides are alike in size; where those of one side hold more tokens, a shift
under relabelling is smaller than the data's, and where one side spreads more its few groups are thinned. So what is
claimed holds against two kinds of null (`nulls`, and `kinds` of what is studentised): the second leaves groups on
their side and flips the signs of what they are off its mean.

For values summed by group, P [group, column], every relabelling b gives
    Δ_b = W_b·P          V_b = the variance of Δ_b from the spread of groups about their side's mean, G/(G − 1) included
Row 0 of all arrays is the data themselves, rows 1 … B are relabellings, and the last is one more, the sham: it goes
through everything as if it were the data. A statistic is then compared with what the very same arithmetic gives.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from typing import Final

import numpy as np
from numpy.typing import NDArray

from radiograph.core.shapes import Float64, Int

Labels = slice | NDArray[np.integer]
"""Which of the data, the relabellings and the sham."""
Moments = tuple[Float64[np.ndarray, "label column"], Float64[np.ndarray, "label column"]]
"""Δ_b and V_b."""
Moved = Callable[[Float64[np.ndarray, "group column"], Labels], Moments]
LEAST_GROUPS: Final = 12
"""Groups below which relabellings are too few to say anything."""


@dataclass(frozen=True, eq=False)
class Paired:
    """Signs of groups; P holds sums of candidate − reference."""

    counts: Int[np.ndarray, " group"]
    """Tokens of each group."""
    flips: int
    seed: int

    @property
    def groups(self) -> int:
        """Rows of P."""
        return len(self.counts)

    @cached_property
    def signs(self) -> Float64[np.ndarray, "label group"]:
        """ε: the data, the relabellings, the sham."""
        drawn = np.random.default_rng(self.seed).integers(0, 2, (self.flips + 1, self.groups)) * 2.0 - 1
        return np.concatenate([np.ones((1, self.groups)), drawn])

    @property
    def weights(self) -> Float64[np.ndarray, "label group"]:
        """ε / n."""
        return self.signs / self.counts.sum()

    @property
    def nulls(self) -> tuple[Float64[np.ndarray, "label group"], ...]:
        """The weights, which are the one kind of null."""
        return (self.weights,)

    def moments(self, sums: Float64[np.ndarray, "group column"], labels: Labels) -> Moments:
        """Δ, and V = G/(G−1) Σ_g(ε_g P_g − n_gΔ)²/n²."""
        total = float(self.counts.sum())
        signs, share = self.signs[labels], self.counts / total
        shift = signs @ sums
        shift /= total
        variance = (signs * (-2 * share)) @ sums
        variance += (share @ share * total) * shift
        variance *= shift
        variance /= total
        variance += np.square(sums).sum(0) / total**2
        np.maximum(variance, 0, out=variance)
        variance *= self.groups / max(self.groups - 1, 1)
        return shift, variance

    @property
    def kinds(self) -> tuple[Moved, ...]:
        """What gives Δ and V under relabellings, of every kind of null."""
        return (self.moments,)

    def centred(self, sums: Float64[np.ndarray, "group column"]) -> Float64[np.ndarray, "group column"]:
        """P_g − n_gΔ."""
        return sums - np.outer(self.counts / self.counts.sum(), sums.sum(0))

    def resampled(
        self, sums: Float64[np.ndarray, "group column"], draws: int, seed: int
    ) -> Float64[np.ndarray, "draw column"]:
        """Σ P / Σ n of the groups drawn."""
        taken = _drawn(self.groups, draws, seed)
        return (taken @ sums) / (taken @ self.counts)[:, None]


@dataclass(frozen=True, eq=False)
class Unpaired:
    """Sides of groups; P holds sums of each side, the candidate's groups first."""

    counts: Int[np.ndarray, " group"]
    candidates: int
    """Groups of the candidate."""
    flips: int
    seed: int
    _order: np.random.Generator = field(init=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_order", np.random.default_rng(self.seed))

    @property
    def groups(self) -> int:
        """Rows of P."""
        return len(self.counts)

    @cached_property
    def sides(self) -> Float64[np.ndarray, "label group"]:
        """1 for the candidate, 0 for the reference: the data, the relabellings, the sham."""
        first = np.arange(self.groups) < self.candidates
        drawn = [self._order.permutation(first) for _ in range(self.flips + 1)]
        return np.array([first, *drawn], np.float64)

    @property
    def weights(self) -> Float64[np.ndarray, "label group"]:
        """1/n of the candidate, −1/n of the reference."""
        first, second = self.sides, 1 - self.sides
        n = self.counts.astype(np.float64)
        return first / (first @ n)[:, None] - second / (second @ n)[:, None]

    @property
    def nulls(self) -> tuple[Float64[np.ndarray, "label group"], ...]:
        """Two kinds, and what is claimed holds against both: groups that change sides, and signs of residuals.

        Row b of the second gives Σ_g ε_g w_g (P_g − n_gΔ of its side)/(1 − n_g/n of its side), w those of the data;
        the divisor makes up for what a group takes of its own side's mean (MacKinnon and White 1985, HC3).
        """
        relabelled = self.weights
        flipped = relabelled.copy()
        for side in _halves(self.candidates, self.groups):
            share = self.counts[side] / self.counts[side].sum()
            own = self._signs[1:, side] * relabelled[0, side] / np.where(share < 1, 1 - share, 1.0)
            flipped[1:, side] = own - (own @ self.counts[side])[:, None] / self.counts[side].sum()
        return relabelled, flipped

    @property
    def kinds(self) -> tuple[Moved, ...]:
        """What gives Δ and V under relabellings, of both kinds of null."""
        return self.moments, self._signed

    @cached_property
    def _signs(self) -> Float64[np.ndarray, "label group"]:
        drawn = np.random.default_rng((self.seed, *b"signs")).integers(0, 2, (self.flips + 1, self.groups)) * 2.0 - 1
        return np.concatenate([np.ones((1, self.groups)), drawn])

    def _signed(self, sums: Float64[np.ndarray, "group column"], labels: Labels) -> Moments:
        """Δ and V of residuals with signs, each side by itself."""
        centred, squares = self.centred(sums), np.square
        shift, variance = np.zeros((2, len(self._signs[labels]), sums.shape[1]))
        for side, sign in zip(_halves(self.candidates, self.groups), (1, -1), strict=True):
            own, signs, n = centred[side], self._signs[labels][:, side], self.counts[side].astype(np.float64)
            mean = signs @ own / n.sum()
            spread = squares(own).sum(0) - 2 * mean * ((signs * n) @ own) + squares(mean) * (n @ n)
            variance += np.maximum(spread, 0) * (len(n) / max(len(n) - 1, 1) / n.sum() ** 2)
            shift += sign * mean
        return shift, variance

    def moments(self, sums: Float64[np.ndarray, "group column"], labels: Labels) -> Moments:
        """Δ, and V: the sum of both sides' variances of a mean over groups."""
        n, first = self.counts.astype(np.float64), self.sides[labels]
        squares = np.square(sums)
        shift, variance = np.zeros((2, len(first), sums.shape[1]))
        for side, sign in ((first, 1), (1 - first, -1)):
            total, count = side @ n, side.sum(1)
            mean = side @ sums / total[:, None]
            spread = side @ squares - 2 * mean * ((side * n) @ sums) + np.square(mean) * (side @ n**2)[:, None]
            variance += np.maximum(spread, 0) * (count / np.maximum(count - 1, 1) / total**2)[:, None]
            shift += sign * mean
        return shift, variance

    def centred(self, sums: Float64[np.ndarray, "group column"]) -> Float64[np.ndarray, "group column"]:
        """Each group's sum minus its share of its side's."""
        found = sums.copy()
        for side in _halves(self.candidates, self.groups):
            found[side] -= np.outer(self.counts[side] / self.counts[side].sum(), sums[side].sum(0))
        return found

    def resampled(
        self, sums: Float64[np.ndarray, "group column"], draws: int, seed: int
    ) -> Float64[np.ndarray, "draw column"]:
        """The difference of means of groups drawn on each side."""
        found = np.zeros((draws, sums.shape[1]))
        for place, side in enumerate(_halves(self.candidates, self.groups)):
            own = sums[side]
            taken = _drawn(len(own), draws, seed + place)
            found += (1 - 2 * place) * (taken @ own) / (taken @ self.counts[side])[:, None]
        return found


Design = Paired | Unpaired


def _halves(first: int, groups: int) -> Iterator[slice]:
    yield slice(0, first)
    yield slice(first, groups)


def _drawn(groups: int, draws: int, seed: int) -> Float64[np.ndarray, "draw group"]:
    """How often each group was drawn."""
    taken = np.random.default_rng(seed).integers(0, groups, (draws, groups)) + groups * np.arange(draws)[:, None]
    return np.bincount(taken.ravel(), minlength=draws * groups).reshape(draws, groups).astype(np.float64)
