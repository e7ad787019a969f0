"""What a batch adds up to."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from radiograph.core.shapes import Float, Int
from radiograph.dictionaries.training._losses import Objective
from radiograph.dictionaries.training._step._buffers import Buffers
from radiograph.dictionaries.training._step._output import Output
from radiograph.dictionaries.training._step._rules import Back, Local
from radiograph.dictionaries.training._weights import Weights
from radiograph.numerics.sparse import ByFeature


@dataclass(frozen=True, slots=True, eq=False)
class Pending:
    """Entries of one chunk, for the products over the whole batch."""

    places: Int[Tensor, " entry"]
    """Row · segments + segment."""
    features: Int[Tensor, " entry"]
    values: Float[Tensor, " entry"]
    back: Back


class Sums:
    """Gradients of the two matrices, sums by feature, and the counts of a step."""

    def __init__(
        self,
        weights: Weights,
        centred: Float[Tensor, "row width"],
        output: Output,
        objective: Objective,
        features: Local,
        buffers: Buffers,
    ) -> None:
        self.weights, self.centred, self.output, self.objective = weights, centred, output, objective
        self.features, self.buffers = features, buffers
        self.encoder = buffers.take("encoder", weights.encoder.shape, weights.encoder).zero_()
        self.decoder = buffers.take("decoder", weights.decoder.shape, weights.decoder).zero_()
        self.fired = torch.zeros(len(weights.encoder), dtype=torch.bool, device=centred.device)
        self.active = 0
        self.pending: list[Pending] = []
        self._by_name: dict[str, Tensor] = {}

    @property
    def rate(self) -> float:
        """λ over the rows of the batch."""
        return self.objective.sparsity / len(self.centred)

    def of(self, name: str) -> Float[Tensor, " feature"]:
        """A sum by feature."""
        return self._by_name.get(name, self.centred.new_zeros(len(self.fired)))

    def put(self, name: str, sums: Float[Tensor, " feature"]) -> None:
        """Add to a sum by feature."""
        self._by_name[name] = self._by_name[name] + sums if name in self._by_name else sums

    def put_entries(self, by: ByFeature, back: Back) -> None:
        """Add the gradients of entries."""
        for name, contribution in {"pre": back.pre, **back.parameters}.items():
            self.put(name, by.sum(contribution))
