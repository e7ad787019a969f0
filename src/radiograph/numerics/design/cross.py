"""Is every combination of factor levels there, and equally often?

Cells are counted over the rows that have all the factors. `empty` lists the combinations of levels that occur
nowhere; Cramér's V = √(χ² / (n·(min(rows, columns) − 1))) says how far two factors go together, 0 for a balanced cross.
A factor whose levels each lie inside one level of another (towns inside countries) is nested in it, not crossed: V is 1
by construction and empty cells mean nothing.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import numpy as np

MAX_V = 0.1
_ROUNDING = 1e-12
"""χ²/n of a balanced cross in floating point."""


@dataclass(frozen=True)
class Cross:
    """The cells of some crossed factors; levels in the order of their first appearance."""

    n: int
    levels: tuple[tuple[Hashable, ...], ...]
    counts: dict[tuple[Hashable, ...], int]
    nested: bool
    """One factor lies inside another, and not the reverse; of two factors only."""
    v: dict[tuple[int, int], float]
    """Cramér's V of every pair of factors, by their places."""

    @property
    def cells(self) -> int:
        """Combinations of levels."""
        return int(np.prod([len(levels) for levels in self.levels]))

    @property
    def empty(self) -> int:
        """Combinations that occur nowhere."""
        return self.cells - len(self.counts)

    @property
    def fewest(self) -> int:
        """Rows in the emptiest cell."""
        return 0 if self.empty else min(self.counts.values())

    @property
    def most(self) -> int:
        """Rows in the fullest cell."""
        return max(self.counts.values())

    def missing(self, limit: int) -> list[tuple[Hashable, ...]]:
        """The first combinations that occur nowhere."""
        absent = (cell for cell in itertools.product(*self.levels) if cell not in self.counts)
        return list(itertools.islice(absent, limit))


def cross(rows: Sequence[tuple[Hashable, ...]]) -> Cross | None:
    """Count the cells; None unless at least two factors have two levels or more."""
    columns = list(zip(*rows, strict=True))
    levels = tuple(tuple(dict.fromkeys(column)) for column in columns)
    if sum(len(own) > 1 for own in levels) < 2:
        return None
    pairs = itertools.combinations(range(len(columns)), 2)
    v = {(a, b): cramers_v(columns[a], columns[b]) for a, b in pairs}
    nested = len(columns) == 2 and _inside(columns[0], columns[1]) != _inside(columns[1], columns[0])
    return Cross(len(rows), levels, dict(Counter(rows)), nested, v)


def cramers_v(left: Sequence[Hashable], right: Sequence[Hashable]) -> float:
    """Association of two labellings in [0, 1]; 0 where one of them does not vary."""
    pairs, rows, columns = Counter(zip(left, right, strict=True)), Counter(left), Counter(right)
    small = min(len(rows), len(columns)) - 1
    if small < 1:
        return 0.0
    phi = sum(n * n / (rows[a] * columns[b]) for (a, b), n in pairs.items()) - 1
    return float(np.sqrt(min(1.0, phi / small))) if phi > _ROUNDING else 0.0


def _inside(inner: Sequence[Hashable], outer: Sequence[Hashable]) -> bool:
    return len(set(zip(inner, outer, strict=True))) == len(set(inner))
