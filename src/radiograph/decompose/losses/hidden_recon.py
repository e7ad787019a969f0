"""`hidden_recon`: mean squared error of what later decomposed weights read, masked against the target's own.

Weights that read token ids are left out; a decomposition of one weight has nothing later and gives 0.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from radiograph.decompose._scene import Scene
from radiograph.decompose.losses._loss import Option
from radiograph.models.masked import masked, recorded

OPTIONS: dict[str, Option] = {"masks": "continuous"}


def measure(scene: Scene, options: Mapping[str, Any]) -> Tensor:
    """Mean over weights of the mean squared difference of their inputs."""
    masks = scene.masks(str(options["masks"]))
    with recorded(scene.target, scene.weights) as record, masked(scene.target, scene.factors, masks):
        scene.target.run(scene.inputs)
    own, seen = scene.seen.record.inputs, record.inputs
    floating = [weight for weight in scene.weights if own[weight].is_floating_point()]
    if not floating:
        return scene.seen.output.new_zeros(())
    return torch.stack([(seen[weight] - own[weight]).square().mean() for weight in floating]).mean()
