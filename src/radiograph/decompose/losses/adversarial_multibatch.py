"""`adversarial_multibatch`: D under one r that was learned over many batches: the worst mask that generalises.

Every call takes one step along the sign of the gradient summed over the last `batches` calls; the loss is D at r as it
then is. An evaluation loss: give it weight 0 in training to have it measured.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from radiograph.decompose._scene import Scene
from radiograph.decompose.losses._loss import Option

OPTIONS: dict[str, Option] = {"batches": 4, "size": 0.1}
_R, _SUM, _COUNT = (f"adversarial_multibatch/{part}" for part in ("r", "sum", "count"))


def measure(scene: Scene, options: Mapping[str, Any]) -> Tensor:
    """The distance at the shared r; its gradient is added up."""
    like = scene.seen.output
    if _R not in scene.memory:
        start = torch.rand(scene.variables, generator=scene.generator, device=scene.generator.device)
        scene.memory[_R] = start.to(like.device)
        scene.memory[_SUM] = torch.zeros_like(scene.memory[_R])
        scene.memory[_COUNT] = torch.zeros(())
    with torch.enable_grad():
        r = scene.memory[_R].clone().requires_grad_()
        loss = scene.mean_distance(scene.output(scene.attacked(r, detached=True)))
        (gradient,) = torch.autograd.grad(loss, r)
    scene.memory[_SUM] = scene.memory[_SUM] + gradient
    scene.memory[_COUNT] = scene.memory[_COUNT] + 1
    if int(scene.memory[_COUNT]) >= int(options["batches"]):
        moved = scene.memory[_R] + float(options["size"]) * scene.memory[_SUM].sign()
        scene.memory[_R] = moved.clamp(0.0, 1.0)
        scene.memory[_SUM] = torch.zeros_like(moved)
        scene.memory[_COUNT] = torch.zeros(())
    return scene.mean_distance(scene.output(scene.attacked(scene.memory[_R], detached=False)))
