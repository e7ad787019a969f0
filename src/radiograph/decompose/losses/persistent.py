"""`persistent`: D under `sources` masks r that learn from step to step to hurt, batch-independent, Δ's included.

Rows of a batch take turns with the sources. After the step's backward each r ascends by its own Adam (`rate`, .9, .99)
along the gradient of the same loss, and is projected to [0, 1]. Source: adversarial parameter decomposition (2026).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from radiograph.decompose._scene import Scene
from radiograph.decompose.losses._loss import Option

OPTIONS: dict[str, Option] = {"sources": 8, "rate": 0.1}
_R, _MEAN, _SQUARE, _STEP = (f"persistent/{part}" for part in ("r", "mean", "square", "step"))
_BETAS, _EPSILON = (0.9, 0.99), 1e-8


def measure(scene: Scene, options: Mapping[str, Any]) -> Tensor:
    """The distance, its gradient to r kept for `after`."""
    memory, count = scene.memory, int(options["sources"])
    if _R not in memory:
        start = torch.rand((count, scene.variables), generator=scene.generator, device=scene.generator.device)
        memory[_R] = start.to(scene.seen.output.device)
        memory[_MEAN], memory[_SQUARE] = torch.zeros_like(memory[_R]), torch.zeros_like(memory[_R])
        memory[_STEP] = torch.zeros(count, 1, device=memory[_R].device)
    memory[_R] = memory[_R].detach().requires_grad_(torch.is_grad_enabled())
    batch = scene.shape[0]
    turns = torch.arange(batch, device=memory[_R].device) % count
    r = memory[_R][turns]
    r = r.view(batch, *(1,) * (len(scene.shape) - 1), -1)
    return scene.mean_distance(scene.output(scene.attacked(r, detached=False)))


def after(scene: Scene, options: Mapping[str, Any]) -> None:
    """One ascent of every r that took a turn."""
    memory = scene.memory
    gradient = memory[_R].grad
    if gradient is None:
        return
    with torch.no_grad():
        turned = (gradient != 0).any(1, keepdim=True)
        memory[_STEP] = memory[_STEP] + turned
        mean = torch.lerp(memory[_MEAN], gradient, 1 - _BETAS[0])
        square = torch.lerp(memory[_SQUARE], gradient.square(), 1 - _BETAS[1])
        memory[_MEAN] = torch.where(turned, mean, memory[_MEAN])
        memory[_SQUARE] = torch.where(turned, square, memory[_SQUARE])
        steps = memory[_STEP].clamp(min=1)
        move = (mean / (1 - _BETAS[0] ** steps)) / ((square / (1 - _BETAS[1] ** steps)).sqrt() + _EPSILON)
        moved = (memory[_R] + float(options["rate"]) * move).clamp(0.0, 1.0)
        memory[_R] = torch.where(turned, moved, memory[_R]).detach()
