"""The direct effect of sources on targets over tokens, all masks 1 and Δ on, on the linearised forward.

1. every decomposed weight is cut: its activations and its Δ output are leaves, so an effect is direct   2. targets are
summed over batch and positions first: one backward a target and variant. `signed` on Σ y; `abs` on Σ |y|, which needs
its own, because the sign of y differs by position and cannot be taken out of the sum   3. effect = gradient × leaf,
summed over the positions of each text, whose spread is the error; tokens are scattered by id   4. readers: random
directions of norm 1, as every component's V, stand beside each weight's components, write nothing and are targets too
5. what the unembedding reads is a target of its own, a backward a column: effects on logits are (effect in residual
space) · unembedding, and only that is kept

Targets stand on counted positions; sources on all. One thread a shard, whoever runs it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from radiograph.core import Task, derive
from radiograph.decompose._decomposition import Decomposition
from radiograph.decompose._files import load
from radiograph.decompose.attribution._sums import READERS, Effects
from radiograph.decompose.statistics import Spec, Texts, part_of
from radiograph.decompose.statistics._shards import single_thread
from radiograph.models import ModelRef, pad, plan
from radiograph.models import load as load_model
from radiograph.models.linearised import Linearised
from radiograph.models.masked import Factors, Target, of_model


class Attributor:
    """A model, its decomposition, and which components are targets."""

    def __init__(self, target: Target, decomposition: Decomposition, spec: Spec, texts: Texts) -> None:
        """Refuses a decomposition of another model."""
        decomposition.check(target)
        self.target, self.decomposition, self.spec, self.texts = target, decomposition, spec, texts
        self.bounds = texts.bounds(spec.facts["shard_tokens"])
        self.batch_tokens = spec.facts["batch_tokens"]
        self.aims = by_weight(decomposition, np.array(spec.facts["targets"], np.int64))
        self.readers = readers_of(target, decomposition, spec.facts["readers"], spec.facts["seed"])

    def empty(self) -> Effects:
        """Of no tokens."""
        assert self.target.model is not None, "a language model is attributed"
        return Effects.empty(
            self.decomposition.size,
            self.target.model.vocab_size,
            self.target.place("embed").outputs,
            readers=self.spec.facts["readers"] * len(self.decomposition.weights),
            length=int(self.texts.lengths.max()) if len(self.texts) else 1,
        )

    def shard(self, number: int, task: Task | None = None) -> Effects:
        """One shard."""
        first, last = self.bounds[number : number + 2].tolist()
        rows = [self.texts.row(n) for n in range(first, last)]
        found = self.empty()
        found.shards = (number,)
        with single_thread():
            for chosen in plan([len(row) for row in rows], self.batch_tokens):
                batch = pad(rows, chosen, device=self.target.device)
                counted = torch.zeros(batch.ids.shape, dtype=torch.bool)
                for line, row in enumerate(batch.rows):
                    marks = self.texts.marks(first + row)
                    counted[line, : len(marks)] = torch.from_numpy(marks.copy())
                attribute_batch(
                    found, self.target, self.decomposition, batch.ids, counted, self.aims, readers=self.readers
                )
                if task is not None:
                    task.advance(int(counted.sum()))
        return found


def by_weight(decomposition: Decomposition, targets: np.ndarray) -> dict[str, list[int]]:
    """Targets by weight, from their numbers among all components."""
    found: dict[str, list[int]] = {}
    for number in np.sort(targets).tolist():
        component = decomposition.components[number]
        found.setdefault(component.weight, []).append(component.index)
    return found


def readers_of(target: Target, decomposition: Decomposition, count: int, seed: int) -> dict[str, Tensor]:
    """Random directions of norm 1 in what each weight reads [input, reader]; an embedding reads tokens and has none."""
    found: dict[str, Tensor] = {}
    for weight, factors in decomposition.factors.items():
        if target.place(weight).kind != "lookup":
            luck = np.random.default_rng(derive(seed, "reader", weight))
            drawn = luck.standard_normal((len(factors.reads), count))
            found[weight] = torch.from_numpy(drawn / np.linalg.norm(drawn, axis=0)).to(factors.reads)
    return found


def attribute_batch(
    found: Effects,
    target: Target,
    decomposition: Decomposition,
    inputs: Tensor,
    counted: Tensor,
    aims: Mapping[str, list[int]],
    *,
    readers: Mapping[str, Tensor] | None = None,
    live: bool = False,
    residual: bool = True,
) -> None:
    """Add the effects of one batch.

    Args:
        found: what they are added to.
        target: the network.
        decomposition: of it.
        inputs: token ids [batch, position], padded on the right; or vectors.
        counted: where targets stand.
        aims: targets by weight.
        readers: by weight, directions that are targets beside them [input, reader], as many of each weight.
        live: plain gradients, for a network of which nothing is fixed.
        residual: whether effects on what the unembedding reads are wanted: a backward a column.
    """
    readers = readers or {}
    parts = {weight: _beside(factors, readers.get(weight)) for weight, factors in decomposition.factors.items()}
    cut = Linearised.of(target, parts, inputs, live=live)
    tokens = counted.reshape(len(counted), -1).sum(1).cpu().numpy()
    found.count(tokens)
    batch = _Batch(found, cut, decomposition, inputs, tokens)
    for weight, indices in aims.items():
        h = cut.live_activations[weight]
        if not h.requires_grad:  # nothing stands before it
            continue
        own = h[counted.to(h.device)]
        for index in indices:
            batch.component(own[..., index], decomposition.offsets[weight] + index)
        if weight in readers:
            size, n = decomposition.sizes[weight], readers[weight].shape[1]
            place = decomposition.weights.index(weight) * n
            for number in range(n):
                batch.reader(own[..., size + number], place + number)
    if target.model is None or not residual:
        return
    read = cut.read[counted.to(cut.read.device)].sum(0)
    for column in range(len(read)):
        value, _ = cut.into(read[column])
        found.add("out.components", (slice(None), column), batch.by_component(value).sum(0))
        met, by_text = batch.by_token(value)
        found.add("out.tokens", (met, column), by_text.sum(0))


def attribute_shard(spec: Spec, number: int) -> int:
    """Attribute one shard and commit it; returns its counted tokens. All that a worker does, wherever it runs."""
    effects = _opened(spec).shard(number)
    effects.save(part_of(spec.home, number), spec.sha256)
    return effects.counted


@lru_cache(maxsize=1)
def _opened(spec: Spec) -> Attributor:
    """The model, loaded once a process."""
    target = of_model(load_model(ModelRef(spec.model), device=spec.device))
    return Attributor(target, load(Path(spec.decomposition), spec.device), spec, Texts.open(spec.home))


def _beside(factors: Factors, readers: Tensor | None) -> Factors:
    """Components, and directions beside them that write nothing: the product stays what it is."""
    if readers is None:
        return factors
    nothing = factors.writes.new_zeros(readers.shape[1], factors.writes.shape[1])
    return Factors(torch.cat([factors.reads, readers], dim=1), torch.cat([factors.writes, nothing]))


@dataclass(frozen=True, eq=False)
class _Batch:
    """One forward, and what is read off its gradients."""

    found: Effects
    cut: Linearised
    decomposition: Decomposition
    inputs: Tensor
    tokens: np.ndarray
    """Counted ones of each text."""

    def component(self, y: Tensor, column: int) -> None:
        """Effects on a component, by its activation at counted positions, with their errors."""
        for name, at, values in self._effects(y, column):
            self.found.add_texts(name, at, values, self.tokens)

    def reader(self, y: Tensor, column: int) -> None:
        """Effects on a random direction."""
        for name, at, values in self._effects(y, column):
            self.found.add(f"{name}{READERS}", at, values.sum(0))

    def _effects(self, y: Tensor, column: int) -> Iterator[tuple[str, Any, np.ndarray]]:
        """Name, place, and values by text."""
        value, modulating = self.cut.into(y.sum())
        everything = slice(None), column
        yield "components.modulating", everything, self.by_component(modulating)
        for variant, gradients in (("signed", value), ("abs", self.cut.into(y.abs().sum())[0])):
            yield f"components.{variant}", everything, self.by_component(gradients)
            if not self.inputs.is_floating_point():
                met, by_text = self.by_token(gradients)
                yield f"tokens.{variant}", (met, column), by_text

    def by_component(self, gradients: Sequence[Tensor]) -> np.ndarray:
        """Σ gradient × leaf of every component [text, component]."""
        leaves = self.cut.met.components
        own = {
            weight: (g * leaf.detach()).reshape(len(leaf), -1, leaf.shape[-1]).sum(1, dtype=torch.float64)
            for (weight, leaf), g in zip(leaves.items(), gradients, strict=False)
        }
        sizes = self.decomposition.sizes
        return torch.cat([own[weight][:, : sizes[weight]] for weight in sizes], dim=1).cpu().numpy()

    def by_token(self, gradients: Sequence[Tensor]) -> tuple[np.ndarray, np.ndarray]:
        """Σ gradient × leaf of what tokens bring by themselves: their embedding, or what components leave of it.

        By the tokens of the batch, which are named: [text, token].
        """
        leaves = self.cut.met
        ordered = [
            *((name, leaf) for name, leaf in leaves.components.items()),
            *(((f"delta.{name}"), leaf) for name, leaf in leaves.delta.items()),
            *(((f"embedded.{name}"), leaf) for name, leaf in leaves.embedded.items()),
        ]
        met, place = self._met
        total = torch.zeros(len(self.inputs), len(met), dtype=torch.float64, device=self.inputs.device)
        for (name, leaf), g in zip(ordered, gradients, strict=True):
            if name in ("embedded.token", "delta.embed"):
                total.scatter_add_(1, place, (g * leaf.detach()).sum(-1, dtype=torch.float64))
        return met, total.cpu().numpy()

    @cached_property
    def _met(self) -> tuple[np.ndarray, Tensor]:
        """The tokens of the batch, and which of them stands at each place."""
        met, place = torch.unique(self.inputs, return_inverse=True)
        return met.cpu().numpy(), place
