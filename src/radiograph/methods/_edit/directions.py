"""What parts read and write, without any text: cosines with token directions and with each other.

The unembedding row of a token is multiplied by the final norm's gain: that is the direction in the residual stream that
raises its logit. Only weights that write to (read from) the residual stream have such a cosine; the others get 0.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from radiograph.core.components import Component
from radiograph.methods._decomposed.token import one_token

if TYPE_CHECKING:
    from torch import Tensor

    from radiograph.methods._edit.parts import Parts


def unembedding(parts: Parts, token: int) -> Tensor:
    """Unit direction of the residual stream that raises the logit of a token."""
    import torch

    family = parts.model.architecture.family
    norm = parts.target.network.get_submodule(f"{family.backbone}.{family.final_norm}")
    gain = norm.get_parameter("weight").detach().float()
    row = parts.target.matrix("unembed")[token].float()
    return torch.nn.functional.normalize(row * gain, dim=0)


def evidence(parts: Parts, asked: str, text: str) -> np.ndarray:
    """Cosine of every part with what is asked."""
    import torch

    if asked == "like":
        one = Component.parse(text, parts.sizes)
        own = parts.factors[one.weight]
        read, write = own.reads[:, one.index], own.writes[one.index]
        found = [
            cosine(f.reads.T, read) * cosine(f.writes, write)
            if f.reads.shape[0] == len(read) and f.writes.shape[1] == len(write)
            else torch.zeros(f.size)
            for f in parts.factors.values()
        ]
        return torch.cat(found).numpy().astype(np.float64)
    token = one_token(parts.model, text, where=f"--{asked}")
    if asked == "writes":
        direction = unembedding(parts, token)
        sides = {a: f.writes for a, f in parts.factors.items() if a.partition(".")[0] in ("o", "down", "embed")}
    else:
        direction = torch.nn.functional.normalize(parts.target.matrix("embed")[:, token].float(), dim=0)
        sides = {a: f.reads.T for a, f in parts.factors.items() if a.partition(".")[0] in ("q", "k", "v", "gate", "up")}
    return (
        torch.cat([cosine(sides[a], direction) if a in sides else torch.zeros(n) for a, n in parts.sizes.items()])
        .numpy()
        .astype(np.float64)
    )


def cosine(rows: Tensor, direction: Tensor) -> Tensor:
    """Of each row."""
    import torch

    return torch.nn.functional.cosine_similarity(rows.float(), direction[None].float(), dim=1)
