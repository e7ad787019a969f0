"""Adam whose pass over the decoder also keeps its rows at length 1.

1. Global norm of the gradient, without the part of dD along D where rows are kept at unit length.   2. Above `clip` all
gradients are scaled down to it.   3. Adam (Kingma and Ba 2015), fused.   4. Decoder rows are divided by their norms;
thresholds are projected to ≥ 0.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import torch
from torch import Tensor

from radiograph.dictionaries.training._weights import Weights

EPSILON: Final = 6.25e-10


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
        if self.unit_rows:
            along = (gradients.decoder * weights.decoder).sum(1, keepdim=True)
            gradients.decoder.addcmul_(along, weights.decoder, value=-1)
        given = gradients.tensors
        norm = float(torch.stack([tensor.norm() for tensor in given.values()]).norm())
        if norm > self.clip:
            for tensor in given.values():
                tensor.mul_(self.clip / norm)
        self.step += 1
        names = list(weights.tensors)
        torch._fused_adam_(
            [weights.tensors[name] for name in names],
            [given[name] for name in names],
            [self.first.tensors[name] for name in names],
            [self.second.tensors[name] for name in names],
            [],
            [self.step] * len(names),
            lr=rate,
            beta1=self.betas[0],
            beta2=self.betas[1],
            weight_decay=0.0,
            eps=self.epsilon,
            amsgrad=False,
            maximize=False,
        )
        if self.unit_rows:
            weights.decoder.div_(weights.decoder.norm(dim=1, keepdim=True))
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
