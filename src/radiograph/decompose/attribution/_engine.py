"""The direct effect of sources on targets over tokens, all masks 1 and Δ on, on the linearised forward.

1. every decomposed weight is cut: its activations and its Δ output are leaves, so an effect is direct   2. targets are
summed over batch and positions first: one backward a target and variant. `signed` on Σ y; `abs` on Σ |y|, which needs
its own, because the sign of y differs by position and cannot be taken out of the sum   3. effect = gradient × leaf,
summed over all positions of the source; tokens are scattered by id   4. what the unembedding reads is a target of its
own, a backward a column: effects on logits are (effect in residual space) · unembedding, and only that is kept

Targets stand on counted positions; sources on all. One thread a shard, whoever runs it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from radiograph.core import Task
from radiograph.decompose._decomposition import Decomposition
from radiograph.decompose._files import load
from radiograph.decompose.attribution._sums import Effects
from radiograph.decompose.statistics import Spec, Texts, part_of
from radiograph.decompose.statistics._shards import single_thread
from radiograph.models import ModelRef, pad, plan
from radiograph.models import load as load_model
from radiograph.models.linearised import Linearised
from radiograph.models.masked import Target, of_model


class Attributor:
    """A model, its decomposition, and which components are targets."""

    def __init__(self, target: Target, decomposition: Decomposition, spec: Spec, texts: Texts) -> None:
        """Refuses a decomposition of another model."""
        decomposition.check(target)
        self.target, self.decomposition, self.spec, self.texts = target, decomposition, spec, texts
        self.bounds = texts.bounds(spec.facts["shard_tokens"])
        self.batch_tokens = spec.facts["batch_tokens"]
        self.aims = by_weight(decomposition, np.array(spec.facts["targets"], np.int64))

    def empty(self) -> Effects:
        """Of no tokens."""
        assert self.target.model is not None, "a language model is attributed"
        return Effects.empty(self.decomposition.size, self.target.model.vocab_size, self.target.place("embed").outputs)

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
                attribute_batch(found, self.target, self.decomposition, batch.ids, counted, self.aims)
                found.counted += int(counted.sum())
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


def attribute_batch(
    found: Effects,
    target: Target,
    decomposition: Decomposition,
    inputs: Tensor,
    counted: Tensor,
    aims: Mapping[str, list[int]],
    *,
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
        live: plain gradients, for a network of which nothing is fixed.
        residual: whether effects on what the unembedding reads are wanted: a backward a column.
    """
    cut = Linearised.of(target, decomposition.factors, inputs, live=live)
    for weight, indices in aims.items():
        h = cut.live_activations[weight]
        if not h.requires_grad:  # nothing stands before it
            continue
        for index in indices:
            y = h[..., index][counted.to(h.device)]
            column = decomposition.offsets[weight] + index
            value, modulating = cut.into(y.sum())
            _add(found, "signed", column, cut, decomposition, inputs, value)
            found.add("components.modulating", column, _by_component(cut, decomposition, modulating))
            _add(found, "abs", column, cut, decomposition, inputs, cut.into(y.abs().sum())[0])
    if target.model is None or not residual:
        return
    read = cut.read[counted.to(cut.read.device)].sum(0)
    for column in range(len(read)):
        value, _ = cut.into(read[column])
        found.add("out.components", column, _by_component(cut, decomposition, value))
        found.add("out.tokens", column, _by_token(cut, inputs, value, found.sums["out.tokens"].shape[0]))


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


def _add(
    found: Effects,
    variant: str,
    column: int,
    cut: Linearised,
    decomposition: Decomposition,
    inputs: Tensor,
    gradients: Sequence[Tensor],
) -> None:
    found.add(f"components.{variant}", column, _by_component(cut, decomposition, gradients))
    if not inputs.is_floating_point():
        vocabulary = found.sums[f"tokens.{variant}"].shape[0]
        found.add(f"tokens.{variant}", column, _by_token(cut, inputs, gradients, vocabulary))


def _by_component(cut: Linearised, decomposition: Decomposition, gradients: Sequence[Tensor]) -> np.ndarray:
    """Σ gradient × leaf of every component."""
    leaves = cut.met.components
    own = {
        weight: (g * leaf.detach()).flatten(0, -2).sum(0, dtype=torch.float64)
        for (weight, leaf), g in zip(leaves.items(), gradients, strict=False)
    }
    return torch.cat([own[weight] for weight in decomposition.factors]).cpu().numpy()


def _by_token(cut: Linearised, ids: Tensor, gradients: Sequence[Tensor], vocabulary: int) -> np.ndarray:
    """Σ gradient × leaf of what tokens bring by themselves, by id: their embedding, or what components leave of it."""
    leaves = cut.met
    ordered = [
        *((name, leaf) for name, leaf in leaves.components.items()),
        *(((f"delta.{name}"), leaf) for name, leaf in leaves.delta.items()),
        *(((f"embedded.{name}"), leaf) for name, leaf in leaves.embedded.items()),
    ]
    total = torch.zeros(vocabulary, dtype=torch.float64, device=ids.device)
    for (name, leaf), g in zip(ordered, gradients, strict=True):
        if name in ("embedded.token", "delta.embed"):
            effect = (g * leaf.detach()).sum(-1, dtype=torch.float64)
            total.index_add_(0, ids.flatten(), effect.flatten())
    return total.cpu().numpy()
