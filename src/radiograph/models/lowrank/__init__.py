"""Forwards to which low-rank products are added: y' = y + (x R) W, for weights by address.

The module's own product (with whatever adapter is on) is computed first and stays as it is; y + 0 is y, so
that with W = 0 the forward is the model's own, and has a gradient by W all the same.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor

from radiograph.core.shapes import Float
from radiograph.models._hooks import products
from radiograph.models.masked import Factors, Place, Target

__all__ = ["Additions", "Factors", "added", "added_matrix", "stored_rows"]

Additions = Mapping[str, Factors]
"""By address: what reads [input, direction] and what is written [direction, output]."""


@contextmanager
def added(target: Target, additions: Additions) -> Iterator[None]:
    """Add to the products of these weights, in every forward of the target inside the context.

    However the context is left, no hook stays behind.
    """
    after: dict[str, list[Callable[[Tensor, Tensor], Tensor]]] = {}
    for address, factors in additions.items():
        place = target.place(address)
        after.setdefault(place.module, []).append(_adding(place, factors))
    with products(target.network, None, {path: _chained(several) for path, several in after.items()}):
        yield


def added_matrix(factors: Factors) -> Float[Tensor, "output input"]:
    """What is added to a weight, as [output, input], in float32."""
    return (factors.reads.float() @ factors.writes.float()).T


def stored_rows(target: Target, address: str, factors: Factors) -> Float[Tensor, "direction output"]:
    """Writes as the whole module's output has them: zero where another address of a fused matrix writes."""
    place = target.place(address)
    if place.whole:
        return factors.writes
    weight = target.network.get_submodule(place.module).get_parameter("weight")
    width = weight.shape[1] if place.transposed else weight.shape[0]
    return place.put(torch.zeros(factors.size, width, dtype=factors.writes.dtype), factors.writes)


def _adding(place: Place, factors: Factors) -> Callable[[Tensor, Tensor], Tensor]:
    def add(x: Tensor, output: Tensor) -> Tensor:
        h = factors.activations(x)
        y = place.part(output)
        return place.put(output, y + (h @ factors.writes).to(y.dtype) * place.scale)

    return add


def _chained(several: list[Callable[[Tensor, Tensor], Tensor]]) -> Callable[[Tensor, Tensor], Tensor]:
    def each(x: Tensor, output: Tensor) -> Tensor:
        for change in several:
            output = change(x, output)
        return output

    return each
