"""What a training holds between two steps."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor

from radiograph.decompose.importance import Importance
from radiograph.models.masked import Factors


@dataclass(frozen=True, slots=True)
class LogRow:
    """One evaluation on held-out batches, losses without their weights."""

    step: int
    total: float
    """Weighted sum."""
    losses: dict[str, float]
    active: dict[str, float]
    """Per weight, components per position with importance above 0."""


@dataclass(eq=False)
class State:
    """Everything that the steps that follow depend on, but target, data and settings."""

    factors: dict[str, Factors]
    importance: Importance
    optimiser: torch.optim.AdamW
    memory: dict[str, Tensor] = field(default_factory=dict)
    step: int = 0
    log: list[LogRow] = field(default_factory=list)

    @property
    def tensors(self) -> dict[str, Tensor]:
        """What is trained, by name."""
        found: dict[str, Tensor] = {}
        for weight, own in self.factors.items():
            found[f"V/{weight}"], found[f"U/{weight}"] = own.reads, own.writes
        return found | {f"importance/{name}": tensor for name, tensor in self.importance.trained.items()}
