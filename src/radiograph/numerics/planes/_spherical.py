"""Directions without direction: exact laws of isotropic rows, and whether angles are spread evenly.

1. r² ~ Beta(1, (D − 2)/2), so P(r ≥ ε) = (1 − ε²)^((D−2)/2) and E r = Γ(3/2)Γ(D/2)/Γ((D+1)/2), about √(π/2D).
2. Null rings, 95 %: of one row √(1 − .05^{2/(D−2)}); of the mean of n independent rows √(5.991/nD).
3. A cone holds f₀(ε) = ½·I_{1−ε²}((D−1)/2, ½) of the rows, and 1 − f₀(|ε|) for ε < 0.
4. The plane against the rows: for a plane drawn at random (Haar) the squared projection of the mean row x̄ is
   Beta(1, (D−2)/2) of its length, so p = (1 − r_G²/‖x̄‖²)^((D−2)/2). It holds for any rows, of any covariance.
5. Angles (Mardia and Jupp 2000, 6.3). Rayleigh, n·R² with R = |mean e^{iφ}|, sees one preferred side. Hodges and Ajne,
   the smallest share of angles in any half circle, sees any lopsidedness. Kuiper, D⁺ + D⁻ between two distribution
   functions, sees everything, and the choice of zero is nothing to it.

Laws need D ≥ 3. Angles in degrees; those of real rows are not even under the null (units that are never negative), so
their p comes from null angles.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from radiograph.core import UserError
from radiograph.core.shapes import Float, Float64


@dataclass(frozen=True)
class Isotropy:
    """The laws of one dimension."""

    width: int

    def __post_init__(self) -> None:
        if self.width < 3:
            raise UserError("the isotropic law of a plane needs three dimensions", got=str(self.width))

    @property
    def mean_r(self) -> float:
        """E r."""
        half = self.width / 2
        return math.exp(math.lgamma(1.5) + math.lgamma(half) - math.lgamma(half + 0.5))

    def tail(self, epsilon: float) -> float:
        """P(r ≥ ε)."""
        return (1 - min(max(epsilon, 0.0), 1.0) ** 2) ** ((self.width - 2) / 2)

    def row_radius(self, level: float = 0.95) -> float:
        """The ring that holds this share of rows."""
        return math.sqrt(-math.expm1(math.log1p(-level) * 2 / (self.width - 2)))

    def mean_radius(self, n: int, level: float = 0.95) -> float:
        """The ring that holds the mean of n independent rows with this probability."""
        return math.sqrt(-2 * math.log1p(-level) / (n * self.width))

    def cone(self, epsilon: float) -> float:
        """f₀(ε)."""
        from scipy.special import betainc  # pyright: ignore[reportUnknownVariableType, reportMissingTypeStubs]

        share = 0.5 * float(betainc((self.width - 1) / 2, 0.5, 1 - min(abs(epsilon), 1.0) ** 2))
        return share if epsilon >= 0 else 1 - share

    def plane_p(self, r: Float[np.ndarray, " plane"], length: float) -> Float64[np.ndarray, " plane"]:
        """The p of r_G against random planes, given the length of the mean row; 1 where the mean row is zero."""
        if length <= 0:
            return np.ones(len(r))
        share = np.clip((np.asarray(r, np.float64) / length) ** 2, 0.0, 1.0)
        return (1 - share) ** ((self.width - 2) / 2)


def rayleigh(z: Float[np.ndarray, "2 plane row"]) -> Float64[np.ndarray, " plane"]:
    """n·R² of each plane."""
    length = np.hypot(z[0], z[1])
    mean = (z / np.where(length > 0, length, 1)).mean(axis=2, dtype=np.float64)
    return z.shape[2] * (mean[0] ** 2 + mean[1] ** 2)


def hodges_ajne(z: Float[np.ndarray, "2 plane row"]) -> Float64[np.ndarray, " plane"]:
    """Smallest share of angles in a half circle: ½ at most, small when angles keep to one side."""
    turns = _turns(z)
    n = turns.shape[1]
    far = turns >= 0.5
    order = np.argsort(np.where(far, turns - 0.5, turns), axis=1, kind="stable")
    # The half circle that opens just after an angle has lost it, and just after its opposite has gained it.
    steps = np.take_along_axis(np.where(far, 1, -1), order, axis=1)
    inside = (n - far.sum(axis=1))[:, None] + np.cumsum(steps, axis=1)
    least = np.minimum(inside.min(axis=1), n - inside.max(axis=1))
    return least / n


def kuiper(z: Float[np.ndarray, "2 plane row"]) -> Float64[np.ndarray, " plane"]:
    """V = D⁺ + D⁻ between the angles and even ones."""
    turns = np.sort(_turns(z), axis=1)
    n: int = turns.shape[1]
    steps: Float64[np.ndarray, " step"] = np.arange(n + 1) / n
    return (steps[1:] - turns).max(axis=1) + (turns - steps[:-1]).max(axis=1)


def _turns(z: Float[np.ndarray, "2 plane row"]) -> Float64[np.ndarray, "plane row"]:
    """Angles as parts of a turn, in [0, 1)."""
    turns: Float64[np.ndarray, "plane row"] = np.arctan2(z[1], z[0], dtype=np.float64) / (2 * np.pi) % 1.0
    return np.where(turns >= 1, 0.0, turns)
