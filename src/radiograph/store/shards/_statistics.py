"""Statistics of a source's rows: mean and variance in float64, lengths in a histogram, the longest row.

Each shard carries its own; they are merged in the order of the shards, so nothing depends on who wrote which.
Lengths fall into 256 bins, eight to an octave, from 2^-16 to 2^16; shorter and longer rows into the outermost.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from radiograph.core.shapes import Int
from radiograph.numerics.moments import Moments

if TYPE_CHECKING:
    from torch import Tensor

BINS = 256
PER_OCTAVE = 8
LOWEST = -16
BLOCK = 16_384


@dataclass(eq=False)
class Statistics:
    """Of the rows of one source."""

    moments: Moments
    histogram: Int[np.ndarray, " 256"]
    largest: float = 0.0

    @classmethod
    def empty(cls, width: int) -> Statistics:
        """Of no rows."""
        return cls(Moments(width), np.zeros(BINS, np.int64))

    @classmethod
    def of(cls, rows: Tensor) -> Statistics:
        """Of rows [row, width] of any float type."""
        found = cls.empty(rows.shape[1])
        for part in rows.split(BLOCK):
            values = part.float().numpy()
            found.moments.add(values)
            norms = np.sqrt(np.einsum("rw,rw->r", values, values, dtype=np.float64))
            found.histogram += np.bincount(_bins(norms), minlength=BINS)
            found.largest = max(found.largest, float(norms.max(initial=0.0)))
        return found

    def merge(self, other: Statistics) -> None:
        """Take in everything that another one has seen."""
        self.moments.merge(other.moments)
        self.histogram = self.histogram + other.histogram
        self.largest = max(self.largest, other.largest)

    def arrays(self, prefix: str) -> dict[str, NDArray[np.generic]]:
        """As named arrays; the count of rows stands elsewhere."""
        return {
            f"{prefix}/mean": self.moments.mean,
            f"{prefix}/deviations": self.moments.deviations,
            f"{prefix}/histogram": self.histogram,
            f"{prefix}/largest": np.array([self.largest]),
        }

    @classmethod
    def restored(cls, arrays: dict[str, NDArray[np.generic]], prefix: str, count: int) -> Statistics:
        """What `arrays` made."""
        mean = arrays[f"{prefix}/mean"].astype(np.float64)
        moments = Moments(len(mean), count)
        moments.mean, moments.deviations = mean, arrays[f"{prefix}/deviations"].astype(np.float64)
        largest = float(arrays[f"{prefix}/largest"][0])
        return cls(moments, arrays[f"{prefix}/histogram"].astype(np.int64), largest)


def edges() -> NDArray[np.float64]:
    """Lengths at which the bins of the histogram begin, and at which the last one ends."""
    return 2.0 ** (LOWEST + np.arange(BINS + 1) / PER_OCTAVE)


def _bins(norms: NDArray[np.float64]) -> NDArray[np.int64]:
    exponents = np.log2(np.maximum(norms, np.finfo(np.float64).tiny))
    return np.clip((exponents - LOWEST) * PER_OCTAVE, 0, BINS - 1).astype(np.int64)
