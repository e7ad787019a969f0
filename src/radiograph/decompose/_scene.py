"""Everything that a loss may look at in one step: the target on a batch, importance, and outputs under masks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal

import torch
from torch import Tensor, nn

from radiograph.decompose._decomposition import Observation
from radiograph.decompose.masks import drawn, mixed
from radiograph.decompose.routers import route
from radiograph.models.masked import Factors, Mask, Target, masked
from radiograph.numerics.components.squash import Squash

Distance = Literal["mse", "kl"]


@dataclass(eq=False)
class Scene:
    """One batch."""

    target: Target
    factors: Mapping[str, Factors]
    squash: Squash
    inputs: Tensor
    seen: Observation
    distance: Distance
    generator: torch.Generator
    fraction: float = 0.0
    """Share of training that is over."""
    memory: dict[str, Tensor] = field(default_factory=dict)
    """What the losses keep between steps; stored in checkpoints."""

    @property
    def weights(self) -> list[str]:
        """Decomposed weights, in forward order."""
        return list(self.factors)

    @property
    def shape(self) -> tuple[int, ...]:
        """[batch, position], or [batch]."""
        return tuple(next(iter(self.seen.lower.values())).shape[:-1])

    def output(self, masks: Mapping[str, Mask], inputs: Tensor | None = None) -> Tensor:
        """The target's output under masks."""
        with masked(self.target, self.factors, masks):
            return self.target.run(self.inputs if inputs is None else inputs)

    def compare(self, output: Tensor) -> Tensor:
        """D: mean squared error, or KL(target ‖ masked) per position; one number per row of the batch, mean inside."""
        if self.distance == "mse":
            return (output - self.seen.output).square().flatten(1).mean(1)
        masked_log = output.float().log_softmax(-1)
        terms = nn.functional.kl_div(masked_log, self.target_log, reduction="none", log_target=True)
        return terms.sum(-1).flatten(1).mean(1)

    def mean_distance(self, output: Tensor) -> Tensor:
        """D, mean over the batch."""
        if self.distance == "mse":
            return nn.functional.mse_loss(output, self.seen.output)
        masked_log = output.float().log_softmax(-1)
        total = nn.functional.kl_div(masked_log, self.target_log, reduction="sum", log_target=True)
        return total / (masked_log.numel() // masked_log.shape[-1])

    @cached_property
    def target_log(self) -> Tensor:
        """Log-probabilities of the target."""
        return self.seen.output.float().log_softmax(-1)

    def masks(self, source: str, router: str = "all") -> dict[str, Mask]:
        """Masks of a source, routed."""
        return self.routed(drawn(source, self.seen.raw, self.seen.lower, self.squash, self.generator), router)

    def routed(self, masks: Mapping[str, Mask], router: str) -> dict[str, Mask]:
        """The same masks where a router says that components are used."""
        routes = route(router, self.weights, self.shape, self.generator)
        return {weight: Mask(masks[weight].components, masks[weight].delta, r) for weight, r in routes.items()}

    def under(self, source: str, router: str) -> Tensor:
        """D under one draw of masks; `layerwise` is the mean over weights, one at a time."""
        if router == "layerwise":
            masks = drawn(source, self.seen.raw, self.seen.lower, self.squash, self.generator)
            each = [self.mean_distance(self.output({weight: mask})) for weight, mask in masks.items()]
            return torch.stack(each).mean()
        return self.mean_distance(self.output(self.masks(source, router)))

    def attacked(self, r: Tensor, *, detached: bool) -> dict[str, Mask]:
        """Masks from one r for components of all weights side by side, then for Δ of each: [..., Σ C + L]."""
        widths = [factors.size for factors in self.factors.values()]
        *parts, deltas = r.split([*widths, len(widths)], -1)
        found: dict[str, Mask] = {}
        for number, (weight, g) in enumerate(self.seen.lower.items()):
            g = g.detach() if detached else g
            part = parts[number].expand_as(g)
            found[weight] = Mask(mixed(g, part), deltas[..., number].expand(self.shape))
        return found

    @property
    def variables(self) -> int:
        """Length of such an r."""
        return sum(factors.size for factors in self.factors.values()) + len(self.factors)
