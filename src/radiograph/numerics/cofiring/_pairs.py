"""How often two things fire on one row: counts of pairs i < j, only those above 0.

Counted by a sparse product where rows hold few, else by a dense one; counts are whole numbers, so both give the same.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from jaxtyping import Bool

from radiograph.numerics.explanations import Sparse

_SPARSE_COST = 150.0
"""Dense multiply-adds that take as long as one of the sparse product."""


def fired_pairs(fires: Bool[np.ndarray, "row thing"]) -> Sparse:
    """[thing, thing], above the diagonal, int64."""
    from scipy import sparse  # pyright: ignore[reportMissingTypeStubs]

    module: Any = sparse
    rows, things = fires.shape
    per_row = fires.sum(axis=1, dtype=np.float64)
    if _SPARSE_COST * float(per_row @ per_row) < float(rows) * things * things:
        held = module.csr_matrix(fires, dtype=np.int32)
        found = module.triu(held.T.tocsr() @ held, k=1, format="csr")
    else:
        held = fires.astype(np.float32)  # whole numbers are exact in float32 up to 2^24 rows
        live = np.flatnonzero(held.any(axis=0))
        both = np.triu(held[:, live].T @ held[:, live], k=1)
        i, j = np.nonzero(both)
        found = module.csr_matrix((both[i, j], (live[i], live[j])), shape=(things, things))
    found = found.astype(np.int64)
    found.sort_indices()
    return found


def joined(total: Sparse, more: Sparse) -> Sparse:
    """The sum of two tables of counts, in the one form that equal tables have."""
    found: Any = (total + more).tocsr()
    found.sort_indices()
    return found
