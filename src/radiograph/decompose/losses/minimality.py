"""`minimality`: Σ_l Σ_c μ_c, μ_c the mean over positions of (upper importance + 1e-12)^p, not divided by weights.

p goes linearly from `p` to `p_end` between the fractions `start` and `end` of training. `beta` adds the frequency term
β Σ_c μ_c log2(1 + Σ_batch g^p): its sum runs over the whole batch, so that components that fire often cost more.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from radiograph.decompose._scene import Scene
from radiograph.decompose.losses._loss import Option

OPTIONS: dict[str, Option] = {"p": 1.0, "p_end": 0.0, "start": 0.0, "end": 1.0, "beta": 0.0}
EPSILON = 1e-12


def measure(scene: Scene, options: Mapping[str, Any]) -> Tensor:
    """The sum over weights and components."""
    p = power(options, scene.fraction)
    beta = float(options["beta"])
    total: list[Tensor] = []
    for g in scene.seen.upper.values():
        powered = g + EPSILON if p == 1.0 else (g + EPSILON) ** p
        flat = powered.flatten(0, -2)
        if beta:
            sums = flat.sum(0)
            mean = sums / len(flat)
            total.append((mean * (1.0 + beta * torch.log2(1.0 + sums))).sum())
        else:
            total.append(flat.sum() / len(flat))
    return torch.stack(total).sum()


def power(options: Mapping[str, Any], fraction: float) -> float:
    """The power at a fraction of training; `p_end` 0 keeps p."""
    p, end = float(options["p"]), float(options["p_end"])
    if end == 0.0 or end == p:
        return p
    first, last = float(options["start"]), float(options["end"])
    share = min(1.0, max(0.0, (fraction - first) / max(last - first, 1e-9)))
    return p + (end - p) * share
