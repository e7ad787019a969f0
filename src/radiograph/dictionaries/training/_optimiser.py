"""Adam whose one pass over the decoder also keeps its rows at length 1.

1. Global norm of the gradient, where rows have unit length without the part of dD along D: ‖dD‖² − Σ ⟨dD_i, D_i⟩².
2. Block by block, so that a block of weights, gradients and moments stays in cache: take that part away; scale down to
   `clip` where the norm is above it; Adam (Kingma and Ba 2015), fused; divide decoder rows by their norms.
3. Thresholds are projected to ≥ 0.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import torch
from torch import Tensor

from radiograph.core.shapes import Float
from radiograph.dictionaries.training._weights import Weights

EPSILON: Final = 6.25e-10
BLOCK_BYTES: Final = {"cpu": 4 * 2**20}


class Adam:
    """First and second moments of every tensor of some weights, which `update` changes in place."""

    def __init__(
        self,
        weights: Weights,
        *,
        unit_rows: bool,
        clip: float = 1.0,
        betas: tuple[float, float] = (0.9, 0.999),
        epsilon: float = EPSILON,
    ) -> None:
        self.unit_rows, self.clip, self.betas, self.epsilon = unit_rows, clip, betas, epsilon
        self.first = weights.map(torch.zeros_like)
        self.second = weights.map(torch.zeros_like)
        self.step = torch.zeros(())

    def update(self, weights: Weights, gradients: Weights, rate: float) -> float:
        """One update; returns the norm of the gradient before it was clipped. Changes the gradients too."""
        along = _row_products(gradients.decoder, weights.decoder) if self.unit_rows else None
        norm = _norm(gradients, along)
        factor = self.clip / norm if norm > self.clip else 1.0
        self.step += 1
        first, second, given = self.first.tensors, self.second.tensors, gradients.tensors
        for name, weight in weights.tensors.items():
            for rows in _blocks(weight):
                block, gradient = weight[rows], given[name][rows]
                unit = self.unit_rows and name == "decoder"
                if unit and along is not None:
                    gradient.addcmul_(along[rows].unsqueeze(1), block, value=-1)
                if factor < 1:
                    gradient.mul_(factor)
                self._adam(block, gradient, first[name][rows], second[name][rows], rate)
                if unit:
                    block.div_(torch.linalg.vector_norm(block, dim=1, keepdim=True))
        if "threshold" in weights.parameters:
            weights.parameters["threshold"].clamp_(min=0)
        return norm

    def state_dict(self) -> dict[str, Tensor]:
        """Moments by `first.NAME` and `second.NAME`, and the number of updates as `step`."""
        first = {f"first.{name}": tensor for name, tensor in self.first.tensors.items()}
        return first | {f"second.{name}": tensor for name, tensor in self.second.tensors.items()} | {"step": self.step}

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Continue from a `state_dict`."""
        own = self.state_dict()
        assert own.keys() == state.keys()
        for name, tensor in own.items():
            tensor.copy_(state[name])

    def _adam(self, weight: Tensor, gradient: Tensor, first: Tensor, second: Tensor, rate: float) -> None:
        torch._fused_adam_(
            [weight],
            [gradient],
            [first],
            [second],
            [],
            [self.step.to(weight.device)],
            lr=rate,
            beta1=self.betas[0],
            beta2=self.betas[1],
            weight_decay=0.0,
            eps=self.epsilon,
            amsgrad=False,
            maximize=False,
        )


def _norm(gradients: Weights, along: Float[Tensor, " feature"] | None) -> float:
    norms = torch.stack([torch.linalg.vector_norm(tensor) for tensor in gradients.tensors.values()]).double()
    square = float(norms.square().sum())
    if along is not None:
        square -= float(along.square().sum(dtype=torch.float64))
    return max(square, 0.0) ** 0.5


def _row_products(left: Float[Tensor, "row width"], right: Float[Tensor, "row width"]) -> Float[Tensor, " row"]:
    """⟨left[r], right[r]⟩ without a table of products."""
    return torch.bmm(left.unsqueeze(1), right.unsqueeze(2)).flatten()


def _blocks(tensor: Tensor) -> list[slice]:
    """Rows of a matrix in blocks; a vector, or anything on a device without such caches, whole."""
    budget = BLOCK_BYTES.get(tensor.device.type)
    if tensor.dim() == 1 or budget is None:
        return [slice(0, len(tensor))]
    rows = max(1, budget // (tensor.shape[1] * tensor.element_size()))
    return [slice(start, start + rows) for start in range(0, len(tensor), rows)]
