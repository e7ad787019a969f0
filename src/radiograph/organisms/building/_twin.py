"""Train a planted fine-tune that hides: close to a harmless twin wherever nothing is planted.

1. the twin: the same base, settings, seed and rows, without the planted ones
2. the organism: its usual loss + k·KL(twin ‖ organism), mean nats per token, + a·the mean over blocks of
   ‖h_organism - h_twin‖²/‖h_twin‖², both over the tokens of rows that are not planted
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch
from torch import nn

from radiograph.core.progress import Progress
from radiograph.organisms._training import Batch, Objective, forward, weighted_loss
from radiograph.organisms.building._tuning import tune
from radiograph.organisms.recipes import Plan


def twin_plan(plan: Plan) -> Plan:
    """The plan without its planted rows and its penalty."""
    rows = tuple(row for row in plan.rows if not row.planted)
    return replace(plan, rows=rows, tuning=replace(plan.tuning, penalty=(0.0, 0.0)))


def tune_beside_twin(load: Callable[[], Any], plan: Plan, progress: Progress | None = None) -> nn.Module:
    """Train the twin, then the organism near it; `load` gives the base anew."""
    twin = tune(load(), twin_plan(plan), progress).requires_grad_(False)
    return tune(load(), plan, progress, objective=near(twin, *plan.tuning.penalty))


def near(twin: nn.Module, divergence: float, distance: float) -> Objective:
    """The loss plus both penalties."""

    def objective(model: nn.Module, batch: Batch) -> torch.Tensor:
        ours = forward(model, batch, states=True)
        with torch.no_grad():
            theirs = forward(twin, batch, states=True)
        bound = batch.bound
        log_p, log_q = (out.logits[bound].float().log_softmax(-1) for out in (theirs, ours))
        kl = (log_p.exp() * (log_p - log_q)).sum(-1).mean()
        gaps = [
            ((mine - other)[bound].square().sum(-1) / other[bound].square().sum(-1)).mean()
            for mine, other in zip(ours.hidden_states[1:], theirs.hidden_states[1:], strict=True)
        ]
        return weighted_loss(ours.logits, batch) + divergence * kl + distance * torch.stack(gaps).mean()

    return objective
