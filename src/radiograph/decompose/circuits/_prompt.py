"""A prompt as a decomposition sees it: which components are alive at which position, and the model under masks.

1. the target runs unmasked; importance is judged from its own activations   2. alive = importance > 0: a property of
the model on this prompt, never of a graph   3. all components of all weights lie side by side, [position, component];
a selection is a boolean of that shape
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor

from radiograph.core import Refusal, UserError
from radiograph.core.components import Node
from radiograph.core.shapes import Bool, Float, Int
from radiograph.decompose._decomposition import Decomposition, Observation
from radiograph.models.masked import Mask, Target

ROWS = 16
"""Masked copies of the prompt in one forward."""


@runtime_checkable
class Maskable(Protocol):
    """What regimes ask of a prompt: nodes side by side, which of them are alive, and the model under their masks."""

    @property
    def ids(self) -> Int[Tensor, " position"]:
        """Tokens."""
        ...

    @property
    def length(self) -> int:
        """Positions."""
        ...

    @property
    def logits(self) -> Float[Tensor, "position vocabulary"]:
        """Of the target."""
        ...

    @property
    def sizes(self) -> Mapping[str, int]:
        """Nodes at a position, by weight or dictionary: each has a Δ of its own."""
        ...

    @property
    def raw(self) -> Float[Tensor, "position component"]:
        """Importance as it is optimised; its type and device are those of masks."""
        ...

    @property
    def importance(self) -> Float[Tensor, "position component"]:
        """In [0, 1]."""
        ...

    @property
    def alive(self) -> Bool[Tensor, "position component"]:
        """Importance > 0."""
        ...

    def run(
        self, m: Float[Tensor, "row position component"], delta: Float[Tensor, "row position weight"] | float | None
    ) -> Float[Tensor, "row position vocabulary"]:
        """Logits under masks."""
        ...

    def weight_of(self) -> Int[Tensor, " component"]:
        """Number of each node's weight or dictionary."""
        ...


@dataclass(frozen=True, eq=False)
class Prompt:
    """One prompt. Build it with `of`."""

    target: Target
    decomposition: Decomposition
    ids: Int[Tensor, " position"]
    seen: Observation

    @classmethod
    def of(cls, target: Target, decomposition: Decomposition, ids: Sequence[int]) -> Prompt:
        """Run the target on a prompt.

        Raises:
            Refusal: the decomposition is of another model.
            UserError: no tokens, too many, or ids outside the vocabulary; a value that is not finite.
        """
        decomposition.check(target)
        check_ids(target, ids)
        row = torch.tensor(list(ids), device=target.device)
        seen = decomposition.observe(target, row[None])
        _check_finite(seen)
        return cls(target, decomposition, row, seen)

    @property
    def length(self) -> int:
        """Positions."""
        return len(self.ids)

    @property
    def logits(self) -> Float[Tensor, "position vocabulary"]:
        """Of the target."""
        return self.seen.output[0]

    @property
    def sizes(self) -> dict[str, int]:
        """Components of each weight."""
        return self.decomposition.sizes

    @property
    def raw(self) -> Float[Tensor, "position component"]:
        """Raw importance g."""
        return self._raw

    @property
    def importance(self) -> Float[Tensor, "position component"]:
        """In [0, 1]."""
        return self._importance

    @cached_property
    def _raw(self) -> Float[Tensor, "position component"]:
        return self._side_by_side(self.seen.raw)

    @cached_property
    def _importance(self) -> Float[Tensor, "position component"]:
        return self._side_by_side(self.seen.lower)

    @cached_property
    def activations(self) -> Float[Tensor, "position component"]:
        """The activations h."""
        return self._side_by_side(self.seen.h)

    @property
    def alive(self) -> Bool[Tensor, "position component"]:
        """Importance > 0."""
        return self.importance > 0

    def run(
        self, m: Float[Tensor, "row position component"], delta: Float[Tensor, "row position weight"] | float | None
    ) -> Float[Tensor, "row position vocabulary"]:
        """Logits under masks, a row each; Δ's masks by weight, one number for all, or None: no Δ."""
        masks: dict[str, Mask] = {}
        start = 0
        for number, (weight, size) in enumerate(self.decomposition.sizes.items()):
            own = delta[..., number] if isinstance(delta, Tensor) else delta
            masks[weight] = Mask(m[..., start : start + size], own)
            start += size
        return self.decomposition.run(self.target, self.ids.expand(len(m), -1), masks)

    def nodes(self, chosen: Bool[Tensor, "position component"]) -> list[Node]:
        """Chosen components as nodes, position by position."""
        names = self.decomposition.components
        return [Node.of(names[c].weight, names[c].index, p) for p, c in chosen.nonzero().tolist()]

    def place(self, node: Node) -> tuple[int, int]:
        """Position and number of a component node."""
        assert node.weight is not None and node.index is not None
        return node.position, self.decomposition.offsets[node.weight] + node.index

    def chosen(self, nodes: Iterable[str], *, where: str) -> Bool[Tensor, "position component"]:
        """Nodes by address, all of which must be alive here.

        Raises:
            UserError: malformed, outside the prompt or decomposition, a pseudo-node, or not alive.
        """
        found = torch.zeros_like(self.alive)
        pseudo: list[str] = []
        dead: list[str] = []
        for text in nodes:
            node = self.decomposition.node(text, self.length)
            if node.pseudo:
                pseudo.append(str(node))
                continue
            place = self.place(node)
            found[place] = True
            if not bool(self.alive[place]):
                dead.append(str(node))
        if pseudo:
            raise UserError(
                f"{is_several(pseudo)}: shown in graphs, but nothing that can be selected",
                where=where,
                expected="components at positions, as down.3:17/5",
                code="pseudo_node",
            )
        if dead:
            raise UserError(
                f"{is_several(dead)} not alive on this prompt: importance there is 0",
                where=where,
                expected=f"among the {int(self.alive.sum())} alive nodes",
                fix="`radiograph graph prompt` lists them in tables/nodes.parquet",
                code="not_alive",
            )
        return found

    def weight_of(self) -> Int[Tensor, " component"]:
        """Number of each component's weight."""
        sizes = torch.tensor(list(self.decomposition.sizes.values()), device=self.ids.device)
        return torch.repeat_interleave(torch.arange(len(sizes), device=self.ids.device), sizes)

    def _side_by_side(self, by_weight: dict[str, Tensor]) -> Tensor:
        return torch.cat([by_weight[weight][0] for weight in self.decomposition.weights], -1)


def is_several(names: list[str]) -> str:
    """A few names and how many more, with their verb."""
    more = f" and {len(names) - 5} more" if len(names) > 5 else ""
    return ", ".join(names[:5]) + more + (" is" if len(names) == 1 else " are")


def check_ids(target: Target, ids: Sequence[int]) -> None:
    """Refuse ids that are no prompt of this model."""
    model = target.model
    if model is None:
        raise Refusal(
            "no_tokens",
            f"{target.name} reads vectors, so it has no prompts",
            expected="a decomposition of a language model",
            fixable=True,
        )
    if not ids:
        raise UserError("the prompt is empty", expected=f"1 to {model.context_length} tokens", code="empty_prompt")
    if len(ids) > model.context_length:
        raise UserError(
            "the prompt is longer than the model's context",
            expected=f"at most {model.context_length} tokens",
            got=f"{len(ids)} tokens",
            code="too_long",
        )
    bad = [one for one in ids if not 0 <= one < model.vocab_size]
    if bad:
        raise UserError(
            f"no token has the id {bad[0]}",
            expected=f"0 to {model.vocab_size - 1}",
            where="--tokens",
            code="unknown_id",
        )


def _check_finite(seen: Observation) -> None:
    for what, by_weight in (("the activation", seen.h), ("the importance", seen.raw)):
        for weight, values in by_weight.items():
            bad = ~torch.isfinite(values[0])
            if bool(bad.any()):
                position, index = (int(i) for i in bad.nonzero()[0])
                raise UserError(
                    f"{what} of {weight}:{index} is not finite", where=f"position {position}", code="non_finite"
                )
