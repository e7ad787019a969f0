"""Is a crosscoder feature written in one model only? Never read off norms alone (Minder et al. 2025, arXiv 2504.02922).

An L1 penalty shrinks weak writes to zero, and one concept may be split over two features: a norm of zero in a model
then says nothing about the model. For a feature z with decoder rows D_s, rows y_s and reconstructions ŷ_s of source s:
1. ρ = ‖D_candidate‖ / (‖D_reference‖ + ‖D_candidate‖), in the space in which each source was scaled for training,
   *nominates*: above .9 the candidate, below .1 the reference is the strong side. Nothing more.
2. With u the larger decoder row and e_s = y_s − ŷ_s: β^e_s = Σ z⟨e_s + z D_s, u⟩ / (Σ z²‖u‖²), the multiple of u that
   explains best what the feature and the error leave to explain; β^r_s likewise for ŷ_s.
3. ν^e = β^e_weak / β^e_strong, ν^r likewise: 0 if the weak side has nothing of u when z fires, 1 if it has as much.
4. `exclusive`: nominated, 95 % upper bounds |ν^e| < .2 and |ν^r| < .5. `attenuated`: ν^e in [.2, .8). Else `shared`.
   `not_measured`: fewer than 100 active rows, or β^e_strong not clearly above 0.
Bounds come from resampled prompt groups (`units`).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from radiograph.core.shapes import Float, Float64, Int
from radiograph.numerics.dictionaries.units import Draws

State = Literal["exclusive", "attenuated", "shared", "not_measured"]

NOMINATE = 0.9
SHARED_BAND = (0.4, 0.6)
"""ρ of features taken as shared, for comparison."""
LEAST_ROWS = 100
ERROR_BOUND, RECONSTRUCTION_BOUND = 0.2, 0.5
ATTENUATED = 0.8
STRONG_ERROR, WEAK_ERROR, STRONG_RECONSTRUCTION, WEAK_RECONSTRUCTION = range(4)


def norm_share(
    reference: Float[np.ndarray, " feature"], candidate: Float[np.ndarray, " feature"]
) -> Float64[np.ndarray, " feature"]:
    """ρ of each feature from its decoder norms; .5 where it writes in neither."""
    both = reference.astype(np.float64) + candidate
    return np.divide(candidate, both, out=np.full(len(both), 0.5), where=both > 0)


@dataclass(eq=False, slots=True)
class ScalingSums:
    """Sums over rows behind β, per unit of resampling and feature."""

    units: int
    features: int
    products: Float64[np.ndarray, "4 unit feature"] = field(init=False)
    """Σ z⟨·, u⟩ of e + zD and of ŷ, on the strong and on the weak side."""
    squares: Float64[np.ndarray, "unit feature"] = field(init=False)
    """Σ z²‖u‖²."""
    active: Int[np.ndarray, " feature"] = field(init=False)

    def __post_init__(self) -> None:
        self.products = np.zeros((4, self.units, self.features))
        self.squares = np.zeros((self.units, self.features))
        self.active = np.zeros(self.features, dtype=np.int64)

    def add(
        self,
        units: Int[np.ndarray, " entry"],
        features: Int[np.ndarray, " entry"],
        products: Float64[np.ndarray, "4 entry"],
        squares: Float64[np.ndarray, " entry"],
    ) -> None:
        """Take in one entry for each row on which a feature fires."""
        place, size = units * self.features + features, self.units * self.features
        for kind in range(4):
            self.products[kind] += np.bincount(place, products[kind], size).reshape(self.squares.shape)
        self.squares += np.bincount(place, squares, size).reshape(self.squares.shape)
        self.active += np.bincount(features, minlength=self.features)


@dataclass(frozen=True)
class Scaling:
    """What latent scaling says of one feature."""

    state: State
    active: int
    beta_strong: float | None
    """β^e on the strong side."""
    nu_error: float | None
    nu_error_bound: float | None
    """95 % upper bound of |ν^e|."""
    nu_reconstruction: float | None
    nu_reconstruction_bound: float | None


def scalings(sums: ScalingSums, nominated: np.ndarray, taken: Draws) -> list[Scaling]:
    """The state of each feature; only a nominated one can be exclusive."""
    return [_scaling(sums, feature, bool(nominated[feature]), taken) for feature in range(sums.features)]


def _scaling(sums: ScalingSums, feature: int, nominated: bool, taken: Draws) -> Scaling:
    products, squares = sums.products[:, :, feature], sums.squares[:, feature]
    active = int(sums.active[feature])
    total, size = products.sum(axis=1), float(squares.sum())
    if active < LEAST_ROWS or int((squares > 0).sum()) < 2:
        return Scaling("not_measured", active, *(None,) * 5)
    drawn, below = taken @ products.T, taken @ squares
    drawn, below = drawn[below > 0], below[below > 0]
    beta = float(total[STRONG_ERROR]) / size
    if not np.quantile(drawn[:, STRONG_ERROR] / below, 0.025) > 0:
        return Scaling("not_measured", active, beta, *(None,) * 4)
    nu_error, error_bound = _ratio(total, drawn, WEAK_ERROR, STRONG_ERROR)
    nu_rebuilt, rebuilt_bound = _ratio(total, drawn, WEAK_RECONSTRUCTION, STRONG_RECONSTRUCTION)
    if nominated and error_bound < ERROR_BOUND and rebuilt_bound < RECONSTRUCTION_BOUND:
        state: State = "exclusive"
    else:
        state = "attenuated" if ERROR_BOUND <= nu_error < ATTENUATED else "shared"
    return Scaling(state, active, beta, nu_error, error_bound, nu_rebuilt, rebuilt_bound)


def _ratio(
    total: Float64[np.ndarray, " 4"], drawn: Float64[np.ndarray, "draw 4"], weak: int, strong: int
) -> tuple[float, float]:
    """ν and the 95 % upper bound of its size; as large as can be written where the strong side may be zero."""
    largest = float(np.finfo(np.float64).max) ** 0.5
    clear = np.abs(drawn[:, strong]) > 0
    values = np.full(len(drawn), largest)
    values[clear] = np.minimum(np.abs(drawn[clear, weak] / drawn[clear, strong]), largest)
    estimate = float(total[weak] / total[strong]) if total[strong] else largest
    return estimate, float(np.quantile(values, 0.95))
