"""Direct logit attribution of a unit in the last block, whose write w reaches logits through the final norm alone.

x̄ = x̃/ρ is the normalised residual, d its width, c = v − a the change of the activation, w̃ = w (RMSNorm) or w − mean w.
1. first order:  Δlogits = (c/ρ) W_U γ⊙(w̃ − x̄(x̄·w̃)/d)
2. saturation:   c → ±∞ gives x̄ → ±√d·w̃/‖w̃‖, so logits → W_U(±γ⊙√d·w̃/‖w̃‖ + β) + b, whatever x was
3. R² of the first order against the exact change, each row about its own mean, because softmax ignores a constant
"""

from __future__ import annotations

import numpy as np

from radiograph.core.shapes import Float64


def first_order(
    normalised: Float64[np.ndarray, "row width"],
    scale: Float64[np.ndarray, " row"],
    write: Float64[np.ndarray, " width"],
    change: Float64[np.ndarray, " row"],
    gain: Float64[np.ndarray, " width"],
    unembed: Float64[np.ndarray, "vocabulary width"],
) -> Float64[np.ndarray, "row vocabulary"]:
    """Δlogits to first order; `normalised` is x̄, `scale` ρ, `write` w̃, `change` c."""
    along = normalised @ write / normalised.shape[1]
    turned = write - normalised * along[:, None]
    return (change / scale)[:, None] * ((turned * gain) @ unembed.T)


def saturated(
    write: Float64[np.ndarray, " width"],
    sign: float,
    gain: Float64[np.ndarray, " width"],
    bias: Float64[np.ndarray, " width"],
    unembed: Float64[np.ndarray, "vocabulary width"],
    offset: Float64[np.ndarray, " vocabulary"],
) -> Float64[np.ndarray, " vocabulary"]:
    """Logits under a write without bound, of either sign; `write` is w̃."""
    far = sign * np.sqrt(len(write)) * write / np.linalg.norm(write)
    return unembed @ (gain * far + bias) + offset


def explained(
    exact: Float64[np.ndarray, "row vocabulary"], linear: Float64[np.ndarray, "row vocabulary"]
) -> float | None:
    """R²; None where nothing changes."""
    exact = exact - exact.mean(1, keepdims=True)
    linear = linear - linear.mean(1, keepdims=True)
    total = float(np.square(exact).sum())
    return None if total == 0 else 1 - float(np.square(exact - linear).sum()) / total
