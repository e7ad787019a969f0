"""The graph of a prompt: which component adds what to which, back from the logits.

1. targets at the end: logits at chosen positions (their mean taken off), or a difference of two tokens   2. components
of a selection (all alive ones for a natural graph) are nodes; everything else of a weight at a position is one `rest`,
what its components leave out is its `delta`   3. nodes are expanded best first: those through which most influence
runs, `copies` at a time, each by one vector-Jacobian product of the linearised forward; what was not expanded is
counted   4. value edges add up with the bias to the target's own value; modulating ones do not
A token feeds the components of a decomposed embedding with all of their activation.

Edges of size 0 are none. Which weights reach which is found by the gradient, never by a table of names.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from radiograph.core.components import Node
from radiograph.core.shapes import Bool, Float64, Int64
from radiograph.decompose.circuits._prompt import Prompt
from radiograph.models.linearised import Aim, Linearised, Pulled
from radiograph.numerics.graphs import Edges, influence

LOGITS = "logits"
COPIES = 32


@dataclass(frozen=True, slots=True)
class GraphSettings:
    """How a graph is drawn."""

    max_nodes: int = 4000
    """Targets that are expanded."""
    copies: int = COPIES
    live: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class Goal:
    """A logit target: tokens with signs at a position, and its weight in the influence."""

    position: int
    tokens: tuple[tuple[int, float], ...]
    weight: float


@dataclass(frozen=True, eq=False)
class Drawn:
    """A graph before pruning. Nodes are numbered in `nodes`; edges of both kinds side by side."""

    nodes: list[Node]
    value: Float64[np.ndarray, " node"]
    """h of components, logits of targets; of others what they add up to is in their edges alone, and this is 0."""
    importance: Float64[np.ndarray, " node"]
    alive: Bool[np.ndarray, " node"]
    expanded: Bool[np.ndarray, " node"]
    weights: Float64[np.ndarray, " node"]
    """Of logit targets; 0 elsewhere."""
    edges: Edges
    modulating: Bool[np.ndarray, " edge"]
    unexpanded: int
    worst_gap: float
    """Largest |Σ value edges − value| / max(1, |value|) over expanded targets; NaN for a live graph."""


def draw(
    prompt: Prompt,
    selected: Bool[Tensor, "position component"],
    goals: Sequence[Goal],
    settings: GraphSettings,
    *,
    watch: Callable[[int], None] | None = None,
) -> Drawn:
    """Expand from the goals back.

    Raises:
        Refusal: the model cannot be linearised (`not_linear`).
    """
    builder = _Builder(prompt, selected, goals, settings)
    while (batch := builder.next()) and builder.done < settings.max_nodes:
        builder.expand(batch[: settings.max_nodes - builder.done])
        if watch is not None:
            watch(len(batch))
    return builder.drawn()


class _Builder:
    def __init__(self, prompt: Prompt, selected: Tensor, goals: Sequence[Goal], settings: GraphSettings) -> None:
        self.prompt, self.goals, self.settings = prompt, list(goals), settings
        self.model = Linearised.of(
            prompt.target, prompt.decomposition.factors, prompt.ids, copies=settings.copies, live=settings.live
        )
        self.sizes = prompt.decomposition.sizes
        self.components = [(int(p), int(c)) for p, c in selected.nonzero().tolist()]
        self.selected = selected
        self._number()
        self._layout()
        count = len(self.nodes)
        self.expanded = np.zeros(count, bool)
        self.done = 0
        self.source: list[np.ndarray] = []
        self.target: list[np.ndarray] = []
        self.weight: list[np.ndarray] = []
        self.modulates: list[np.ndarray] = []
        self.gaps: list[float] = []
        self.bias = None if settings.live else self.model.bias()

    def _number(self) -> None:
        """Nodes in order: embeddings, biases, rest and Δ, components, logits."""
        positions = range(self.prompt.length)
        names = self.prompt.decomposition.components
        self.embedded = list(self.model.leaves.embedded)
        if "embed" in self.sizes:
            self.embedded = ["token", *self.embedded]
        nodes: list[Node] = [Node("token" if e == "token" else "position", p) for e in self.embedded for p in positions]
        nodes += [Node("bias", p) for p in positions]
        for kind in ("rest", "delta"):
            nodes += [Node(kind, p, weight) for weight in self.sizes for p in positions]  # type: ignore[arg-type]
        self.first_component = len(nodes)
        nodes += [Node.of(names[c].weight, names[c].index, p) for p, c in self.components]
        self.first_goal = len(nodes)
        nodes += [Node("logit", g.position, index=g.tokens[0][0]) for g in self.goals]
        self.nodes = nodes

    def _layout(self) -> None:
        """Where each node's edge stands in one row: [embedded·P | bias·P | rest·W·P | Δ·W·P | selected]."""
        self.flat = torch.tensor(
            [p * self.selected.shape[1] + c for p, c in self.components], dtype=torch.long, device=self.selected.device
        )

    def next(self) -> list[int]:
        """The nodes through which most influence runs, of those not expanded."""
        if self.done == 0:
            return list(range(self.first_goal, len(self.nodes)))[: self.settings.copies]
        found = influence(self._edges(), self.weights) + self.weights
        ready = ~self.expanded
        ready[: self.first_component] = False
        order = np.argsort(-np.where(ready, found, -1.0), kind="stable")
        return [int(n) for n in order[: self.settings.copies] if ready[n] and found[n] > 0]

    @property
    def weights(self) -> np.ndarray:
        """Of goals."""
        found = np.zeros(len(self.nodes))
        found[self.first_goal :] = [goal.weight for goal in self.goals]
        return found

    def aim(self, number: int) -> Aim:
        """The target that a node is."""
        node = self.nodes[number]
        if number >= self.first_goal:
            return Aim(LOGITS, node.position, direction=self.direction(self.goals[number - self.first_goal]))
        assert node.weight is not None and node.index is not None
        return Aim(node.weight, node.position, node.index)

    def direction(self, goal: Goal) -> Tensor:
        """Its tokens' logits, the mean logit taken off where the signs do not cancel it."""
        vocabulary = self.prompt.logits.shape[-1]
        made = torch.zeros(vocabulary, dtype=self.prompt.logits.dtype, device=self.prompt.logits.device)
        for token, sign in goal.tokens:
            made[token] += sign
        return made - made.sum() / vocabulary

    def expand(self, numbers: Sequence[int]) -> None:
        """Edges into some nodes."""
        aims = [self.aim(number) for number in numbers]
        value, modulating = self.model.pull(aims)
        rows = self._rows(value)
        bias = self._bias_of(aims)
        start = len(self.embedded) * self.prompt.length
        for row, (number, aim) in enumerate(zip(numbers, aims, strict=True)):
            rows[row, start + aim.position] = bias[row]
            node = self.nodes[number]
            if aim.weight == "embed":
                rows[row, node.position] = self.model.value(aim)
        self._keep(numbers, rows, modulating=False)
        self._keep(numbers, self._rows(modulating), modulating=True)
        if not self.settings.live:
            own = np.array([self.model.value(aim) for aim in aims])
            self.gaps += (np.abs(rows.sum(1) - own) / np.maximum(1.0, np.abs(own))).tolist()
        self.expanded[list(numbers)] = True
        self.done += len(numbers)

    def _bias_of(self, aims: Sequence[Aim]) -> list[float]:
        if self.bias is None:
            return [0.0] * len(aims)
        h, logits = self.bias
        return [
            float(logits[aim.position] @ aim.direction.to(logits.dtype))
            if aim.direction is not None
            else float(h[aim.weight][aim.position, aim.index]) * (aim.weight != "embed")
            for aim in aims
        ]

    def _rows(self, pulled: Pulled) -> Float64[np.ndarray, "target source"]:
        """Edges in the order of nodes, of all that come before the goals."""
        whole = torch.cat([pulled.components[weight] for weight in self.sizes], -1).double()
        count = whole.shape[0]
        inside = whole.flatten(1)[:, self.flat]
        rest = torch.where(self.selected, torch.zeros_like(whole), whole)
        by_weight = torch.stack([part.sum(-1) for part in rest.split(list(self.sizes.values()), -1)], 1)
        delta = torch.stack([pulled.delta[weight].double() for weight in self.sizes], 1)
        blank = torch.zeros((count, self.prompt.length), dtype=torch.float64, device=whole.device)
        embedded = [pulled.embedded[e].double() if e in pulled.embedded else blank for e in self.embedded]
        parts = [*embedded, blank, by_weight.flatten(1), delta.flatten(1), inside]
        return torch.cat(parts, 1).cpu().numpy()

    def _keep(self, numbers: Sequence[int], rows: np.ndarray, *, modulating: bool) -> None:
        row, source = np.nonzero(rows)
        self.source.append(source.astype(np.int64))
        self.target.append(np.asarray(numbers, np.int64)[row])
        self.weight.append(rows[row, source])
        self.modulates.append(np.full(len(row), modulating))

    def _edges(self) -> Edges:
        return Edges(
            np.concatenate([*self.source, np.zeros(0, np.int64)]),
            np.concatenate([*self.target, np.zeros(0, np.int64)]),
            np.concatenate([*self.weight, np.zeros(0)]),
            len(self.nodes),
        )

    def drawn(self) -> Drawn:
        """The graph so far."""
        prompt, count = self.prompt, len(self.nodes)
        value, importance, alive = np.zeros(count), np.zeros(count), np.zeros(count, bool)
        where = slice(self.first_component, self.first_goal)
        for kept, values in ((value, prompt.activations), (importance, prompt.importance), (alive, prompt.alive)):
            kept[where] = values.flatten()[self.flat].cpu().numpy()
        for number in range(self.first_goal, count):
            value[number] = self.model.value(self.aim(number))
        reached: Int64[np.ndarray, " node"] = np.arange(self.first_component, self.first_goal)
        return Drawn(
            self.nodes,
            value,
            importance,
            alive,
            self.expanded,
            self.weights,
            self._edges(),
            np.concatenate([*self.modulates, np.zeros(0, bool)]),
            int((~self.expanded[reached]).sum()),
            max(self.gaps, default=0.0) if not self.settings.live else float("nan"),
        )
