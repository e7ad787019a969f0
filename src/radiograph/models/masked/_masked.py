"""A forward in which chosen matrix products are sums of masked components.

For W [output, input], V reads [input, component] and U writes [component, output], h = x V and Δ = W − (V U)ᵀ:

    y' = Σ_c m_c h_c U_c + m_Δ x Δᵀ + bias        where the routing mask says so; the target's own y elsewhere

1. y is there already, so x Δᵀ = (y − bias) − h U, and y' = y + (m_Δ − 1)(y − bias) + ((m − m_Δ) h) U. Δ is never
   formed, and with masks 1 and Δ 1 the result is y itself
2. without Δ: y' = bias + (m h) U
3. an embedding looks V up: h = V[token]; an inserted identity has y = x

Biases are copied. A weight without a mask keeps the target's product. Units: those of the module's output.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from radiograph.core.shapes import Bool, Float
from radiograph.models._hooks import products
from radiograph.models.masked._target import Place, Target


@dataclass(frozen=True, slots=True, eq=False)
class Factors:
    """The components of one weight."""

    reads: Float[Tensor, "input component"]
    """V."""
    writes: Float[Tensor, "component output"]
    """U."""

    @property
    def size(self) -> int:
        """Number of components."""
        return self.writes.shape[0]

    def activations(self, inputs: Tensor) -> Float[Tensor, "... component"]:
        """Activations h = x V; of token ids, rows of V."""
        if not inputs.is_floating_point():
            return nn.functional.embedding(inputs, self.reads)
        return inputs @ self.reads


Parts = Mapping[str, Factors]


@dataclass(frozen=True, slots=True, eq=False)
class Mask:
    """What is left of one weight's components, in shapes that broadcast over [batch, position] (or [batch])."""

    components: Float[Tensor, "... component"] | None = None
    """m; None is 1 everywhere."""
    delta: Float[Tensor, "..."] | float | None = None
    """m_Δ, one number a position; None leaves Δ out."""
    routing: Bool[Tensor, "..."] | None = None
    """True where components are used; None is everywhere."""


@contextmanager
def masked(target: Target, parts: Parts, masks: Mapping[str, Mask]) -> Iterator[None]:
    """Replace the products of the weights that `masks` names, in every forward of the target inside the context.

    However the context is left, no hook stays behind.
    """
    before: dict[str, Callable[[Tensor], Tensor | None]] = {}
    after: dict[str, list[Callable[[Tensor, Tensor], Tensor]]] = {}
    for address, mask in masks.items():
        place, factors = target.place(address), parts[address]
        if place.kind == "identity":
            before[place.module] = _in_front(factors, mask)
        else:
            bias = target.bias(address)
            after.setdefault(place.module, []).append(_replacing(place, factors, mask, bias))
    together = {path: _chained(several) for path, several in after.items()}
    with products(target.network, before, together):
        yield


def products_of(
    h: Float[Tensor, "... component"],
    y: Float[Tensor, "... output"],
    bias: Float[Tensor, " output"] | None,
    writes: Float[Tensor, "component output"],
    mask: Mask,
) -> Float[Tensor, "... output"]:
    """The new product, from activations, the target's own product, and masks."""
    m, delta = mask.components, mask.delta
    if delta is None:
        new = (h if m is None else m * h) @ writes
        new = new if bias is None else new + bias
    else:
        d = delta[..., None] if isinstance(delta, Tensor) else delta
        whole = isinstance(d, float) and d == 1.0
        if m is None and whole:
            new = y
        else:
            scaled = (1.0 - d if m is None else m - d) * h
            kept = y if whole else torch.add(y, (d - 1.0) * (y if bias is None else y - bias))
            new = kept + scaled @ writes
    if mask.routing is None:
        return new.to(y.dtype) if new.dtype != y.dtype else new
    return torch.where(mask.routing[..., None], new.to(y.dtype), y)


def _replacing(place: Place, factors: Factors, mask: Mask, bias: Tensor | None) -> Callable[[Tensor, Tensor], Tensor]:
    writes = factors.writes if place.scale == 1.0 else factors.writes * place.scale

    def replace(x: Tensor, output: Tensor) -> Tensor:
        y = place.part(output)
        return place.put(output, products_of(factors.activations(x), y, bias, writes, mask))

    return replace


def _in_front(factors: Factors, mask: Mask) -> Callable[[Tensor], Tensor]:
    return lambda x: products_of(factors.activations(x), x, None, factors.writes, mask)


def _chained(several: list[Callable[[Tensor, Tensor], Tensor]]) -> Callable[[Tensor, Tensor], Tensor]:
    if len(several) == 1:
        return several[0]

    def each(x: Tensor, output: Tensor) -> Tensor:
        for change in several:
            output = change(x, output)
        return output

    return each
