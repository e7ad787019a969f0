"""Spectra of matrices that are read in blocks, so that a large change is never in memory in float64.

A `Matrix` gives any block as floating-point numbers: a NumPy array does, so does a difference of stored tensors.

1. up to 4 M entries: `spectra.spectrum` of the whole
2. min(m, n) ≤ 2,048: exact. QR of blocks stacked on the running triangle (TSQR: Demmel, Grigori, Hoemmen and Langou
   2012), then the SVD of the triangle; a second pass gives the leading left vectors. Wide matrices go by columns.
3. else the randomised range finder of `spectra`, in blocks of rows and in the precision of the blocks
Sums of squares run in float64. Refuses a value that is not finite, with its place.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Protocol

import numpy as np
from jaxtyping import Float, Float64

from radiograph.numerics._finite import finite
from radiograph.numerics.spectra import DENSE_LIMIT, LEADING, OVERSAMPLED, POWER_STEPS, Spectrum, spectrum

WHOLE = 2**22
"""Entries up to which a matrix is taken whole: 32 MiB in float64."""
_BLOCK = 2**20
_FAINT = 1e-7
"""Left vectors of values below this share of the largest are rounding noise in the two-pass route, and left out."""


class Matrix(Protocol):
    """Anything with a shape that gives a block of itself."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Rows and columns."""
        ...

    def __getitem__(self, index: Any, /) -> np.ndarray:
        """The block of two slices, as float32 or float64."""
        ...


def streamed_spectrum(matrix: Matrix, *, dense_limit: int = DENSE_LIMIT, seed: int = 0) -> Spectrum:
    """`spectra.spectrum` with bounded memory; left vectors are the 64 leading ones at most.

    Costs O(mn·min(m, n)) up to `dense_limit`, above it O(mn·80).
    """
    rows, columns = matrix.shape
    if min(rows, columns) > dense_limit:
        return _randomised(matrix, seed)
    if rows * columns <= WHOLE:
        return spectrum(matrix[:, :])
    return _tall(matrix) if rows >= columns else _wide(matrix)


def squared_norm(matrix: Matrix) -> float:
    """‖M‖_F², float64 sums.

    Raises:
        UserError: a value that is not finite.
    """
    total = 0.0
    for rows in _strips(*matrix.shape):
        part = np.asarray(matrix[rows, :], dtype=np.float64).ravel()
        energy = float(part @ part)
        if not np.isfinite(energy):
            finite(matrix[rows, :], f"rows {rows.start} on of the matrix, block")
        total += energy
    return total


def row_norms(matrix: Matrix) -> Float64[np.ndarray, " row"]:
    """Euclidean norm of every row."""
    found = np.empty(matrix.shape[0])
    for rows in _strips(*matrix.shape):
        part = np.asarray(matrix[rows, :], dtype=np.float64)
        found[rows] = np.sqrt(np.einsum("ij,ij->i", part, part))
    return found


def _tall(matrix: Matrix) -> Spectrum:
    rows, columns = matrix.shape
    triangle = np.zeros((0, columns))
    energy = 0.0
    for strip in _strips(rows, columns, least=columns):
        part = finite(matrix[strip, :], "matrix")
        energy += float(np.einsum("ij,ij->", part, part))
        triangle = _triangle(triangle, part)
    _, values, right = np.linalg.svd(triangle, full_matrices=False)
    kept = int((values[:LEADING] > _FAINT * values[:1]).sum())
    left = np.zeros((rows, kept))
    if kept:
        turned = right[:kept].T / values[:kept]
        for strip in _strips(rows, columns):
            left[strip] = np.asarray(matrix[strip, :], dtype=np.float64) @ turned
    return Spectrum(values, left, energy, (rows, columns), "dense")


def _wide(matrix: Matrix) -> Spectrum:
    rows, columns = matrix.shape
    triangle: Float64[np.ndarray, "row row"] = np.zeros((0, rows))
    energy = 0.0
    for strip in _strips(columns, rows, least=rows):
        part = finite(matrix[:, strip], "matrix").T
        energy += float(np.einsum("ij,ij->", part, part))
        triangle = _triangle(triangle, part)
    left, values, _ = np.linalg.svd(triangle.T, full_matrices=False)
    return Spectrum(values, left[:, :LEADING], energy, (rows, columns), "dense")


def _triangle(
    above: Float64[np.ndarray, "known column"], block: Float64[np.ndarray, "row column"]
) -> Float64[np.ndarray, "kept column"]:
    _, triangle = np.linalg.qr(np.vstack([above, block]))
    return triangle


def _randomised(matrix: Matrix, seed: int) -> Spectrum:
    rows, columns = matrix.shape
    energy = squared_norm(matrix)
    directions = np.random.default_rng(seed).standard_normal((columns, LEADING + OVERSAMPLED))
    basis, _ = np.linalg.qr(_times(matrix, directions))
    for _ in range(POWER_STEPS):
        back, _ = np.linalg.qr(_transposed_times(matrix, basis))
        basis, _ = np.linalg.qr(_times(matrix, back))
    right, values, inner = np.linalg.svd(_transposed_times(matrix, basis), full_matrices=False)
    del right
    return Spectrum(values[:LEADING], (basis @ inner.T)[:, :LEADING], energy, (rows, columns), "randomised")


def _times(matrix: Matrix, thin: Float[np.ndarray, "column k"]) -> Float64[np.ndarray, "row k"]:
    product = np.empty((matrix.shape[0], thin.shape[1]))
    for rows in _strips(*matrix.shape):
        part = matrix[rows, :]
        product[rows] = part @ thin.astype(part.dtype)
    return product


def _transposed_times(matrix: Matrix, thin: Float[np.ndarray, "row k"]) -> Float64[np.ndarray, "column k"]:
    product = np.zeros((matrix.shape[1], thin.shape[1]))
    for rows in _strips(*matrix.shape):
        part = matrix[rows, :]
        product += part.T @ thin[rows].astype(part.dtype)
    return product


def _strips(length: int, other: int, least: int = 1) -> Iterator[slice]:
    """Cuts of one dimension into blocks of about a million entries, and of at least `least` lines."""
    step = max(_BLOCK // max(other, 1), least, 1)
    for start in range(0, length, step):
        yield slice(start, min(start + step, length))
