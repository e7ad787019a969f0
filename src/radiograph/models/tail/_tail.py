"""From the residual stream after the last block to logits, in float64; and the write direction of every unit of a site.

1. x̄ = x̃/ρ, ρ² = mean x̃² + ε; x̃ = x (RMSNorm) or x − mean x (LayerNorm)   2. h = γ⊙x̄ + β   3. logits = W_U h + b,
   capped as c·tanh(logits/c) where the model does so
γ, β, ε are read off the model's own norm, which then has to agree on random rows: the network computes norms in float32
whatever it is stored in, so differences of logits far below one need this second form. What a unit writes is read off
the module behind it, so that an adapter counts.
Refuses: a final norm that is neither (`tail_unknown`); a site whose units write through no matrix.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from radiograph.core import Refusal, Site, UserError
from radiograph.core.shapes import Float64
from radiograph.models._model import LanguageModel

_AGREES = 1e-4
WRITERS = {"mlp_hidden": "down", "attn_z": "o"}
"""Kinds of sites whose units have a column of a matrix each, and the matrix."""


@dataclass(frozen=True, slots=True, eq=False)
class Tail:
    """Final norm and unembedding of one model."""

    gain: Float64[np.ndarray, " width"]
    bias: Float64[np.ndarray, " width"]
    epsilon: float
    centred: bool
    """LayerNorm takes the mean off."""
    unembed: Float64[np.ndarray, "vocabulary width"]
    offset: Float64[np.ndarray, " vocabulary"]
    cap: float | None = None

    @classmethod
    def of(cls, model: LanguageModel) -> Tail:
        """The tail of a model.

        Raises:
            Refusal: its final norm is not known, or the tail does not agree with the network.
        """
        with torch.inference_mode(), model.session() as network:
            norm: Any = network.get_submodule(
                f"{model.architecture.family.backbone}.{model.architecture.family.final_norm}"
            )
            head: Any = network.get_output_embeddings()
            width = model.width
            centred = isinstance(norm, torch.nn.LayerNorm)
            epsilon = getattr(norm, "variance_epsilon", None) or getattr(norm, "eps", None)
            if head is None or epsilon is None or getattr(norm, "weight", None) is None:
                raise _unknown(model, type(norm).__name__)
            # Probes by the modules themselves: an adapter or an offset of the gain (Gemma's 1 + γ) is then in them.
            ones = torch.ones(1, width, device=model.device, dtype=norm.weight.dtype)
            gain = norm.weight.double().cpu().numpy()
            if not centred:
                probed = norm(ones)[0].double().cpu().numpy() * np.sqrt(1 + epsilon)
                gain = gain if np.abs(gain - probed).max() < np.abs(1 + gain - probed).max() else 1 + gain
            held = getattr(norm, "bias", None)
            bias = np.zeros(width) if held is None else held.double().cpu().numpy()
            weight = head.weight.double().cpu().numpy()
            offset = getattr(head, "bias", None)
            offset = np.zeros(len(weight)) if offset is None else offset.double().cpu().numpy()
            tail = cls(gain, bias, float(epsilon), centred, weight, offset, model.config.get("final_logit_softcapping"))
            rows = torch.randn(4, width, generator=torch.Generator().manual_seed(0)) * 3
            expected = head(norm(rows.to(model.device, norm.weight.dtype))).double().cpu().numpy()
        found = tail.straight(rows.double().numpy())
        scale = max(1.0, float(np.abs(expected).max()))
        loose = _AGREES if model.dtype == torch.float32 else 0.03
        if np.abs(found - expected).max() > loose * scale:
            raise _unknown(model, type(norm).__name__)
        return tail

    def normalised(
        self, rows: Float64[np.ndarray, "row width"]
    ) -> tuple[Float64[np.ndarray, "row width"], Float64[np.ndarray, " row"]]:
        """x̄ and ρ of each row."""
        x = self.tilde(rows)
        scale = np.sqrt(np.square(x).mean(1) + self.epsilon)
        return x / scale[:, None], scale

    def tilde(self, rows: Float64[np.ndarray, "*row width"]) -> Float64[np.ndarray, "*row width"]:
        """x̃: without the mean where the norm takes it off."""
        return rows - rows.mean(-1, keepdims=True) if self.centred else rows

    def logits(self, rows: Float64[np.ndarray, "row width"]) -> Float64[np.ndarray, "row vocabulary"]:
        """Logits of residual rows."""
        straight = self.straight(rows)
        return straight if self.cap is None else self.cap * np.tanh(straight / self.cap)

    def straight(self, rows: Float64[np.ndarray, "row width"]) -> Float64[np.ndarray, "row vocabulary"]:
        """Logits before the cap."""
        return (self.normalised(rows)[0] * self.gain + self.bias) @ self.unembed.T + self.offset

    def direct(self, writes: Float64[np.ndarray, "write width"]) -> Float64[np.ndarray, "write vocabulary"]:
        """W_U(γ⊙w̃): what writes do to logits through the gain alone."""
        return (self.tilde(writes) * self.gain) @ self.unembed.T


def write_vectors(model: LanguageModel, site: Site) -> Float64[np.ndarray, "unit width"]:
    """What a unit activation of each unit of a site adds to the residual stream (before a norm that may follow).

    Raises:
        UserError: the units of this site write through no matrix.
    """
    if site.kind not in WRITERS or site.head is not None:
        raise UserError(
            f"the units of {site} write through no matrix",
            expected=", ".join(f"{kind}.{site.layer or 0}" for kind in WRITERS),
            code="no_write",
        )
    point = model.architecture.point(site)
    with torch.inference_mode(), model.session() as network:
        module = network.get_submodule(point.module)
        eye = torch.eye(model.site_width(site), device=model.device, dtype=model.dtype)
        zero = module(torch.zeros_like(eye[:1]))
        # A chunk at a time: a bias is taken off in float64, where its rounding is that of the matrix alone.
        parts = [(module(part).double() - zero.double()).cpu() for part in eye.split(1024)]
    return torch.cat(parts).numpy()


def follows_norm(model: LanguageModel) -> bool:
    """Whether what the MLP computes goes through a norm before it is added to the residual stream."""
    family = model.architecture.family
    return family.mlp_out != family.mlp


def _unknown(model: LanguageModel, norm: str) -> Refusal:
    return Refusal(
        "tail_unknown",
        f"the way from the last block to logits of this {model.architecture.name} model is not known: {norm}",
        fix="look at measured changes of logits instead",
    )
