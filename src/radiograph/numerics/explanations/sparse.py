"""Sparse tables, compressed by row: the one place that names SciPy's class."""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np

from radiograph.core.shapes import Int64, Shaped

Sparse: TypeAlias = Any
"""A `scipy.sparse.csr_matrix`, whose stubs are not typed."""


def csr(
    values: Shaped[np.ndarray, " entry"],
    rows: Shaped[np.ndarray, " entry"],
    columns: Shaped[np.ndarray, " entry"],
    shape: tuple[int, int],
) -> Sparse:
    """A table from its entries, no two of one place."""
    from scipy.sparse import csr_matrix  # pyright: ignore[reportUnknownVariableType, reportMissingTypeStubs]

    made: Any = csr_matrix((values, (rows, columns)), shape=shape)
    made.sort_indices()
    return made


def marked(rows: Shaped[np.ndarray, " entry"], columns: Shaped[np.ndarray, " entry"], shape: tuple[int, int]) -> Sparse:
    """A table of ones."""
    return csr(np.ones(len(rows)), rows, columns, shape)


def ones(table: Sparse) -> Sparse:
    """The same places, each 1."""
    made = table.tocsr().copy()
    made.data = np.ones(len(made.data))
    return made


def scaled(table: Sparse, by: Shaped[np.ndarray, " row"]) -> Sparse:
    """Each row times a number."""
    from scipy.sparse import diags  # pyright: ignore[reportUnknownVariableType, reportMissingTypeStubs]

    found: Any = diags(by.astype(np.float64)) @ table
    return found.tocsr()


def owners(table: Sparse) -> Int64[np.ndarray, " entry"]:
    """The row of each entry."""
    return np.repeat(np.arange(table.shape[0], dtype=np.int64), np.diff(table.indptr))
