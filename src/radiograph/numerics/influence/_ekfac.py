"""EK-FAC: the curvature of each matrix as a Kronecker product, its eigenvalues measured anew.

For a linear map with input x and output gradient δ, A = E[xxᵀ] and S = E[δδᵀ] over tokens, with eigenvectors Q_A, Q_S
(Martens and Grosse 2015). Eigenvalues are second moments of row gradients in that basis, Λ_oi = E[(Q_SᵀGQ_A)²_oi]
(George et al. 2018), and h = Q_S[(Q_SᵀVQ_A)/(Λ + λ)]Q_Aᵀ, λ = .1·mean Λ (Grosse et al. 2023). δ and G are gradients of
labels drawn from the model (the Fisher matrix), or of the data's own (empirical). One matrix at a time.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from radiograph.core import UserError
from radiograph.core.shapes import Float, Float64

SHARE = 0.1


@dataclass(frozen=True, eq=False)
class Eigenbasis:
    """Eigenvectors, as columns, of both factors of one matrix."""

    output: Float64[np.ndarray, "output output"]
    input: Float64[np.ndarray, "input input"]

    def turned(self, matrices: Float[np.ndarray, "row output input"]) -> Float64[np.ndarray, "row output input"]:
        """Q_Sᵀ G Q_A of each."""
        return np.matmul(np.matmul(self.output.T, matrices.astype(np.float64)), self.input)

    def back(self, matrices: Float64[np.ndarray, "row output input"]) -> Float64[np.ndarray, "row output input"]:
        """Q_S M Q_Aᵀ of each."""
        return np.matmul(np.matmul(self.output, matrices), self.input.T)


def eigenbasis(output: Float[np.ndarray, "output output"], input: Float[np.ndarray, "input input"]) -> Eigenbasis:
    """Of the two covariances.

    Raises:
        UserError: they are not finite.
    """
    for name, matrix in (("output", output), ("input", input)):
        if not np.isfinite(matrix).all():
            raise UserError(f"the covariance of {name}s is not finite", code="not_finite")
    return Eigenbasis(*(np.linalg.eigh(np.asarray(m, dtype=np.float64))[1] for m in (output, input)))


def eigenvalues(
    basis: Eigenbasis, matrices: Float[np.ndarray, "row output input"]
) -> Float64[np.ndarray, "output input"]:
    """Σ over rows of (Q_SᵀGQ_A)²: divide by the number of rows for Λ."""
    return np.square(basis.turned(matrices)).sum(0)


def ekfac_direction(
    basis: Eigenbasis,
    values: Float64[np.ndarray, "output input"],
    targets: Float[np.ndarray, "target output input"],
    share: float = SHARE,
) -> Float64[np.ndarray, "target output input"]:
    """Directions h of all V; zero where the matrix never had a gradient."""
    strength = share * float(values.mean())
    if strength <= 0:
        return np.zeros(targets.shape)
    return basis.back(basis.turned(targets) / (values + strength))


def ekfac_energy(
    basis: Eigenbasis,
    values: Float64[np.ndarray, "output input"],
    matrices: Float[np.ndarray, "row output input"],
    share: float = SHARE,
) -> Float64[np.ndarray, " row"]:
    """⟨G, H⁻¹G⟩ of each."""
    strength = share * float(values.mean())
    if strength <= 0:
        return np.zeros(len(matrices))
    return (np.square(basis.turned(matrices)) / (values + strength)).sum((1, 2))
