"""Mean and variance of rows that arrive in parts, in float64 (Chan, Golub and LeVeque 1983).

Parts merged in one order give the same bits; the sum of squares is taken about the mean of each part, so a large
offset costs no digits.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray


@dataclass(eq=False, slots=True)
class Moments:
    """Running count, mean and squared deviations per column; `add` rows or `merge` another."""

    width: int
    count: int = 0
    mean: NDArray[np.float64] = field(init=False)
    deviations: NDArray[np.float64] = field(init=False)
    """Σ (x − mean)² per column."""

    def __post_init__(self) -> None:
        self.mean = np.zeros(self.width)
        self.deviations = np.zeros(self.width)

    def add(self, rows: NDArray[np.floating]) -> None:
        """Take in rows [row, width] of any float type."""
        if not len(rows):
            return
        values = rows.astype(np.float64)
        mean = values.mean(0)
        self._merge(len(values), mean, np.square(values - mean).sum(0))

    def merge(self, other: Moments) -> None:
        """Take in everything that another one has seen."""
        self._merge(other.count, other.mean, other.deviations)

    @property
    def total(self) -> float:
        """Σ ‖x − mean‖² over everything seen."""
        return float(self.deviations.sum())

    @property
    def variance(self) -> float:
        """Mean of ‖x − mean‖²; 0 before any row."""
        return self.total / self.count if self.count else 0.0

    def _merge(self, count: int, mean: NDArray[np.float64], deviations: NDArray[np.float64]) -> None:
        both = self.count + count
        if not count:
            return
        step = mean - self.mean
        self.mean = self.mean + step * (count / both)
        self.deviations = self.deviations + deviations + np.square(step) * (self.count * count / both)
        self.count = both
