"""How often components fire: importance above a threshold, over positions that no step saw."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor

from radiograph.decompose._decomposition import Decomposition
from radiograph.models.masked import Target

BINS = 20


@dataclass(frozen=True, eq=False)
class Firing:
    """Of one weight, by component."""

    firings: Tensor
    """Positions where importance exceeds the threshold."""
    importance: Tensor
    """Sum of importance over positions."""
    largest: Tensor
    strength: Tensor
    """Sum of |h|·‖U‖ over positions."""
    histogram: Tensor
    """Importance of all components and positions, in equal bins of [0, 1]."""


def firing(
    decomposition: Decomposition, target: Target, batches: Iterable[Tensor], threshold: float
) -> tuple[dict[str, Firing], int]:
    """Counts by weight, and the number of positions."""
    found: dict[str, Firing] = {}
    positions = 0
    for inputs in batches:
        with torch.no_grad():
            seen = decomposition.observe(target, inputs)
        positions += seen.lower[decomposition.weights[0]].flatten(0, -2).shape[0]
        for weight, g in seen.lower.items():
            flat, h = g.flatten(0, -2), seen.h[weight].flatten(0, -2)
            norms = decomposition.factors[weight].writes.norm(dim=1)
            now = Firing(
                (flat > threshold).sum(0),
                flat.double().sum(0),
                flat.amax(0),
                (h.abs() * norms).double().sum(0),
                torch.histc(flat.float(), BINS, 0.0, 1.0),
            )
            old = found.get(weight)
            found[weight] = now if old is None else _added(old, now)
    return found, positions


def _added(a: Firing, b: Firing) -> Firing:
    return Firing(
        a.firings + b.firings,
        a.importance + b.importance,
        torch.maximum(a.largest, b.largest),
        a.strength + b.strength,
        a.histogram + b.histogram,
    )
