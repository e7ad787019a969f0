"""Quantiles from counts in logarithmic bins that merge by addition (DDSketch: Masson, Rim and Lee 2019).

1. a value's bin follows from sign, exponent and nine leading bits of its float32: no logarithm is taken, so every
   machine gives the same counts, and any number of workers the same sum
2. 20 bins to the octave from 2^-16 to 2^16, on both sides; smaller values count as zero, larger ones into the last bin
3. a bin [a, b) stands for 2ab/(a + b), which is within (b − a)/(b + a) < 2 % of everything in it; extremes are exact
4. a quantile interpolates between the two nearest ranks as NumPy does by default
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cache

import numpy as np

from radiograph.core import UserError
from radiograph.core.shapes import Float32, Float64, Int64, UInt32

ERROR = 0.02
"""Largest relative error of a quantile, for values between 2^-16 and 2^16."""
PER_OCTAVE = 20
LOWEST, HIGHEST = -16, 16
SIDE = PER_OCTAVE * (HIGHEST - LOWEST)
BINS = 2 * SIDE + 1
_SHIFT = 14
"""Mantissa bits that do not matter."""
_TABLE = 2**20


@dataclass(eq=False, slots=True)
class LogBins:
    """Counts per unit and bin; bin `SIDE` is zero, negative values lie below it."""

    width: int
    counts: UInt32[np.ndarray, "width bins"] = field(init=False)

    def __post_init__(self) -> None:
        self.counts = np.zeros((self.width, BINS), np.uint32)

    def add(self, rows: Float32[np.ndarray, "row width"]) -> None:
        """Count rows."""
        chosen = _table()[(np.ascontiguousarray(rows).view(np.uint32) >> _SHIFT)]
        step = max(_TABLE // BINS, 1)
        for start in range(0, self.width, step):
            part = chosen[:, start : start + step]
            units = part.shape[1]
            flat = (part + np.arange(units, dtype=np.int64) * BINS).ravel()
            self.counts[start : start + units] += (
                np.bincount(flat, minlength=units * BINS).reshape(units, BINS).astype(np.uint32)
            )

    def merge(self, other: LogBins) -> None:
        """Take in everything that another one has counted."""
        self.counts += other.counts

    def at(
        self, rank: int, low: Float64[np.ndarray, " width"], high: Float64[np.ndarray, " width"]
    ) -> Float64[np.ndarray, " width"]:
        """The value of every unit at a rank from 0, extremes exact."""
        values = centres()
        found = np.empty(self.width)
        for start in range(0, self.width, step := max(_TABLE // BINS, 1)):
            part = slice(start, start + step)
            below = np.cumsum(self.counts[part], axis=1, dtype=np.int64)
            last = below[:, -1]
            place = (below <= rank).sum(1).clip(max=BINS - 1)
            found[part] = np.where(rank >= last - 1, high[part], values[place].clip(low[part], high[part]))
        return low.copy() if rank <= 0 else found

    def quantiles(
        self, q: float, n: int, low: Float64[np.ndarray, " width"], high: Float64[np.ndarray, " width"]
    ) -> Float64[np.ndarray, " width"]:
        """The q quantile of every unit over n values.

        Raises:
            UserError: q outside 0 to 1.
        """
        if not 0 <= q <= 1:
            raise UserError(f"q{q:g} is no quantile", expected="q0 to q1", code="bad_quantile")
        place = q * (n - 1)
        rank = int(place)
        lower = self.at(rank, low, high)
        if place == rank:
            return lower
        return lower + (self.at(rank + 1, low, high) - lower) * (place - rank)

    def spread(
        self,
        centre: Float64[np.ndarray, " width"],
        low: Float64[np.ndarray, " width"],
        high: Float64[np.ndarray, " width"],
    ) -> Float64[np.ndarray, " width"]:
        """Mean |x − centre| of every unit."""
        values = centres()
        found = np.empty(self.width)
        for start in range(0, self.width, step := max(_TABLE // BINS, 1)):
            part = slice(start, start + step)
            far = np.abs(values.clip(low[part, None], high[part, None]) - centre[part, None])
            counts = self.counts[part].astype(np.float64)
            found[part] = (counts * far).sum(1) / counts.sum(1).clip(min=1)
        return found

    def one(self, unit: int) -> LogBins:
        """The counts of one unit."""
        found = LogBins(1)
        found.counts = self.counts[unit : unit + 1].copy()
        return found

    def mirrored(self) -> LogBins:
        """The counts of −x."""
        found = LogBins(self.width)
        found.counts = self.counts[:, ::-1].copy()
        return found


def edges() -> Float64[np.ndarray, " edge"]:
    """Where the bins of positive values begin, and where the last ends."""
    values, place = _positive()
    first = np.searchsorted(place, np.arange(SIDE))
    return np.append(values[first], 2.0**HIGHEST)


@cache
def centres() -> Float64[np.ndarray, " bin"]:
    """What each bin stands for."""
    bounds = edges()
    positive = 2 * bounds[:-1] * bounds[1:] / (bounds[:-1] + bounds[1:])
    return np.concatenate([-positive[::-1], [0.0], positive])


@cache
def _table() -> Int64[np.ndarray, " key"]:
    """Bin by the leading 18 bits of a float32."""
    keys = np.arange(2 ** (32 - _SHIFT), dtype=np.uint32) << np.uint32(_SHIFT)
    with np.errstate(invalid="ignore"):
        values = np.abs(keys.view(np.float32).astype(np.float64))
    place = np.zeros(len(keys), np.int64)
    real = np.isfinite(values) & (values >= 2.0**LOWEST)
    place[real] = _place(values[real]) + 1
    place[~np.isfinite(values)] = SIDE
    return SIDE + np.where(keys >= 2**31, -place, place)


def _positive() -> tuple[Float64[np.ndarray, " key"], Int64[np.ndarray, " key"]]:
    keys = np.arange(2 ** (31 - _SHIFT), dtype=np.uint32) << np.uint32(_SHIFT)
    held = keys.view(np.float32)
    values = held[np.isfinite(held)].astype(np.float64)
    values = values[(values >= 2.0**LOWEST) & (values < 2.0**HIGHEST)]
    return values, _place(values)


def _place(values: Float64[np.ndarray, " key"]) -> Int64[np.ndarray, " key"]:
    return np.floor((np.log2(values) - LOWEST) * PER_OCTAVE).astype(np.int64).clip(0, SIDE - 1)
