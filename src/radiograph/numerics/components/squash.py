"""Raw importance to masks and to sparsity: two maps each, `lower` for masks and `upper` for the sparsity loss.

`leaky_hard`: lower is clamp(g, 0, 1) forward; backward 1 on (0, 1], 0 above 1, and for g <= 0 it passes .01 × gradient
where the gradient is negative, so that a dead component may revive and is never pushed further down. Upper is 0 below
0, g on [0, 1] and 1 + .01 (g − 1) above.
`hard`: clamp for both. `leaky`: lower and upper with slope .01 outside [0, 1]. `sigmoid`: both. `swish_hard`: lower is
clamp, upper is g·sigmoid(4 g) held at most 1 with slope .01 above. All give lower in [0, 1] but `leaky`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import torch
from torch import Tensor

from radiograph.core import UserError, nearest
from radiograph.core.shapes import Float

LEAK: Final = 0.01
Map = Callable[[Float[Tensor, "..."]], Float[Tensor, "..."]]


@dataclass(frozen=True, slots=True)
class Squash:
    """Two maps from raw importance."""

    name: str
    lower: Map
    """For masks."""
    upper: Map
    """For sparsity."""


class _LowerLeakyHard(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, g: Tensor) -> Tensor:
        ctx.save_for_backward(g)
        return g.clamp(0.0, 1.0)

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> Any:
        (g,) = ctx.saved_tensors
        (grad,) = grads
        low = g <= 0.0
        slope = torch.where(low, LEAK, 1.0).to(grad.dtype)
        stopped = (low & (grad > 0.0)) | (g > 1.0)
        return (grad * slope).masked_fill(stopped, 0.0)


def lower_leaky_hard(g: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
    """Clamp whose gradient lets the dead revive."""
    return _LowerLeakyHard.apply(g)  # type: ignore[return-value]


def upper_leaky_hard(g: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
    """Clamp that leaks above 1."""
    positive = torch.relu(g)
    return torch.minimum(positive, 1.0 + LEAK * (positive - 1.0))


def _hard(g: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
    return g.clamp(0.0, 1.0)


def _leaky(g: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
    return g.clamp(0.0, 1.0) + LEAK * (torch.relu(g - 1.0) - torch.relu(-g))


def _swish(g: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
    swished = g * torch.sigmoid(4.0 * g)
    return torch.minimum(swished, 1.0 + LEAK * (swished - 1.0))


SQUASHES: Final = {
    squash.name: squash
    for squash in (
        Squash("leaky_hard", lower_leaky_hard, upper_leaky_hard),
        Squash("sigmoid", torch.sigmoid, torch.sigmoid),
        Squash("hard", _hard, _hard),
        Squash("leaky", _leaky, _leaky),
        Squash("swish_hard", _hard, _swish),
    )
}


def squash_of(name: str) -> Squash:
    """A squash by name.

    Raises:
        UserError: unknown, with the nearest names.
    """
    if name not in SQUASHES:
        close = nearest(name, list(SQUASHES))
        raise UserError(
            f"no squash {name!r}",
            expected=", ".join(SQUASHES),
            fix=f"did you mean {', '.join(close)}?" if close else None,
            code="unknown_squash",
        )
    return SQUASHES[name]


def outside_unit(values: Float[Tensor, "..."]) -> int:
    """Entries outside [0, 1] or not finite, each looked at by itself."""
    return int((~((values >= 0.0) & (values <= 1.0))).sum())
