"""A decomposition: components of chosen weights of one model, and what says which of them a token needs.

1. `observe` runs the target unmasked and gives, per weight, activations h and importance: raw g, lower (for masks),
   upper (for sparsity)   2. `masked` replaces products, given masks   3. `delta` is what the components leave of a
weight: W − (VU)ᵀ, computed from the live factors, never stored
Importance is judged from the target's own activations, never from masked ones. Refuses a target with another hash,
both named.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from radiograph.core import Refusal
from radiograph.core.components import Component, Node, in_order
from radiograph.core.shapes import Float
from radiograph.decompose.importance import Importance
from radiograph.evidence.decomposition import DecompositionDocument
from radiograph.models.masked import Factors, Mask, Record, Target, masked, recorded
from radiograph.numerics.components.squash import Squash, squash_of


@dataclass(frozen=True, slots=True, eq=False)
class Observation:
    """The target's own forward on a batch, seen by a decomposition. Everything is by weight, [..., component]."""

    output: Tensor
    """Logits, or the output vectors."""
    record: Record
    h: dict[str, Tensor]
    """Activations of components, x V."""
    raw: dict[str, Tensor]
    lower: dict[str, Tensor]
    """Importance in [0, 1]."""
    upper: dict[str, Tensor]

    def alive(self, threshold: float = 0.0) -> dict[str, Tensor]:
        """Whether importance exceeds a threshold."""
        return {weight: values > threshold for weight, values in self.lower.items()}


@dataclass(frozen=True, eq=False)
class Decomposition:
    """Components, importance, and the hash of the model that they are of."""

    factors: dict[str, Factors]
    """By address, in forward order."""
    importance: Importance
    squash: Squash
    document: DecompositionDocument
    folder: str | None = None

    @property
    def weights(self) -> tuple[str, ...]:
        """Addresses of the decomposed weights, in forward order."""
        return tuple(self.factors)

    @cached_property
    def sizes(self) -> dict[str, int]:
        """Components of each weight."""
        return {address: factors.size for address, factors in self.factors.items()}

    @property
    def size(self) -> int:
        """Components in all."""
        return sum(self.sizes.values())

    @property
    def sha256(self) -> str:
        """Of everything that decides what it computes."""
        return self.document.sha256

    @property
    def target_sha256(self) -> str:
        """Tensors of the model that it is of."""
        return self.document.target.tensors_sha256

    @cached_property
    def components(self) -> tuple[Component, ...]:
        """Every component, weight by weight: the order of anything that lays all components side by side."""
        return tuple(Component(address, index) for address, n in self.sizes.items() for index in range(n))

    @cached_property
    def offsets(self) -> dict[str, int]:
        """Place of each weight's first component in that order."""
        found, place = {}, 0
        for address, n in self.sizes.items():
            found[address] = place
            place += n
        return found

    def component(self, text: str) -> Component:
        """Read an address, which must be of this decomposition."""
        return Component.parse(text, self.sizes)

    def node(self, text: str, length: int | None = None) -> Node:
        """Read a node, which must be of this decomposition, and of a prompt of `length` positions."""
        return Node.parse(text, self.sizes, length)

    def check(self, target: Target) -> None:
        """Refuse another model.

        Raises:
            Refusal: `decomposition_mismatch`, exit 3.
        """
        if target.sha256 != self.target_sha256:
            own = self.document.target
            raise Refusal(
                "decomposition_mismatch",
                "this decomposition is of another model",
                expected=f"{own.reference} {own.tensors_sha256}",
                got=f"{target.name} {target.sha256}",
                fix="give the model that was decomposed, or a decomposition of this one",
                fixable=True,
            )

    def observe(self, target: Target, inputs: Tensor, *, grad: bool = False) -> Observation:
        """Run the target unmasked. `grad`: keep the graph from importance to the factors and nets (not the target)."""
        with torch.no_grad(), recorded(target, self.weights) as record:
            output = target.run(inputs)
        with torch.set_grad_enabled(grad):
            h, raw = self.judge(record)
            lower = {weight: self.squash.lower(g) for weight, g in raw.items()}
            upper = {weight: self.squash.upper(g) for weight, g in raw.items()}
        return Observation(output, record, h, raw, lower, upper)

    def judge(self, record: Record) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """Activations h and raw importance g of what was recorded of the target's own forward."""
        h = {weight: factors.activations(record.inputs[weight]) for weight, factors in self.factors.items()}
        seen = {weight: record.seen(weight) for weight in self.factors}
        return h, self.importance.raw(seen, h)

    @contextmanager
    def masked(self, target: Target, masks: Mapping[str, Mask]) -> Iterator[None]:
        """Replace the products of the weights that `masks` names, in every forward inside the context."""
        with masked(target, self.factors, masks):
            yield

    def run(self, target: Target, inputs: Tensor, masks: Mapping[str, Mask]) -> Tensor:
        """The target's output under masks."""
        with masked(target, self.factors, masks):
            return target.run(inputs)

    def delta(self, target: Target, weight: str) -> Float[Tensor, "output input"]:
        """W − (VU)ᵀ in float32 (in float64 where the factors are)."""
        factors = self.factors[weight]
        wide = torch.promote_types(factors.reads.dtype, torch.float32)
        return target.matrix(weight).to(wide) - (factors.reads.to(wide) @ factors.writes.to(wide)).T


def all_ones(
    decomposition: Decomposition, *, delta: float | None = 1.0, weights: Sequence[str] | None = None
) -> dict[str, Mask]:
    """Masks 1 for every weight: with Δ the target itself, without it what the components alone compute."""
    return {weight: Mask(None, delta) for weight in weights or decomposition.weights}


def assembled(
    factors: Mapping[str, Factors], importance: Importance, document: DecompositionDocument, folder: str | None = None
) -> Decomposition:
    """A decomposition from its parts, weights in forward order."""
    ordered = {address: factors[address] for address in in_order(dict(factors))}
    return Decomposition(ordered, importance, squash_of(document.importance.squash), document, folder)
