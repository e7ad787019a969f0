"""Routers: at which positions which weights use their components; the rest keep the target's own product.

`all` · `layer:WEIGHT` that weight alone · `subset` per position k ~ U{1..L}, then a random set of k weights ·
`bernoulli:p` each weight with probability p, per position
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import torch
from torch import Tensor

from radiograph.core import UserError, nearest
from radiograph.core.components import canonical_weight

ROUTERS: Final = ("all", "layer:WEIGHT", "subset", "bernoulli:P")


def route(
    router: str, weights: Sequence[str], shape: tuple[int, ...], generator: torch.Generator
) -> dict[str, Tensor | None]:
    """Routing masks over positions of `shape`, by weight; None is everywhere, a weight that is left out nowhere.

    Raises:
        UserError: an unknown router, a weight that is not decomposed, or a p outside (0, 1].
    """
    name, _, argument = router.partition(":")
    match name:
        case "all":
            return dict.fromkeys(weights)
        case "layer":
            weight = canonical_weight(argument)
            if weight not in weights:
                raise UserError(
                    f"router {router!r}: not decomposed", expected=", ".join(weights), code="unknown_router"
                )
            return {weight: None}
        case "subset":
            count = len(weights)
            k = torch.randint(1, count + 1, shape, generator=generator, device=generator.device)
            ranks = torch.rand((*shape, count), generator=generator, device=generator.device).argsort(-1).argsort(-1)
            chosen = ranks < k[..., None]
            return {weight: chosen[..., i] for i, weight in enumerate(weights)}
        case "bernoulli":
            p = _probability(router, argument)
            drawn = torch.rand((*shape, len(weights)), generator=generator, device=generator.device) < p
            return {weight: drawn[..., i] for i, weight in enumerate(weights)}
        case _:
            close = nearest(name, ["all", "layer", "subset", "bernoulli"])
            raise UserError(
                f"no router {router!r}",
                expected=", ".join(ROUTERS),
                fix=f"did you mean {', '.join(close)}?" if close else None,
                code="unknown_router",
            )


def _probability(router: str, argument: str) -> float:
    try:
        p = float(argument)
    except ValueError:
        p = -1.0
    if not 0.0 < p <= 1.0:
        raise UserError(f"router {router!r}", expected="bernoulli:P with 0 < P <= 1", code="unknown_router")
    return p
