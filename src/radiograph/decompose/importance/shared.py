"""`shared`: one net per weight, from what it reads to the raw importance of all its components: width → hidden → C.

Source: the shared MLP of stochastic parameter decomposition (2025). The cheapest on a CPU: two dense products.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from radiograph.decompose.importance._kind import Options, Size, Values, stacked, uniform

OPTIONS: Options = {"hidden": 64}


def tensors(sizes: Mapping[str, Size], options: Options, generator: torch.Generator) -> dict[str, Tensor]:
    """Per weight: in [width, hidden], its bias, out [hidden, component], its bias."""
    hidden = int(options["hidden"])
    found: dict[str, Tensor] = {}
    for weight, size in sizes.items():
        found[f"{weight}/in"] = uniform(generator, size.seen, hidden, fan=size.seen)
        found[f"{weight}/in_bias"] = uniform(generator, hidden, fan=size.seen)
        found[f"{weight}/out"] = uniform(generator, hidden, size.components, fan=hidden)
        found[f"{weight}/out_bias"] = torch.full((size.components,), 0.5)
    return found


def raw(tensors: Mapping[str, Tensor], seen: Values, h: Values) -> dict[str, Tensor]:
    """GELU(x in + bias) out + bias."""
    found: dict[str, Tensor] = {}
    for weight in seen:
        inner = nn.functional.linear(
            stacked(tensors, weight, seen), tensors[f"{weight}/in"].T, tensors[f"{weight}/in_bias"]
        )
        found[weight] = nn.functional.linear(
            nn.functional.gelu(inner), tensors[f"{weight}/out"].T, tensors[f"{weight}/out_bias"]
        )
    return found
