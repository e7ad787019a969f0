"""Toy networks whose weights are sums of known parts.

`Superposition` (TMS): y = ReLU(w_out hidden… w_in x + b): features squeezed through a narrow layer; trained with
w_out = w_inᵀ, hidden layers the identity. `ResidualMLP`: x is embedded by fixed random unit vectors, passes blocks
r + down ReLU(up r), and is read out by the transpose; the label is x + ReLU(x).
Source: Elhage et al. 2022 (TMS); the targets of attribution-based and stochastic parameter decomposition (2025).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from radiograph.core.shapes import Float


class Superposition(nn.Module):
    """Toy model of superposition."""

    def __init__(self, features: int, width: int, hidden: int = 0) -> None:
        super().__init__()
        self.w_in = nn.Linear(features, width, bias=False)
        self.hidden = nn.ModuleList(nn.Linear(width, width, bias=False) for _ in range(hidden))
        self.w_out = nn.Linear(width, features)
        for layer in self.hidden:
            with torch.no_grad():
                layer.weight.copy_(torch.eye(width))  # pyright: ignore[reportCallIssue, reportArgumentType]

    def forward(self, x: Float[Tensor, "row feature"]) -> Float[Tensor, "row feature"]:
        """What is rebuilt of x."""
        h = self.w_in(x)
        for layer in self.hidden:
            h = layer(h)
        return torch.relu(self.w_out(h))

    @property
    def weights(self) -> dict[str, str]:
        """Address to module."""
        hidden = {f"hidden.{i}": f"hidden.{i}" for i in range(len(self.hidden))}
        return {"w_in": "w_in", **hidden, "w_out": "w_out"}


class ResidualMLP(nn.Module):
    """A residual stream with MLP blocks, between a fixed embedding and its transpose."""

    embedding: Tensor

    def __init__(self, features: int, width: int, neurons: int, blocks: int) -> None:
        super().__init__()
        self.register_buffer("embedding", torch.zeros(features, width))
        self.up = nn.ModuleList(nn.Linear(width, neurons, bias=False) for _ in range(blocks))
        self.down = nn.ModuleList(nn.Linear(neurons, width, bias=False) for _ in range(blocks))

    def forward(self, x: Float[Tensor, "row feature"]) -> Float[Tensor, "row feature"]:
        """Something like x + ReLU(x)."""
        stream = x @ self.embedding
        for up, down in zip(self.up, self.down, strict=True):
            stream = stream + down(torch.relu(up(stream)))
        return stream @ self.embedding.T

    @property
    def weights(self) -> dict[str, str]:
        """Address to module."""
        blocks = range(len(self.up))
        return {f"up.{i}": f"up.{i}" for i in blocks} | {f"down.{i}": f"down.{i}" for i in blocks}
