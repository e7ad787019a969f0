"""Errors of what was decoded, R, and its gradient with respect to every decoded segment.

With prefixes m_1 < … < m_P, segment j (features from m_{j−1} to m_j) enters the reconstructions of prefixes j … P, so
its gradient is the sum of theirs; e_j is e_{j−1} minus what segment j writes. Without prefixes P = 1.
"""

from __future__ import annotations

import torch
from torch import Tensor

from radiograph.core.shapes import Float
from radiograph.dictionaries.training._losses import Objective


class Output:
    """Errors and gradients of a whole batch, filled chunk by chunk."""

    def __init__(self, base: Float[Tensor, "row target"], objective: Objective, size: int) -> None:
        self.bounds = objective.bounds(size)
        rows, width = base.shape
        self._factor = objective.column_weights.to(base) * (-2 / (rows * len(self.bounds)))
        self._base = base
        self.gradients = base.new_empty(rows, len(self.bounds), width)
        self.errors = base
        """y − ŷ; takes the place of the targets without biases, chunk by chunk."""
        self.loss = 0.0
        self.gate_loss = 0.0

    @property
    def total(self) -> Float[Tensor, "row target"]:
        """Gradient with respect to what every prefix holds: the decoder bias and the skip."""
        return self.gradients[:, 0]

    def add(self, rows: slice, written: Float[Tensor, "part segment target"]) -> Float[Tensor, "part segment target"]:
        """Gradients given what each segment writes, which is overwritten. After this the errors of `rows` are final."""
        gradients, self_loss = self._errors(rows, written, self.gradients[rows])
        self.loss += self_loss
        self.errors[rows] = written[:, -1]
        return gradients

    def add_gate(
        self, rows: slice, written: Float[Tensor, "part segment target"]
    ) -> Float[Tensor, "part segment target"]:
        """The same for what the gates write, whose gradient nothing but the gates keep. Comes before `add`."""
        gradients, loss = self._errors(rows, written, torch.empty_like(written))
        self.gate_loss += loss
        return gradients

    def _errors(self, rows: slice, written: Tensor, out: Tensor) -> tuple[Tensor, float]:
        segments = range(written.shape[1])
        torch.sub(self._base[rows], written[:, 0], out=written[:, 0])
        for segment in segments[1:]:
            torch.sub(written[:, segment - 1], written[:, segment], out=written[:, segment])
        torch.mul(written, self._factor, out=out)
        loss = -0.5 * float((out * written).sum(dtype=torch.float64))
        for segment in reversed(segments[:-1]):
            out[:, segment] += out[:, segment + 1]
        return out, loss
