"""Random choices by name: each is a hash of (key, name), so that a new choice moves no other."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

from radiograph.core import derive

T = TypeVar("T")
_RANGE = 1 << 63


@dataclass(frozen=True, slots=True)
class Draw:
    """The choices of one organism. Floats are rounded to three digits, so that they print as they are."""

    seed: int
    key: tuple[str | int, ...] = ()

    def of(self, *key: str | int) -> Draw:
        """The choices below a name."""
        return Draw(self.seed, (*self.key, *key))

    def derived(self, name: str) -> int:
        """A seed."""
        return derive(self.seed, *self.key, name)

    def number(self, name: str, low: int, high: int) -> int:
        """A whole number from `low` to `high`, both included."""
        return low + self.derived(name) * (high - low + 1) // _RANGE

    def uniform(self, name: str, low: float, high: float) -> float:
        """Between two numbers."""
        return float(f"{low + (high - low) * self.derived(name) / _RANGE:.3g}")

    def log_uniform(self, name: str, low: float, high: float) -> float:
        """Between two positive numbers, each factor as likely as any other."""
        share = self.derived(name) / _RANGE
        return float(f"{math.exp(math.log(low) + share * (math.log(high) - math.log(low))):.3g}")

    def choose(self, name: str, options: Sequence[T]) -> T:
        """One of them."""
        return options[self.number(name, 0, len(options) - 1)]

    def shuffled(self, name: str, options: Sequence[T]) -> list[T]:
        """All of them in another order."""
        order = sorted(range(len(options)), key=lambda i: derive(self.seed, *self.key, name, i))
        return [options[i] for i in order]
