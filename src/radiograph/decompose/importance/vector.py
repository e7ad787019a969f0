"""`vector`: one small net per component, from what its weight reads to its raw importance: width → hidden → 1, GELU.

Source: the vector MLP gates of stochastic parameter decomposition (2025).
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from radiograph.decompose.importance._kind import Options, Size, Values, stacked, uniform

OPTIONS: Options = {"hidden": 12}


def tensors(sizes: Mapping[str, Size], options: Options, generator: torch.Generator) -> dict[str, Tensor]:
    """Per weight: in [width, component × hidden], its bias, out [component, hidden], its bias."""
    hidden = int(options["hidden"])
    found: dict[str, Tensor] = {}
    for weight, size in sizes.items():
        found[f"{weight}/in"] = uniform(generator, size.seen, size.components * hidden, fan=size.seen)
        found[f"{weight}/in_bias"] = torch.zeros(size.components * hidden)
        found[f"{weight}/out"] = uniform(generator, size.components, hidden, fan=hidden)
        found[f"{weight}/out_bias"] = torch.full((size.components,), 0.5)
    return found


def raw(tensors: Mapping[str, Tensor], seen: Values, h: Values) -> dict[str, Tensor]:
    """Σ_k out_k GELU(x · in_k + bias_k) + bias."""
    found: dict[str, Tensor] = {}
    for weight in seen:
        out = tensors[f"{weight}/out"]
        inner = stacked(tensors, weight, seen) @ tensors[f"{weight}/in"] + tensors[f"{weight}/in_bias"]
        hidden = nn.functional.gelu(inner).unflatten(-1, tuple(out.shape))
        found[weight] = (hidden * out).sum(-1) + tensors[f"{weight}/out_bias"]
    return found
