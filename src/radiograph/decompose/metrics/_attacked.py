"""The worst masks that one r for a whole batch can make, beside random ones (see `adversary`)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from radiograph.decompose._decomposition import Decomposition
from radiograph.decompose._scene import Distance, Scene
from radiograph.decompose.adversary import EVALUATION, Attack, attack
from radiograph.models.masked import Target


@dataclass(frozen=True, slots=True)
class Attacks:
    """Distances to the target on one batch."""

    adversarial: float
    best_random: float
    mean_random: float
    steps: str
    draws: int
    freedom: int
    rows: int


def attacked(
    decomposition: Decomposition,
    target: Target,
    inputs: Tensor,
    distance: Distance,
    generator: torch.Generator,
    settings: Attack = EVALUATION,
) -> Attacks:
    """Attack one batch, Δ's mask included."""
    seen = decomposition.observe(target, inputs)
    scene = Scene(target, decomposition.factors, decomposition.squash, inputs, seen, distance, generator)

    def objective(points: Tensor) -> Tensor:
        return torch.stack([scene.mean_distance(scene.output(scene.attacked(r, detached=True))) for r in points])

    found = attack(objective, scene.variables, settings, generator, rows=1, like=seen.output.float())
    return Attacks(
        found.value,
        found.best_random,
        found.mean_random,
        str(settings),
        settings.random,
        found.freedom,
        len(inputs),
    )
