"""`scalar`: one tiny net per component, from its own activation h to its raw importance: 1 → hidden → 1, GELU.

Source: the MLP gates of stochastic parameter decomposition (2025).
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from radiograph.decompose.importance._kind import Options, Size, Values, uniform

OPTIONS: Options = {"hidden": 16}


def tensors(sizes: Mapping[str, Size], options: Options, generator: torch.Generator) -> dict[str, Tensor]:
    """Per weight: in [component, hidden], its bias, out [component, hidden], its bias."""
    hidden = int(options["hidden"])
    found: dict[str, Tensor] = {}
    for weight, size in sizes.items():
        found[f"{weight}/in"] = torch.randn(size.components, hidden, generator=generator)
        found[f"{weight}/in_bias"] = torch.zeros(size.components, hidden)
        found[f"{weight}/out"] = uniform(generator, size.components, hidden, fan=hidden)
        found[f"{weight}/out_bias"] = torch.zeros(size.components)
    return found


def raw(tensors: Mapping[str, Tensor], seen: Values, h: Values) -> dict[str, Tensor]:
    """Σ_k out_k GELU(in_k h + bias_k) + bias."""
    found: dict[str, Tensor] = {}
    for weight, own in h.items():
        inner = torch.addcmul(tensors[f"{weight}/in_bias"], own[..., None], tensors[f"{weight}/in"])
        hidden = nn.functional.gelu(inner)
        found[weight] = (hidden * tensors[f"{weight}/out"]).sum(-1) + tensors[f"{weight}/out_bias"]
    return found


def rescaled(tensors: dict[str, Tensor], weight: str, scale: Tensor) -> None:
    """Let the nets read h / scale as they read h before."""
    tensors[f"{weight}/in"] = tensors[f"{weight}/in"] * scale[:, None]
