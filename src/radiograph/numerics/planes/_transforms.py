"""Rows before they are projected: a centre, a metric, unit length.

1. `raw`: x. `centred`: x − μ. `whitened`: S^(−½)(x − μ) with S = (1 − λ)Σ + λ·tr(Σ)/D·I.
2. λ of Ledoit and Wolf (2004), Journal of Multivariate Analysis 88:365, from the rows. Where only μ, Σ and n are known:
   the oracle-approximating λ of Chen et al. (2010), which needs no fourth moments.
3. Points are centred and multiplied by S^(−½), differences are multiplied alone, covectors (normals of probes) are
   multiplied by S^(½): the product of a covector with a difference is the same before and after.
4. x̂ = x/‖x‖; rows of length zero have no direction, are dropped and counted.

Powers of S act through the right singular vectors of the rows, so that no D × D matrix is built from rows. Refuses to
whiten when n < 2D and λ < .01 (`whitening_undetermined`): the small eigenvalues would be noise, and would be inflated.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from radiograph.core import Refusal, UserError
from radiograph.core.shapes import Bool, Float, Float64
from radiograph.numerics._finite import finite

TransformKind = Literal["raw", "centred", "whitened"]
Role = Literal["point", "difference", "covector"]


@dataclass(frozen=True, eq=False)
class Transform:
    """What is done to vectors of one site before angles are taken."""

    kind: TransformKind = "raw"
    mean: Float64[np.ndarray, " width"] | None = None
    axes: Float64[np.ndarray, "axis width"] | None = None
    """Orthonormal; S is `floor` outside their span."""
    variances: Float64[np.ndarray, " axis"] | None = None
    """Eigenvalues of S along `axes`."""
    floor: float = 1.0
    shrinkage: float = 0.0
    n: int = 0

    @classmethod
    def fit(cls, kind: TransformKind, rows: Float[np.ndarray, "row width"]) -> Transform:
        """μ and S of the rows themselves."""
        if kind == "raw":
            return cls()
        values = finite(rows, "vectors")
        mean = values.mean(axis=0)
        if kind == "centred":
            return cls(kind, mean, n=len(values))
        n, width = values.shape
        centred = values - mean
        _, singular, axes = np.linalg.svd(centred, full_matrices=False)
        variances = singular**2 / n
        shrinkage = _ledoit_wolf(centred, variances)
        return cls._whitened(mean, axes, variances, shrinkage, n, width)

    @classmethod
    def of(
        cls,
        kind: TransformKind,
        mean: Float64[np.ndarray, " width"],
        covariance: Float64[np.ndarray, "width width"] | None,
        n: int,
    ) -> Transform:
        """μ and Σ of site statistics.

        Raises:
            UserError: whitening without a covariance.
        """
        if kind == "raw":
            return cls()
        if kind == "centred":
            return cls(kind, finite(mean, "mean"), n=n)
        if covariance is None:
            raise UserError(
                "whitening needs the covariance of the site",
                got="site statistics without covariance",
                fix="measure them with --covariance, or say --centre grand",
            )
        variances, axes = np.linalg.eigh(finite(covariance, "covariance"))
        variances, width = np.maximum(variances, 0.0), len(mean)
        mu, square = variances.mean(), float((variances**2).sum()) / width**2
        apart = (n + 1) * (square - mu**2 / width)
        shrinkage = 1.0 if apart <= 0 else min(1.0, (square + mu**2) / apart)
        return cls._whitened(finite(mean, "mean"), axes.T, variances, shrinkage, n, width)

    @classmethod
    def _whitened(
        cls,
        mean: Float64[np.ndarray, " width"],
        axes: Float64[np.ndarray, "axis width"],
        variances: Float64[np.ndarray, " axis"],
        shrinkage: float,
        n: int,
        width: int,
    ) -> Transform:
        if n < 2 * width and shrinkage < 0.01:
            raise Refusal(
                "whitening_undetermined",
                "too few rows to whiten with",
                expected=f"at least {2 * width} rows, or a shrinkage of .01",
                got=f"{n} rows of width {width}, shrinkage {shrinkage:.4f}",
                fix="use --transform centred, or site statistics from more text",
            )
        floor = shrinkage * float(variances.sum()) / width
        shrunk = (1 - shrinkage) * variances + floor
        outside = floor if len(axes) < width else 1.0
        if outside <= 0 or shrunk.min() <= 0:
            raise Refusal(
                "whitening_undetermined",
                "some direction has no variance, and nothing to scale it by",
                got=f"{n} rows of width {width}, shrinkage {shrinkage:.4f}",
                fix="use --transform centred",
            )
        return cls("whitened", mean, axes, shrunk, outside, shrinkage, n)

    def apply(
        self, vectors: Float[np.ndarray, "vector width"], role: Role = "point"
    ) -> Float[np.ndarray, "vector width"]:
        """The vectors in this metric; `role` says how they transform."""
        if self.mean is not None and vectors.shape[1] != len(self.mean):
            raise UserError("vectors of another width", expected=str(len(self.mean)), got=str(vectors.shape[1]))
        moved = vectors - self.mean if self.mean is not None and role == "point" else vectors
        if self.axes is None or self.variances is None:
            return moved
        power = 0.5 if role == "covector" else -0.5
        gains = self.variances**power - self.floor**power
        return self.floor**power * moved + ((moved @ self.axes.T) * gains) @ self.axes


def unit_rows(
    vectors: Float[np.ndarray, "row width"],
) -> tuple[Float[np.ndarray, "kept width"], Bool[np.ndarray, " row"]]:
    """Rows of length one, and which rows had a length at all."""
    norms = np.sqrt(np.einsum("nd,nd->n", vectors, vectors, dtype=np.float64))
    kept = norms > 0
    if kept.all():
        return vectors / norms[:, None].astype(vectors.dtype), kept
    return vectors[kept] / norms[kept, None].astype(vectors.dtype), kept


def _ledoit_wolf(centred: Float64[np.ndarray, "row width"], variances: Float64[np.ndarray, " axis"]) -> float:
    """min(b̄², d²)/d²: the noise of Σ over its distance from a multiple of the identity."""
    n, width = centred.shape
    square = float((variances**2).sum())
    distance = square - float(variances.sum()) ** 2 / width
    if distance <= 0:
        return 1.0
    fourth = float((np.einsum("nd,nd->n", centred, centred) ** 2).sum())
    noise = (fourth / n - square) / n
    return float(min(max(noise, 0.0), distance) / distance)
