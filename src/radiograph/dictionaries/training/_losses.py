"""What a step minimises: reconstruction, and what the activation adds to it.

R = mean over rows of Σ_c w_c (y_c − ŷ_c)², with w_c = 1 / (targets · V_t) for the columns of target t: each target
counts the same, V_t is its total variance, a constant.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from jaxtyping import Float
from torch import Tensor

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
    """What is compared when features are selected: π, or π · (mean over targets of ‖D_t,i‖)."""
