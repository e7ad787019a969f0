"""Spectra of matrices that are read in blocks, so that a large change is never in memory in float64.

A `Matrix` gives any block as floating-point numbers: a NumPy array does, so does a difference of stored tensors.

1. up to 4 M entries: `spectra.spectrum` of the whole
2. min(m, n) ≤ 2,048: exact. QR of blocks below the running triangle R (Demmel, Grigori, Hoemmen and Langou 2012), all
   singular values from R, the leading vectors from RᵀR. Wide matrices go by columns.
3. else the randomised range finder of `spectra`, in blocks of rows and in the precision of the blocks
Sums of squares run in float64. Refuses a value that is not finite, with its place.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, Protocol, cast, runtime_checkable

import numpy as np

from radiograph.core.shapes import Float, Float64
from radiograph.numerics._finite import finite
from radiograph.numerics.spectra import DENSE_LIMIT, LEADING, OVERSAMPLED, POWER_STEPS, Spectrum, spectrum

WHOLE = 2**22
"""Entries up to which a matrix is taken whole: 32 MiB in float64."""
_BLOCK = 2**20
_PANEL = 64
_FAINT = 1e-5
"""Vectors of values below this share of the largest are rounding noise in RᵀR, and left out."""


@runtime_checkable
class Matrix(Protocol):
    """Anything with a shape that gives a block of itself."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Rows and columns."""
        ...

    def __getitem__(self, index: Any, /) -> np.ndarray:
        """The block of two slices, as float32 or float64."""
        ...


def streamed_spectrum(
    matrix: Matrix, *, vectors: int = LEADING, dense_limit: int = DENSE_LIMIT, seed: int = 0
) -> Spectrum:
    """`spectra.spectrum` with bounded memory and the `vectors` leading left vectors at least, 64 at most.

    Costs O(mn·min(m, n)) up to `dense_limit`, above it O(mn·80).
    """
    rows, columns = matrix.shape
    if min(rows, columns) > dense_limit:
        return _randomised(matrix, seed)
    if rows * columns <= WHOLE:
        return spectrum(matrix[:, :])
    return _tall(matrix, vectors) if rows >= columns else _wide(matrix, vectors)


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


def _tall(matrix: Matrix, vectors: int) -> Spectrum:
    rows, columns = matrix.shape
    strips = (matrix[strip, :] for strip in _strips(rows, columns))
    triangle, energy = _triangle(strips, columns)
    values, right = _factored(triangle, vectors)
    turned = right / values[: right.shape[1]]
    left = np.empty((rows, right.shape[1]))
    for strip in _strips(rows, columns):
        left[strip] = np.asarray(matrix[strip, :], dtype=np.float64) @ turned
    return Spectrum(values, left, energy, (rows, columns), "dense")


def _wide(matrix: Matrix, vectors: int) -> Spectrum:
    rows, columns = matrix.shape
    strips = (matrix[:, strip].T for strip in _strips(columns, rows))
    triangle, energy = _triangle(strips, rows)
    values, left = _factored(triangle, vectors)
    return Spectrum(values, left, energy, (rows, columns), "dense")


def _triangle(strips: Iterable[np.ndarray], columns: int) -> tuple[Float64[np.ndarray, "column column"], float]:
    """R of the QR of all rows, updated in place strip by strip (LAPACK tpqrt), and their energy."""
    from scipy import linalg  # pyright: ignore[reportMissingTypeStubs]

    update: Any = cast(Any, linalg).get_lapack_funcs("tpqrt", dtype=np.float64)
    triangle = np.zeros((columns, columns), order="F")
    energy = 0.0
    for strip in strips:
        part = finite(strip, "matrix")
        energy += float(np.einsum("ij,ij->", part, part))
        below = np.array(part, order="F")
        updated = update(0, min(_PANEL, columns), triangle, below, overwrite_a=True, overwrite_b=True)
        triangle = cast("Float64[np.ndarray, 'column column']", updated[0])
    return np.triu(triangle), energy


def _factored(
    triangle: Float64[np.ndarray, "column column"], vectors: int
) -> tuple[Float64[np.ndarray, " column"], Float64[np.ndarray, "column kept"]]:
    """All singular values of R, and the leading right vectors, from RᵀR: the full SVD would hold four copies of it."""
    from scipy import linalg  # pyright: ignore[reportMissingTypeStubs]

    values = np.linalg.svd(triangle, compute_uv=False)
    kept = int((values[:vectors] > _FAINT * values[:1]).sum())
    if kept == 0:
        return values, np.zeros((len(values), 0))
    last = len(values) - 1
    _, right = cast(Any, linalg).eigh(triangle.T @ triangle, subset_by_index=(last + 1 - kept, last), overwrite_a=True)
    return values, right[:, ::-1]


def _randomised(matrix: Matrix, seed: int) -> Spectrum:
    rows, columns = matrix.shape
    energy = squared_norm(matrix)
    precision = matrix[:1, :1].dtype
    directions = np.random.default_rng(seed).standard_normal((columns, LEADING + OVERSAMPLED)).astype(precision)
    basis = _orthonormal(_times(matrix, directions))
    for _ in range(POWER_STEPS):
        back = _orthonormal(_transposed_times(matrix, basis))
        basis = _orthonormal(_times(matrix, back))
    _, values, inner = np.linalg.svd(_transposed_times(matrix, basis), full_matrices=False)
    left = (basis @ inner[:LEADING].T).astype(np.float64)
    return Spectrum(values[:LEADING].astype(np.float64), left, energy, (rows, columns), "randomised")


def _orthonormal(thin: Float[np.ndarray, "row k"]) -> Float[np.ndarray, "row k"]:
    basis, _ = np.linalg.qr(thin)
    return basis


def _times(matrix: Matrix, thin: Float[np.ndarray, "column k"]) -> Float[np.ndarray, "row k"]:
    product = np.empty((matrix.shape[0], thin.shape[1]), thin.dtype)
    for rows in _strips(*matrix.shape):
        product[rows] = matrix[rows, :] @ thin
    return product


def _transposed_times(matrix: Matrix, thin: Float[np.ndarray, "row k"]) -> Float[np.ndarray, "column k"]:
    product = np.zeros((matrix.shape[1], thin.shape[1]), thin.dtype)
    for rows in _strips(*matrix.shape):
        product += matrix[rows, :].T @ thin[rows]
    return product


def _strips(length: int, other: int) -> Iterator[slice]:
    """Cuts of one dimension into blocks of about a million entries."""
    step = max(_BLOCK // max(other, 1), 1)
    for start in range(0, length, step):
        yield slice(start, min(start + step, length))
