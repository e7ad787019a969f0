"""What a step minimises: the objective, and the factors by which its terms are weighted.

R = mean over rows of Σ_c w_c (y_c − ŷ_c)², with w_c = 1 / (targets · V_t) for the columns of target t: each target
counts the same, V_t is its total variance, a constant. Matryoshka: the mean of R over prefixes of the features.

| σ | z | what it adds to R |
|---|---|---|
| relu | max(π, 0) | λ · mean over rows of Σ z_i n_i |
| topk | the k largest of max(π, 0)·s per row | auxiliary loss of the dead |
| batchtopk | the k·B largest of max(π, 0)·s in the batch | auxiliary loss of the dead |
| jumprelu | π·[π·s > θ] | λ (L0 / L0* − 1)² |
| gated | [π + b_gate > 0]·max(eʳ π + b_mag, 0) | λ · mean Σ max(π + b_gate, 0)_i n_i, and R of max(π + b_gate, 0) |

n_i = mean over targets of ‖D_t,i‖ / √V_t. s = 1, or the mean over targets of ‖D_t,i‖, taken as a constant.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

import torch
from torch import Tensor

from radiograph.core.shapes import Float
from radiograph.dictionaries.training._weights import Weights

LEAST_SCALE: Final = 1e-12
Trainable = Literal["topk", "batchtopk", "jumprelu", "relu", "gated"]


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Objective:
    """One step's loss. What a schedule moves (k, sparsity) is replaced between steps."""

    activation: Trainable
    column_weights: Float[Tensor, " target"]
    """w_c: 1 / (targets · V_t) in the columns of target t."""
    target_widths: tuple[int, ...] = ()
    """Columns of each target; () is one target."""
    k: int = 0
    """topk: features per row. batchtopk: their mean over the batch."""
    sparsity: float = 0.0
    """λ now, after its ramp."""
    target_l0: float = 0.0
    """jumprelu: the L0* of λ (L0 / L0* − 1)²."""
    epsilon: float = 0.1
    """jumprelu: width of the rectangle kernel."""
    prefixes: tuple[int, ...] = ()
    """Matryoshka: increasing widths, the last is F; () is off."""
    auxiliary: float = 1 / 32
    """topk, batchtopk: weight of the loss in which dead features reconstruct what the others leave over."""
    selection: Literal["value", "decoder_norm"] = "value"
    """What is compared when features are selected or held to a threshold: s = 1, or s = the decoder norm."""

    @property
    def widths(self) -> tuple[int, ...]:
        """Columns of each target."""
        return self.target_widths or (len(self.column_weights),)

    @property
    def penalises_length(self) -> bool:
        """Whether the loss holds an L1 term: Σ value · n."""
        return self.activation in ("relu", "gated")

    def bounds(self, size: int) -> tuple[tuple[int, int], ...]:
        """First and last feature of every segment between two prefixes."""
        ends = self.prefixes or (size,)
        assert ends[-1] == size
        return tuple(zip((0, *ends[:-1]), ends, strict=True))


def target_norms(decoder: Float[Tensor, "feature target"], objective: Objective) -> Float[Tensor, "feature part"]:
    """‖D_t,i‖ of every feature in every target."""
    return torch.stack([part.norm(dim=1) for part in decoder.split(objective.widths, dim=1)], dim=1)


def selection_weights(weights: Weights, objective: Objective) -> Float[Tensor, " feature"] | None:
    """s: what π is multiplied by where features are compared; None is 1. Never 0, so that π = score / s."""
    if objective.selection == "value" or objective.penalises_length:
        return None
    return target_norms(weights.decoder, objective).mean(1).clamp_min(LEAST_SCALE)


def write_lengths(weights: Weights, objective: Objective) -> Float[Tensor, " feature"]:
    """n: mean over targets of ‖D_t,i‖ / √V_t."""
    return target_norms(weights.decoder, objective) @ _length_factors(objective).to(weights.decoder)


def add_length_gradient(
    gradient: Float[Tensor, "feature target"],
    mass: Float[Tensor, " feature"],
    weights: Weights,
    objective: Objective,
) -> None:
    """Add mass_i · ∂n_i/∂D_i in place: along D, so that only decoders whose norm is free feel it."""
    factors = _length_factors(objective)
    parts = zip(
        gradient.split(objective.widths, dim=1), weights.decoder.split(objective.widths, dim=1), factors, strict=True
    )
    for out, decoder, factor in parts:
        norms = decoder.norm(dim=1)
        rate = torch.where(norms > 0, mass * factor / norms, 0.0)
        out.addcmul_(rate.unsqueeze(1), decoder)


def _length_factors(objective: Objective) -> Float[Tensor, " part"]:
    """1 / (targets · √V_t)."""
    first = torch.stack([part[0] for part in objective.column_weights.split(objective.widths)])
    return (first / len(first)).sqrt()
