"""`faithfulness`: Σ_l ‖Δ_l‖² / number of weights: how far the components are from summing to the matrices."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from radiograph.decompose._scene import Scene
from radiograph.decompose.losses._loss import Option

OPTIONS: dict[str, Option] = {}


def measure(scene: Scene, options: Mapping[str, Any]) -> Tensor:
    """Mean squared entry of Δ over all decomposed weights."""
    return faithfulness(scene)


def faithfulness(scene: Scene) -> Tensor:
    """The same, of anything that has a target and factors."""
    total, count = [], 0
    for weight, factors in scene.factors.items():
        matrix = scene.target.matrix(weight)
        delta = torch.addmm(matrix.T.to(factors.reads.dtype), factors.reads, factors.writes, alpha=-1)
        total.append(delta.square().sum())
        count += matrix.numel()
    return torch.stack(total).sum() / count
