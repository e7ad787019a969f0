"""`global`: one transformer over the positions of a sequence, from all that decomposed weights read to all importances.

1. what each weight reads, side by side at a position, projected to `width`   2. `blocks` pre-norm blocks: attention to
this and earlier positions with rotary angles, and an MLP of four times the width   3. a read-out per component
Attention is causal, so that importance at a position does not depend on what follows it. For large models on a GPU.
Source: the importance transformer of adversarial parameter decomposition (2026).
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from radiograph.decompose.importance._kind import Options, Size, Values, stacked, uniform

OPTIONS: Options = {"width": 1024, "blocks": 8, "heads": 8}


def tensors(sizes: Mapping[str, Size], options: Options, generator: torch.Generator) -> dict[str, Tensor]:
    """Projection in, blocks, read-out."""
    width, blocks = int(options["width"]), int(options["blocks"])
    seen, components = sum(s.seen for s in sizes.values()), sum(s.components for s in sizes.values())
    found = {"in": uniform(generator, seen, width, fan=seen), "in_bias": torch.zeros(width)}
    for block in range(blocks):
        found[f"{block}/norm"] = torch.ones(width)
        found[f"{block}/qkv"] = uniform(generator, width, 3 * width, fan=width)
        found[f"{block}/attended"] = uniform(generator, width, width, fan=width)
        found[f"{block}/mlp_norm"] = torch.ones(width)
        found[f"{block}/up"] = uniform(generator, width, 4 * width, fan=width)
        found[f"{block}/down"] = uniform(generator, 4 * width, width, fan=4 * width)
    found["norm"] = torch.ones(width)
    found["out"] = uniform(generator, width, components, fan=width)
    found["out_bias"] = torch.full((components,), 0.5)
    found["heads_scale"] = torch.tensor(float(options["heads"]))
    return found


def raw(tensors: Mapping[str, Tensor], seen: Values, h: Values) -> dict[str, Tensor]:
    """The transformer on [batch, position, …]; vectors without positions are sequences of one."""
    together = torch.cat([stacked(tensors, weight, seen) for weight in seen], -1)
    flat = together.dim() == 2
    x = together[:, None] if flat else together
    x = x @ tensors["in"] + tensors["in_bias"]
    width, heads = x.shape[-1], int(tensors["heads_scale"])
    block = 0
    while f"{block}/qkv" in tensors:
        n = nn.functional.rms_norm(x, (width,), tensors[f"{block}/norm"])
        q, k, v = (n @ tensors[f"{block}/qkv"]).unflatten(-1, (3, heads, -1)).permute(2, 0, 3, 1, 4)
        mixed = nn.functional.scaled_dot_product_attention(_turned(q), _turned(k), v, is_causal=True)
        x = x + mixed.transpose(1, 2).flatten(2) @ tensors[f"{block}/attended"]
        n = nn.functional.rms_norm(x, (width,), tensors[f"{block}/mlp_norm"])
        x = x + nn.functional.gelu(n @ tensors[f"{block}/up"]) @ tensors[f"{block}/down"]
        block += 1
    g = nn.functional.rms_norm(x, (width,), tensors["norm"]) @ tensors["out"] + tensors["out_bias"]
    g = g[:, 0] if flat else g
    parts = g.split([h[weight].shape[-1] for weight in seen], -1)
    return dict(zip(seen, parts, strict=True))


def _turned(x: Tensor) -> Tensor:
    """Rotary angles over positions."""
    half = x.shape[-1] // 2
    rates = 10_000.0 ** (-torch.arange(half, device=x.device, dtype=torch.float32) / half)
    angles = torch.arange(x.shape[-2], device=x.device, dtype=torch.float32)[:, None] * rates
    sin, cos = angles.sin().to(x.dtype), angles.cos().to(x.dtype)
    a, b = x[..., :half], x[..., half : 2 * half]
    return torch.cat([a * cos - b * sin, a * sin + b * cos, x[..., 2 * half :]], -1)
