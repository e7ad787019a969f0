"""Nodes join a selection until the evaluation adversary no longer breaks it.

1. the worst masks for the selection (`worst`)   2. it holds when the label keeps a share of its probability in the
target wherever it was attacked, or, where a largest loss is given, when the loss grows by no more than that   3. else
the free nodes with the largest first-order damage at those masks, ∂loss/∂m · (m − 1), join: 10 % of the selection, at
least 10, or as many as did any   4. again, until it holds or all alive nodes are in. If even those fail the
decomposition is at fault, and the caller refuses.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from radiograph.core.shapes import Bool, Float
from radiograph.decompose.adversary import Attack
from radiograph.decompose.circuits._context import Context
from radiograph.decompose.circuits._prompt import Prompt
from radiograph.decompose.circuits._regimes import HARD, Regime, worst

SHARE = 0.1
LEAST = 10


@dataclass(frozen=True, eq=False)
class Repaired:
    """A selection after repair."""

    selected: Bool[Tensor, "position component"]
    regime: Regime
    """The adversary on it."""
    rounds: int
    holds: bool


def holds(context: Context, p: float, loss: float, *, keep: float, max_loss: float | None) -> bool:
    """Whether a regime leaves enough: of the label's probability, or of the loss, over that of the target."""
    if max_loss is not None:
        return loss - context.target_loss <= max_loss
    return p >= keep * context.target_probability


def repair(
    prompt: Prompt,
    selected: Bool[Tensor, "position component"],
    context: Context,
    *,
    seed: int,
    keep: float,
    max_loss: float | None = None,
    settings: Sequence[Attack] = HARD,
    watch: Callable[[int, Regime], None] | None = None,
) -> Repaired:
    """Add what is missing."""
    rounds = 0
    while True:
        found = worst(prompt, selected, context, seed=seed, settings=settings)
        if watch is not None:
            watch(int(selected.sum()), found)
        good = holds(context, found.label.p, found.measured.loss, keep=keep, max_loss=max_loss)
        free = prompt.alive & ~selected
        if good or not bool(free.any()):
            return Repaired(selected, found, rounds, good)
        at = (found.masks, found.delta) if max_loss is not None else (found.label.masks, found.label.delta)
        damage = _damage(prompt, context if max_loss is not None else context.of_label(), *at)
        damage = damage.masked_fill(~free, -torch.inf)
        count = min(int(free.sum()), max(LEAST, round(SHARE * int(selected.sum()))))
        # What did no damage at these masks is left out, unless nothing did any.
        count = min(count, int((damage > 0).sum())) or count
        joins = damage.flatten().topk(count).indices
        selected = selected.flatten().index_fill(0, joins, True).view_as(selected)
        rounds += 1


def _damage(
    prompt: Prompt, context: Context, masks: Tensor, delta: Tensor | None
) -> Float[Tensor, "position component"]:
    masks = masks.detach()[None].requires_grad_()
    loss = context.loss(prompt.run(masks, None if delta is None else delta[None])).sum()
    (gradient,) = torch.autograd.grad(loss, masks)
    return (gradient * (masks.detach() - 1))[0]
