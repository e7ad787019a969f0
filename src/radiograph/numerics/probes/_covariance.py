"""Covariance of rows, shrunk towards a multiple of the identity by as much as their number asks for.

Ledoit and Wolf (2004): S is pulled towards μI, μ = tr S/d, by β²/δ², where δ² = ‖S − μI‖² and β² is the sampling error
of S, (1/n²)Σ‖x_k x_kᵀ − S‖², at most δ². Every cell (the rows of one group and label) counts as one draw, whatever its
number of rows: rows repeated inside their cell change nothing.
"""

from __future__ import annotations

import numpy as np

from radiograph.core.shapes import Float, Float64, Int64


def cell_moment(
    rows: Float[np.ndarray, "row width"], cell: Int64[np.ndarray, " row"], cells: int
) -> tuple[Float64[np.ndarray, "width width"], float]:
    """Mean over cells of the mean outer product of their rows, and of the mean fourth power of their lengths."""
    size = np.bincount(cell, minlength=cells)
    weight = 1 / (size[cell] * cells)
    values = rows.astype(np.float64, copy=False)
    squared = np.einsum("ij,ij->i", values, values)
    return (values * weight[:, None]).T @ values, float(weight @ np.square(squared))


def shrunk(moment: Float64[np.ndarray, "width width"], fourth: float, draws: int) -> Float64[np.ndarray, "width width"]:
    """The shrunk covariance of centred rows, from `cell_moment`, never singular.

    Rows that are all alike have the identity.
    """
    width = len(moment)
    mean = float(np.trace(moment)) / width
    if not mean > 0:
        return np.eye(width)
    off = moment - mean * np.eye(width)
    spread = float(np.square(off).sum())
    error = (fourth - float(np.square(moment).sum())) / max(draws, 1)
    share = 1.0 if spread <= 0 else min(max(error, 0.0), spread) / spread
    share = max(share, 1e-6)  # exact data of low rank would leave nothing to divide by
    return (1 - share) * moment + share * mean * np.eye(width)


def covariance(rows: Float[np.ndarray, "row width"]) -> Float64[np.ndarray, "width width"]:
    """The shrunk covariance of rows about their mean, each row a draw."""
    centred = rows - rows.mean(axis=0, dtype=np.float64)
    moment, fourth = cell_moment(centred, np.arange(len(rows)), len(rows))
    return shrunk(moment, fourth, len(rows))
