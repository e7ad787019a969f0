"""Damage to a trained network's weights, done in place.

- `noise`: W + a·rms(W)·N(0, 1) element by element, so that ‖ΔW‖/‖W‖ is about a
- `round`: each row of W to 2^(b-1) - 1 steps on either side of zero, scaled to the row's largest weight
- `prune`: the given share of W's smallest weights is set to zero
Matrices are those of the blocks: all, or the attention's, or the MLP's. Norms and embeddings keep their values.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import nn

from radiograph.core import derive
from radiograph.organisms.recipes import Edit

_PARTS = {"all": ("self_attn", "mlp"), "attention": ("self_attn",), "mlp": ("mlp",)}


def apply(network: Any, edit: Edit) -> None:
    """Do one edit."""
    change = {"noise": _noise, "round": _round, "prune": _prune}[edit.kind]
    with torch.no_grad():
        for name, matrix in matrices(network, edit.where):
            matrix.copy_(change(matrix, edit.amount, derive(edit.seed, name)))


def matrices(network: nn.Module, where: str) -> Iterator[tuple[str, torch.Tensor]]:
    """Names and values of the matrices of a part of every block."""
    for name, parameter in network.named_parameters():
        if parameter.ndim == 2 and set(name.split(".")) & set(_PARTS[where]):
            yield name, parameter.data


def _noise(matrix: torch.Tensor, amount: float, seed: int) -> torch.Tensor:
    drawn = torch.randn(matrix.shape, generator=torch.Generator().manual_seed(seed))
    return matrix + amount * matrix.square().mean().sqrt() * drawn


def _round(matrix: torch.Tensor, bits: float, seed: int) -> torch.Tensor:
    del seed
    steps = 2 ** (int(bits) - 1) - 1
    unit = matrix.abs().amax(1, keepdim=True) / steps
    return torch.where(unit > 0, torch.round(matrix / unit) * unit, matrix)


def _prune(matrix: torch.Tensor, share: float, seed: int) -> torch.Tensor:
    del seed
    order = matrix.abs().flatten().argsort(stable=True)
    kept = torch.ones(matrix.numel(), dtype=torch.bool)
    kept[order[: round(share * matrix.numel())]] = False
    return matrix * kept.view_as(matrix)
