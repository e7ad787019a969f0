"""Bases of planes, and vectors that come with their rows: captures, tensor files with a table, foreign archives."""

from radiograph.store.planes._basis import StoredBasis, basis_bytes, open_basis
from radiograph.store.planes._rows import BASELINE, VectorRows, WrittenColumns, open_rows, read_named_vectors

__all__ = [
    "BASELINE",
    "StoredBasis",
    "VectorRows",
    "WrittenColumns",
    "basis_bytes",
    "open_basis",
    "open_rows",
    "read_named_vectors",
]
