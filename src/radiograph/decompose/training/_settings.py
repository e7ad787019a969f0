"""What decides a training, besides target, data and seed."""

from __future__ import annotations

import math
from typing import Any, Literal

from pydantic import Field

from radiograph.core import Config
from radiograph.decompose._scene import Distance

Start = Literal["data", "spread", "random"]
Schedule = Literal["flat_cosine", "cosine", "constant"]
FLAT = 0.6
"""Share of a training in which `flat_cosine` keeps its rate."""


class Settings(Config):
    """Everything that the steps depend on."""

    sizes: dict[str, int]
    """Weight to number of components."""
    losses: tuple[str, ...]
    """`NAME:WEIGHT[,key=value]`."""
    distance: Distance
    importance: str = "shared"
    importance_options: dict[str, Any] = Field(default_factory=dict)
    squash: str = "leaky_hard"
    start: Start = "data"
    steps: int = Field(default=4000, ge=1)
    batch: int = Field(default=256, ge=1)
    """Rows a step."""
    learning_rate: float = Field(default=3e-3, gt=0)
    schedule: Schedule = "flat_cosine"
    warmup_steps: int = Field(default=200, ge=0)
    """Steps on faithfulness alone, before."""
    warmup_rate: float = 1e-2
    warmup_decay: float = 0.1
    clip_components: float = 0.0
    """Norm to which gradients of V and U are cut; 0 is off."""
    clip_nets: float = 0.0
    eval_every: int = Field(default=500, ge=1)
    precision: Literal["fp32", "bf16", "fp64"] = "fp32"
    seed: int = 0

    def rate(self, step: int) -> float:
        """The learning rate of a step."""
        share = step / self.steps
        match self.schedule:
            case "constant":
                factor = 1.0
            case "cosine":
                factor = 0.5 * (1.0 + math.cos(math.pi * share))
            case _:
                factor = 0.5 * (1.0 + math.cos(math.pi * max(0.0, (share - FLAT) / (1.0 - FLAT))))
        return self.learning_rate * factor
