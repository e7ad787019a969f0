"""What an activation does to one entry, and what gradients come back through it: the same for an entry and for a table.

`local` holds per-feature tensors as the entries need them: gathered one by one, or broadcast over the rows of a table.
Jumprelu (Rajamanoharan et al. 2024): K is a rectangle of width ε around θ on the score π·s,
∂z/∂θ = −(θ/(ε s)) K, ∂L0/∂θ = −(1/ε) K; π receives gradient through z only. Gated (same authors): the gate is
trained by its own L1 and reconstruction terms, z trains magnitudes only.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from torch import Tensor

from radiograph.core.shapes import Bool, Float
from radiograph.dictionaries.training._losses import Objective, write_lengths
from radiograph.dictionaries.training._weights import Weights

Local = Mapping[str, Tensor]


@dataclass(slots=True, eq=False)
class Back:
    """Gradients of entries, to be summed by feature."""

    pre: Float[Tensor, "*entry"]
    """With respect to π."""
    parameters: dict[str, Float[Tensor, "*entry"]] = field(default_factory=dict)
    """Contributions to parameters; `mass` to the L1 term's Σ z, `window` to the kernel counts of L0."""


def per_feature(
    weights: Weights, objective: Objective, scale: Float[Tensor, " feature"] | None
) -> dict[str, Float[Tensor, " feature"]]:
    """Every per-feature tensor that rules and selection read; `scale` is s."""
    found = dict(weights.parameters)
    if scale is not None:
        found["scale"] = scale
    if objective.penalises_length:
        found["length"] = write_lengths(weights, objective)
    return found


def candidates(
    scores: Float[Tensor, "row feature"], objective: Objective, features: Local
) -> Bool[Tensor, "row feature"]:
    """Entries that fire or receive gradient: relu, jumprelu and gated."""
    if objective.activation == "jumprelu":
        return scores > features["threshold"] - objective.epsilon / 2
    if objective.activation == "gated":
        return scores > -features["gate_bias"]
    return scores > 0


def values(pre: Float[Tensor, "*entry"], objective: Objective, local: Local) -> Float[Tensor, "*entry"]:
    """Codes of candidates."""
    if objective.activation == "jumprelu":
        return pre * (_score(pre, local) > local["threshold"])
    if objective.activation == "gated":
        magnitude = pre * local["magnitude_log_scale"].exp() + local["magnitude_bias"]
        return magnitude.clamp_min(0) * (pre + local["gate_bias"] > 0)
    return pre.clamp_min(0)


def gates(pre: Float[Tensor, "*entry"], local: Local) -> Float[Tensor, "*entry"]:
    """max(π + b_gate, 0)."""
    return (pre + local["gate_bias"]).clamp_min(0)


def back(
    d_values: Float[Tensor, "*entry"],
    d_gates: Float[Tensor, "*entry"] | None,
    pre: Float[Tensor, "*entry"],
    z: Float[Tensor, "*entry"],
    objective: Objective,
    local: Local,
    rate: float,
) -> Back:
    """Gradients through the activation, L1 terms included; `rate` is λ over the rows of the batch."""
    if objective.activation == "relu":
        open_ = pre > 0
        return Back((d_values + rate * local["length"]) * open_, {"mass": z})
    if objective.activation == "jumprelu":
        active = _score(pre, local) > local["threshold"]
        window = (_score(pre, local) - local["threshold"]).abs() < objective.epsilon / 2
        slope = -local["threshold"] / objective.epsilon
        slope = slope / local["scale"] if "scale" in local else slope
        return Back(d_values * active, {"threshold": d_values * window * slope, "window": window.to(pre.dtype)})
    if objective.activation == "gated":
        assert d_gates is not None
        gate = gates(pre, local)
        d_gate = (d_gates + rate * local["length"]) * (gate > 0)
        d_magnitude = d_values * (z > 0)
        through = d_magnitude * local["magnitude_log_scale"].exp()
        parameters = {"gate_bias": d_gate, "magnitude_bias": d_magnitude, "magnitude_log_scale": through * pre}
        return Back(through + d_gate, parameters | {"mass": gate})
    return Back(d_values * (z > 0))


def _score(pre: Float[Tensor, "*entry"], local: Local) -> Float[Tensor, "*entry"]:
    return pre * local["scale"] if "scale" in local else pre


def l0_slope(active: float, rows: int, objective: Objective) -> tuple[float, float]:
    """The loss λ (L0 / L0* − 1)², and the factor of a feature's window count in the gradient of its threshold."""
    excess = active / objective.target_l0 - 1
    slope = 2 * objective.sparsity * excess / (objective.target_l0 * rows)
    return objective.sparsity * excess**2, -slope / objective.epsilon
