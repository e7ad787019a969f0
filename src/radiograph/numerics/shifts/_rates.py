"""Codes of both sides: how often a feature fires, how much, and what changed, by group.

1. tile by tile and block by block of features: sums of codes and counts of active rows per run of a group, counts in
   bytes, then added in order; codes of more than a block of a tile never exist
2. rates and means over all tokens; discordant counts where the tokens are the same; the variance of a difference from
   groups, as for shifts
3. a rate of 0 in n tokens has the upper bound 3/n, which takes tokens for independent: groups in which nothing fires
   say nothing of how they differ. A mean when active is not measured where nothing fired, and below 12 groups no rate
   has crossed anything
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

import numpy as np
from numpy.typing import NDArray

from radiograph.core.shapes import Float, Float64, Int
from radiograph.numerics.shifts._design import LEAST_GROUPS, Design
from radiograph.numerics.shifts._features import ratio

EDGE: Final = 1e-4
"""Rate that a recruited or silenced feature crosses."""


@dataclass(eq=False)
class CodeSums:
    """Per group and feature: Σ of codes, and rows where the code is not zero."""

    groups: int
    features: int
    paired: bool
    values: Float64[np.ndarray, "row feature"] = field(init=False)
    """Candidate − reference by group, or the candidate's groups and then the reference's where they are others."""
    totals: Float64[np.ndarray, "side feature"] = field(init=False)
    active: Int[np.ndarray, "side group feature"] = field(init=False)
    both: Int[np.ndarray, " feature"] = field(init=False)
    """Rows on which a feature fires on both sides."""
    rows: NDArray[np.int64] = field(init=False)

    def __post_init__(self) -> None:
        self.values = np.zeros((self.groups if self.paired else 2 * self.groups, self.features))
        self.totals = np.zeros((2, self.features))
        self.active = np.zeros((2, self.groups, self.features), np.int32)
        self.both, self.rows = np.zeros(self.features, np.int64), np.zeros(2, np.int64)

    def add(
        self,
        side: int,
        codes: Float[np.ndarray, "row part"],
        block: slice,
        starts: Int[np.ndarray, " run"],
        owners: Int[np.ndarray, " run"],
    ) -> NDArray[np.bool_]:
        """Take in one side of a tile; returns where codes are active."""
        on = codes != 0
        values, active = self.values[:, block], self.active[side, :, block]
        own, sign = (0, 2 * side - 1) if self.paired else ((1 - side) * self.groups, 1)
        # A loop over runs, of which a tile has few: `np.add.at` takes five times as long.
        for owner, total, count in zip(
            owners.tolist(), np.add.reduceat(codes, starts, axis=0), _counted(on, starts), strict=True
        ):
            values[own + owner] += sign * total
            self.totals[side, block] += total
            active[owner] += count
        return on

    def add_both(self, first: NDArray[np.bool_], second: NDArray[np.bool_], block: slice) -> None:
        """Take in where both sides of the same rows are active."""
        starts = np.arange(0, len(first), 128)
        self.both[block] += _counted(first & second, starts).sum(0, dtype=np.int64)

    def fired(self, block: slice = slice(None)) -> Float64[np.ndarray, "row feature"]:
        """Rows where a code is not zero, in the order of `values`."""
        table = self.active[:, :, block]
        if self.paired:
            return np.subtract(table[1], table[0], dtype=np.float64)
        return np.concatenate([table[1], table[0]]).astype(np.float64)


def _counted(on: NDArray[np.bool_], starts: NDArray[np.integer]) -> NDArray[np.uint8]:
    """Active rows of each run; a run has at most 128 rows."""
    return np.add.reduceat(on.view(np.uint8), starts, axis=0, dtype=np.uint8)


@dataclass(frozen=True, eq=False)
class FeatureRates:
    """Per feature: both sides and what changed."""

    rate_ref: Float64[np.ndarray, " feature"]
    rate_cand: Float64[np.ndarray, " feature"]
    t_rate: Float64[np.ndarray, " feature"]
    turned_on: Int[np.ndarray, " feature"] | None
    turned_off: Int[np.ndarray, " feature"] | None
    mean_ref: Float64[np.ndarray, " feature"]
    mean_cand: Float64[np.ndarray, " feature"]
    active_ref: Float64[np.ndarray, " feature"]
    """Mean when active; NaN where it never fired."""
    active_cand: Float64[np.ndarray, " feature"]
    crossed: Int[np.ndarray, " feature"]
    """1: the rate rose above 1e-4 beyond its interval; −1: it fell below."""

    @property
    def delta(self) -> Float64[np.ndarray, " feature"]:
        """Change of the mean code."""
        return self.mean_cand - self.mean_ref


def feature_rates(sums: CodeSums, design: Design, counts: Int[np.ndarray, "side group"]) -> FeatureRates:
    """Rates, means and their changes.

    Args:
        sums: of both sides.
        design: gives the variance of a difference.
        counts: tokens of each side and group.
    """
    n = counts.sum(1).astype(np.float64)
    fired = sums.active.sum(1, dtype=np.int64)
    total = sums.totals
    change = sums.fired()
    error = np.sqrt(design.moments(change, slice(0, 1))[1][0])
    rate = fired / n[:, None]
    with np.errstate(divide="ignore", invalid="ignore"):
        mean_active = np.where(fired > 0, total / fired, np.nan)
    low, high = zip(*(_bounds(sums.active[side], counts[side]) for side in (0, 1)), strict=True)
    rose, fell = (high[0] < EDGE) & (low[1] > EDGE), (low[0] > EDGE) & (high[1] < EDGE)
    crossed: NDArray[np.int64] = rose.astype(np.int64) - fell
    if design.groups < LEAST_GROUPS:
        crossed[:] = 0
    mean = total / n[:, None]
    return FeatureRates(
        rate[0],
        rate[1],
        ratio(rate[1] - rate[0], error),
        fired[1] - sums.both if sums.paired else None,
        fired[0] - sums.both if sums.paired else None,
        mean[0],
        mean[1],
        mean_active[0],
        mean_active[1],
        crossed,
    )


def _bounds(
    active: Int[np.ndarray, "group feature"], counts: Int[np.ndarray, " group"]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """95 % bounds of each feature's rate, from the spread of groups; 3/n and its mirror where there is none."""
    n, groups = float(counts.sum()), len(counts)
    rate = active.sum(0) / n
    off = active - np.outer(counts, rate)
    error = 1.96 * np.sqrt(np.square(off).sum(0) * (groups / max(groups - 1, 1))) / n
    low, high = rate - error, rate + error
    return np.where(rate == 1, 1 - 3 / n, low), np.where(rate == 0, 3 / n, high)
