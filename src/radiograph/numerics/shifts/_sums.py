"""Sums of rows by group, and the spread of rows, in float64 and in one fixed order.

1. rows come in tiles; inside a tile, runs of one group of at most 128 rows are summed, and the sums added in order
2. groups are merged into at most so many bins by a keyed hash of their name, never by place
3. the spread of rows is that of their differences from the first tile's mean, so that a large offset costs no digits;
   products are float32, float64 where those would overflow or vanish
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from radiograph.core.shapes import Float, Float64, Int

SAFE: Final = (1e-12, 1e12)
"""Differences whose products float32 holds."""
RUN: Final = 128
"""Most rows of a run: counts of a run fit into a byte."""
BLOCK_ROWS: Final = 32
"""Rows of a block where nothing says which rows belong together, at first."""
ALIKE: Final = 0.05
"""Correlation of neighbouring blocks from which on they are one group: a tenth of variance that is not seen."""
CHANCE: Final = 2.0
"""Standard deviations."""


def keyed_bins(names: NDArray[Any], bins: int, key: str) -> Int[np.ndarray, " name"]:
    """The bin of each name; the names as they stand where there are no more than bins.

    Equal numbers of names fall into every bin (they are dealt in the order of their hashes), so that no bin is empty.
    """
    if len(names) <= bins:
        return np.arange(len(names))
    digests = [hashlib.blake2b(f"{key}\0{name}".encode(), digest_size=8).digest() for name in names.tolist()]
    order = sorted(range(len(names)), key=digests.__getitem__)
    found = np.empty(len(names), np.int64)
    found[order] = np.arange(len(names)) % bins
    return found


def segments(groups: Int[np.ndarray, " row"]) -> tuple[Int[np.ndarray, " run"], Int[np.ndarray, " run"]]:
    """First rows of the runs of one group, and the group of each run."""
    changes = np.flatnonzero(np.diff(groups)) + 1
    starts = np.union1d(np.arange(0, len(groups), RUN), changes)
    return starts, groups[starts]


@dataclass(eq=False)
class GroupSums:
    """Σ of rows per group."""

    groups: int
    width: int
    sums: Float64[np.ndarray, "group width"] = field(init=False)
    counts: Int[np.ndarray, " group"] = field(init=False)

    def __post_init__(self) -> None:
        self.sums = np.zeros((self.groups, self.width))
        self.counts = np.zeros(self.groups, np.int64)

    def add(self, rows: Float[np.ndarray, "row width"], groups: Int[np.ndarray, " row"]) -> None:
        """Take in a tile."""
        starts, owners = segments(groups)
        np.add.at(self.sums, owners, np.add.reduceat(rows, starts, axis=0, dtype=np.float64))
        self.counts += np.bincount(groups, minlength=self.groups)

    def merged(self, bins: Int[np.ndarray, " group"]) -> GroupSums:
        """The same by bins of groups."""
        found = GroupSums(int(bins.max()) + 1, self.width)
        np.add.at(found.sums, bins, self.sums)
        np.add.at(found.counts, bins, self.counts)
        return found


def independent(parts: Sequence[GroupSums]) -> int:
    """How many neighbouring blocks of rows have to be one group, so that neighbours are no longer alike; a power of 2.

    r = Σ⟨c_g, c_g+1⟩ / Σ‖c_g‖² over what each block is off its mean, + 1/G for the mean taken; of several parts (sides)
    the largest. Blocks are joined in pairs while r exceeds .05, beyond what blocks that are not alike give by chance
    (their products add up with random signs), and while two are left.
    """
    factor = 1
    held = list(parts)
    while any(_alike(part) for part in held):
        factor *= 2
        held = [part.merged(np.arange(part.groups) // 2) for part in held]
    return factor


def block_length(values: Float[np.ndarray, "row column"]) -> int:
    """Rows of blocks whose neighbours are not alike; columns count as they are scaled."""
    blocks = np.arange(len(values)) // BLOCK_ROWS
    sums = GroupSums(int(blocks[-1]) + 1, values.shape[1])
    sums.add(values, blocks)
    return BLOCK_ROWS * independent([sums])


def _alike(part: GroupSums) -> bool:
    own = part.sums[part.counts > 0]
    if len(own) < 2:
        return False
    off = own - np.outer(part.counts[part.counts > 0] / part.counts.sum(), own.sum(0))
    squares = float(np.einsum("gw,gw->", off, off))
    products = np.einsum("gw,gw->g", off[1:], off[:-1])
    r = float(products.sum()) / squares + 1 / len(own) if squares else 0.0
    return r > ALIKE and products.sum() > CHANCE * float(np.sqrt(np.square(products).sum()))


@dataclass(eq=False)
class RowSpread:
    """Mean and covariance of rows."""

    width: int
    whole: bool = True
    """False: the trace alone, where a matrix of width × width is too large."""
    count: int = field(default=0, init=False)
    origin: NDArray[np.float32] = field(init=False)
    total: Float64[np.ndarray, " width"] = field(init=False)
    squares: Float64[np.ndarray, "..."] = field(init=False)

    def __post_init__(self) -> None:
        self.origin = np.zeros(self.width, np.float32)
        self.total = np.zeros(self.width)
        self.squares = np.zeros((self.width, self.width) if self.whole else self.width)

    def add(self, rows: Float[np.ndarray, "row width"]) -> None:
        """Take in a tile."""
        if not self.count:
            self.origin = rows.mean(0, dtype=np.float64).astype(np.float32)
        with np.errstate(over="ignore"):
            off: NDArray[np.floating] = np.subtract(rows, self.origin, dtype=np.float32)
        peak = max(float(off.max()), -float(off.min()))
        if peak and not SAFE[0] < peak < SAFE[1]:
            off = np.subtract(rows, self.origin, dtype=np.float64)
        self.count += len(rows)
        self.total += off.sum(0, dtype=np.float64)
        self.squares += off.T @ off if self.whole else np.square(off).sum(0, dtype=np.float64)

    @property
    def trace(self) -> float:
        """Mean of ‖x − x̄‖²."""
        mean = self.total / self.count
        diagonal = self.squares.diagonal() if self.whole else self.squares
        return float(np.maximum(diagonal / self.count - mean**2, 0).sum())

    @property
    def covariance(self) -> Float64[np.ndarray, "width width"]:
        """Mean of (x − x̄)(x − x̄)ᵀ."""
        mean = self.total / self.count
        return self.squares / self.count - np.outer(mean, mean)
