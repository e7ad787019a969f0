"""How often two things fire on one row: counts of pairs i < j, only those above 0.

Counted by a sparse product where rows hold few, else by a dense one; counts are whole numbers, so both give the same.
Over many batches dense counts are added up in one table and made sparse at the end.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from radiograph.core.shapes import Bool
from radiograph.numerics.explanations import Sparse

_SPARSE_COST = 150.0
"""Dense multiply-adds that take as long as one of the sparse product."""
_TABLE = 1 << 24
"""Entries of a dense table that is kept over batches; and rows up to which float32 counts whole numbers."""


class PairCounts:
    """Pairs of things, added up batch by batch."""

    def __init__(self, things: int) -> None:
        self._things, self._rows = things, 0
        self._table: np.ndarray | None = None
        self._sparse: Sparse | None = None

    def add(self, fires: Bool[np.ndarray, "row thing"]) -> None:
        """Count the rows of a batch."""
        rows, things = fires.shape
        per_row = fires.sum(axis=1, dtype=np.float64)
        if things**2 > _TABLE or _SPARSE_COST * float(per_row @ per_row) < float(rows) * things * things:
            self._join(fired_pairs(fires))
            return
        if self._rows + rows > _TABLE:
            self._flush()
        held = fires.astype(np.float32)
        if self._table is None:
            self._table = np.zeros((things, things), np.float32)
        self._table += held.T @ held
        self._rows += rows

    def counts(self) -> Sparse:
        """[thing, thing], above the diagonal, int64."""
        self._flush()
        return fired_pairs(np.zeros((0, self._things), bool)) if self._sparse is None else self._sparse

    def _flush(self) -> None:
        if self._table is not None:
            self._join(_above(self._table, np.arange(self._things), self._things))
        self._table, self._rows = None, 0

    def _join(self, more: Sparse) -> None:
        self._sparse = more if self._sparse is None else joined(self._sparse, more)


def fired_pairs(fires: Bool[np.ndarray, "row thing"]) -> Sparse:
    """[thing, thing], above the diagonal, int64."""
    from scipy import sparse  # pyright: ignore[reportMissingTypeStubs]

    module: Any = sparse
    rows, things = fires.shape
    per_row = fires.sum(axis=1, dtype=np.float64)
    if _SPARSE_COST * float(per_row @ per_row) < float(rows) * things * things:
        held = module.csr_matrix(fires, dtype=np.int32)
        found = module.triu(held.T.tocsr() @ held, k=1, format="csr").astype(np.int64)
        found.sort_indices()
        return found
    held = fires.astype(np.float32)  # whole numbers are exact in float32 up to 2^24 rows
    live = np.flatnonzero(held.any(axis=0))
    return _above(held[:, live].T @ held[:, live], live, things)


def _above(both: np.ndarray, live: np.ndarray, things: int) -> Sparse:
    """The table of counts above the diagonal of the `live` among all things."""
    from scipy import sparse  # pyright: ignore[reportMissingTypeStubs]

    module: Any = sparse
    i, j = np.divmod(np.flatnonzero(np.triu(both, k=1)), max(1, len(live)))
    found = module.csr_matrix((both[i, j].astype(np.int64), (live[i], live[j])), shape=(things, things))
    found.sort_indices()
    return found


def joined(total: Sparse, more: Sparse) -> Sparse:
    """The sum of two tables of counts, in the one form that equal tables have."""
    found: Any = (total + more).tocsr()
    found.sort_indices()
    return found
