"""Mask sources: from importance to masks m = g + (1 − g) r, r in [0, 1] per position and component.

`continuous` r ~ U(0,1) · `binomial` r in {0, 1}, and the lower map gets 1.05 g − .05 u, u ~ U(0,1) · `importance`
r = 0 · `rounded` 1[g > threshold] · `ones` · `zeros` · `random` m ~ U(0,1) whatever g. Adversarial and persistent r
come from a loss; `mixed` turns any r into masks. Δ draws its own r a position, as a component whose g is 0. A source
knows nothing of losses.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import torch
from torch import Tensor

from radiograph.core import UserError, nearest
from radiograph.core.shapes import Float
from radiograph.models.masked import Mask
from radiograph.numerics.components.squash import Squash

SOURCES: Final = ("continuous", "binomial", "importance", "rounded", "ones", "zeros", "random")
WITH_DELTA: Final = frozenset({"continuous", "binomial", "random"})
"""Sources that draw a mask for Δ too; the others leave Δ out."""


def mixed(g: Float[Tensor, "... component"], r: Tensor) -> Float[Tensor, "... component"]:
    """The masks g + (1 − g) r."""
    return torch.lerp(r, torch.ones((), dtype=g.dtype, device=g.device), g)


def drawn(
    source: str,
    raw: Mapping[str, Tensor],
    lower: Mapping[str, Tensor],
    squash: Squash,
    generator: torch.Generator,
    *,
    threshold: float = 0.0,
) -> dict[str, Mask]:
    """Masks of every weight from one source, Δ's included where the source draws one.

    Raises:
        UserError: an unknown source.
    """
    if source not in SOURCES:
        close = nearest(source, list(SOURCES))
        raise UserError(
            f"no mask source {source!r}",
            expected=", ".join(SOURCES),
            fix=f"did you mean {', '.join(close)}?" if close else None,
            code="unknown_masks",
        )
    noise = _noise(lower, generator) if source in WITH_DELTA else {}
    found: dict[str, Mask] = {}
    for weight, g in lower.items():
        if source in WITH_DELTA:
            r, delta = noise[weight]
            if source == "binomial":
                u = uniform(g.shape, g, generator)
                g = squash.lower(1.05 * raw[weight] - 0.05 * u)
                r, delta = (r < 0.5).to(g.dtype), (delta < 0.5).to(g.dtype)
            found[weight] = Mask(r if source == "random" else mixed(g, r), delta)
        elif source == "importance":
            found[weight] = Mask(g)
        elif source == "rounded":
            found[weight] = Mask((g > threshold).to(g.dtype))
        else:
            found[weight] = Mask() if source == "ones" else Mask(g.new_zeros(g.shape[-1]))
    return found


def uniform(shape: torch.Size | tuple[int, ...], like: Tensor, generator: torch.Generator) -> Tensor:
    """U(0,1), drawn on the generator's device so that devices differ in speed alone."""
    return torch.rand(shape, generator=generator, dtype=like.dtype, device=generator.device).to(like.device)


def _noise(lower: Mapping[str, Tensor], generator: torch.Generator) -> dict[str, tuple[Tensor, Tensor]]:
    """Draws r of every component and of Δ, per position: one draw for all weights."""
    first = next(iter(lower.values()))
    widths = [g.shape[-1] for g in lower.values()]
    together = uniform((*first.shape[:-1], sum(widths) + len(widths)), first, generator)
    *parts, deltas = together.split([*widths, len(widths)], -1)
    return {weight: (parts[i], deltas[..., i]) for i, weight in enumerate(lower)}
