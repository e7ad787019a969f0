"""The best partner of every feature on both sides, the runner-up, and a pairing one to one.

1. One pass over the blocks: best and second best of every row and column.
2. Up to 5,000 × 5,000 the whole table is kept (4 bytes a pair) and paired exactly (Kuhn 1955, as SciPy solves it, which
   copies it to 8 bytes). Beyond it the 32 best of every row and column are kept, and the sum of similarities over these
   pairs is made as large as it can be (Jonker and Volgenant 1987, sparse); a feature may stay alone, at −1.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple, cast

import numpy as np

from radiograph.core.shapes import Float, Float32, Float64, Int64
from radiograph.numerics.dictionaries.assignment import assignment
from radiograph.numerics.matching._similarity import Similarity

EXACT = 5000
CANDIDATES = 32
_ALONE = -1.0
"""What a feature without a partner is worth."""


class Best(NamedTuple):
    """Of every feature of one side."""

    places: Int64[np.ndarray, "feature 2"]
    """The best partner and the runner-up; −1 where there is none."""
    scores: Float64[np.ndarray, "feature 2"]
    """−∞ where there is none."""


@dataclass(frozen=True, eq=False)
class Found:
    """Partners of both sides, and the pairing."""

    left: Best
    right: Best
    assigned: Int64[np.ndarray, " left"]
    """The right feature of each left one; −1 without."""


class _Running:
    """The two best and the candidates of one side, block after block."""

    def __init__(self, features: int, kept: int) -> None:
        self.best = Best(np.full((features, 2), -1, dtype=np.int64), np.full((features, 2), -np.inf))
        self.places = np.full((features, kept), -1, dtype=np.int64)
        self.values = np.full((features, kept), -np.inf, dtype=np.float32)

    def take(self, rows: slice, columns: int, values: Float[np.ndarray, "row column"]) -> None:
        """Similarities of `rows` with the columns that begin at `columns`; `values` are spoilt."""
        if kept := self.places.shape[1]:
            all_values = np.concatenate([self.values[rows], values.astype(np.float32)], axis=1)
            here = np.broadcast_to(np.arange(columns, columns + values.shape[1], dtype=np.int64), values.shape)
            all_places = np.concatenate([self.places[rows], here], axis=1)
            chosen = np.argpartition(-all_values, kept - 1, axis=1)[:, :kept]
            self.values[rows] = np.take_along_axis(all_values, chosen, 1)
            self.places[rows] = np.take_along_axis(all_places, chosen, 1)
        places, scores = [self.best.places[rows]], [self.best.scores[rows]]
        for _ in range(min(2, values.shape[1])):
            place = values.argmax(axis=1)[:, None]
            places.append(place + columns)
            scores.append(np.take_along_axis(values, place, 1).astype(np.float64))
            np.put_along_axis(values, place, -np.inf, 1)
        four, all_four = np.concatenate(scores, axis=1), np.concatenate(places, axis=1)
        order = np.argsort(-four, axis=1, kind="stable")[:, :2]
        self.best.scores[rows] = np.take_along_axis(four, order, 1)
        self.best.places[rows] = np.take_along_axis(all_four, order, 1)


def search(similarity: Similarity, *, exact: int = EXACT, candidates: int = CANDIDATES) -> Found:
    """Partners of every feature; a side without features has none."""
    lefts, rights = similarity.left.table.features, similarity.right.table.features
    whole = max(lefts, rights) <= exact
    kept = 0 if whole else candidates
    left, right = _Running(lefts, kept), _Running(rights, kept)
    table = np.empty((lefts, rights) if whole else (0, 0), dtype=np.float32)
    for part in similarity.blocks():
        rows = slice(part.left, part.left + part.values.shape[0])
        columns = slice(part.right, part.right + part.values.shape[1])
        if whole:
            table[rows, columns] = part.values
        turned = np.ascontiguousarray(part.values.T)
        left.take(rows, part.right, part.values)
        right.take(columns, part.left, turned)
    assigned = _exactly(table) if whole else _among_candidates(left, right)
    return Found(left.best, right.best, assigned)


def _exactly(table: Float32[np.ndarray, "left right"]) -> Int64[np.ndarray, " left"]:
    left, right = assignment(table)
    assigned = np.full(len(table), -1, dtype=np.int64)
    assigned[left] = right
    return assigned


def _among_candidates(left: _Running, right: _Running) -> Int64[np.ndarray, " left"]:
    """Each left feature also has a partner of its own that means to stay alone, so that a full pairing exists."""
    from scipy import sparse  # pyright: ignore[reportMissingTypeStubs]
    from scipy.sparse import csgraph  # pyright: ignore[reportMissingTypeStubs]

    lefts, rights = len(left.places), len(right.places)
    one = np.concatenate([np.repeat(np.arange(lefts), left.places.shape[1]), right.places.ravel()])
    two = np.concatenate([left.places.ravel(), np.repeat(np.arange(rights), right.places.shape[1])])
    value = np.concatenate([left.values.ravel(), right.values.ravel()]).astype(np.float64)
    real = (one >= 0) & (two >= 0)
    _, first = np.unique(one[real] * rights + two[real], return_index=True)
    one = np.concatenate([one[real][first], np.arange(lefts)])
    two = np.concatenate([two[real][first], rights + np.arange(lefts)])
    # Costs must not be 0, which means no edge.
    cost = 2.0 - np.concatenate([value[real][first], np.full(lefts, _ALONE)])
    graph = cast(Any, sparse).csr_matrix((cost, (one, two)), shape=(lefts, rights + lefts))
    rows, columns = cast(Any, csgraph).min_weight_full_bipartite_matching(graph)
    assigned = np.full(lefts, -1, dtype=np.int64)
    assigned[rows] = np.where(columns < rights, columns, -1)
    return assigned
