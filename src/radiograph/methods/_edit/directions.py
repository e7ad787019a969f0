"""What parts read and write, without any text: cosines with token directions and with each other.

The unembedding row of a token is multiplied by the final norm's gain: that is the direction in the residual stream that
raises its logit. Only weights that write to (read from) the residual stream have such a cosine; the others get 0.

Among many parts one is always near to a direction. The chance level is what random directions reach with the best of
all parts, in 95 of 100 draws.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Final

import numpy as np

from radiograph.core import derive
from radiograph.core.components import Component
from radiograph.methods._decomposed.token import one_token

if TYPE_CHECKING:
    from torch import Tensor

    from radiograph.methods._edit.parts import Parts

DRAWS: Final = 200
SHARE: Final = 0.95


def unembedding(parts: Parts, token: int) -> Tensor:
    """Unit direction of the residual stream that raises the logit of a token."""
    import torch

    family = parts.model.architecture.family
    norm = parts.target.network.get_submodule(f"{family.backbone}.{family.final_norm}")
    gain = norm.get_parameter("weight").detach().float()
    row = parts.target.matrix("unembed")[token].float()
    return torch.nn.functional.normalize(row * gain, dim=0)


def evidence(parts: Parts, asked: str, text: str, seed: int) -> tuple[np.ndarray, float]:
    """Cosine of every part with what is asked, and the chance level of the largest."""
    import torch

    generator = torch.Generator().manual_seed(derive(seed, "edit", "directions"))

    def level(best: Callable[[], Tensor]) -> float:
        return float(np.quantile([float(best().max()) for _ in range(DRAWS)], SHARE))

    if asked == "like":
        one = Component.parse(text, parts.sizes)
        own = parts.factors[one.weight]

        def alike(read: Tensor, write: Tensor) -> Tensor:
            found = [
                cosine(f.reads.T, read) * cosine(f.writes, write)
                if f.reads.shape[0] == len(read) and f.writes.shape[1] == len(write)
                else torch.zeros(f.size)
                for f in parts.factors.values()
            ]
            return torch.cat(found)

        read, write = own.reads[:, one.index], own.writes[one.index]
        ends = [len(read), len(write)]
        chance = level(lambda: alike(*(torch.randn(n, generator=generator) for n in ends)))
        return alike(read, write).numpy().astype(np.float64), chance
    token = one_token(parts.model, text, where=f"--{asked}")
    if asked == "writes":
        direction = unembedding(parts, token)
        sides = {a: f.writes for a, f in parts.factors.items() if a.partition(".")[0] in ("o", "down", "embed")}
    else:
        direction = torch.nn.functional.normalize(parts.target.matrix("embed")[:, token].float(), dim=0)
        sides = {a: f.reads.T for a, f in parts.factors.items() if a.partition(".")[0] in ("q", "k", "v", "gate", "up")}

    def along(direction: Tensor) -> Tensor:
        found = [cosine(sides[a], direction) if a in sides else torch.zeros(n) for a, n in parts.sizes.items()]
        return torch.cat(found)

    chance = level(lambda: along(torch.randn(len(direction), generator=generator)))
    return along(direction).numpy().astype(np.float64), chance


def cosine(rows: Tensor, direction: Tensor) -> Tensor:
    """Of each row."""
    import torch

    return torch.nn.functional.cosine_similarity(rows.float(), direction[None].float(), dim=1)
