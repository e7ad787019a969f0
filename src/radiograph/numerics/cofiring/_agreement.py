"""Do several groupings of the same things agree, and would any groupings of these sizes?

1. groups of two groupings are paired one to one so that as many things as possible are in paired groups (Hungarian)
2. distance = share of the things that are not: a Hamming distance after relabelling, 0 for equal groupings
3. chance: the same with the members of each grouping permuted, so that sizes stay. Groupings of single things alone
   agree by themselves, and only this level says so
"""

from __future__ import annotations

from itertools import combinations
from typing import Any, NamedTuple, cast

import numpy as np

from radiograph.core.shapes import Float64, Int
from radiograph.numerics.dictionaries.assignment import assignment

DRAWS = 20


class Agreement(NamedTuple):
    """Over pairs of groupings."""

    distances: Float64[np.ndarray, " pair"]
    chance: Float64[np.ndarray, "pair draw"]


def agreement(groupings: Int[np.ndarray, "grouping thing"], *, draws: int = DRAWS, seed: int = 0) -> Agreement:
    """Of every pair of groupings."""
    luck = np.random.default_rng(seed)
    pairs = list(combinations(range(len(groupings)), 2))
    found = np.array([_distance(groupings[i], groupings[j]) for i, j in pairs])
    chance = [[_distance(luck.permutation(groupings[i]), groupings[j]) for _ in range(draws)] for i, j in pairs]
    return Agreement(found, np.array(chance).reshape(len(pairs), draws))


def _distance(one: Int[np.ndarray, " thing"], other: Int[np.ndarray, " thing"]) -> float:
    """Only overlaps can be paired with gain, so the table of them may be as sparse as it likes."""
    _, left = np.unique(one, return_inverse=True)
    _, right = np.unique(other, return_inverse=True)
    table = np.zeros((int(left.max(initial=-1)) + 1, int(right.max(initial=-1)) + 1))
    np.add.at(cast(Any, table), (left, right), 1)
    rows, columns = assignment(table)
    return 1.0 - float(table[rows, columns].sum()) / max(1, len(one))
