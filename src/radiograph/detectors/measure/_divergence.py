"""KL(candidate || reference) token by token, over prompts and the reference's own greedy answers.

For each sequence s and position t: sum_v p_cand(v | s_<=t) · (log p_cand − log p_ref), in nats, float64 sums over the
vocabulary that both models share. Both models run the same batches in the same order, so equal weights give exactly 0.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from radiograph.core.shapes import Float
from radiograph.models import Pair, log_probs


@dataclass(frozen=True)
class Divergence:
    """Per sequence: mean and largest KL over its positions, and the positions counted."""

    mean: list[float]
    largest: list[float]
    positions: list[int]

    @property
    def tokens(self) -> int:
        """Tokens that both models read."""
        return 2 * sum(n + 1 for n in self.positions)


def divergence(pair: Pair, sequences: Sequence[Sequence[int]]) -> Divergence:
    """KL at every position that predicts a token of the sequence (all but the last)."""
    n = len(sequences)
    mean, largest, positions = [0.0] * n, [0.0] * n, [0] * n
    runs = zip(log_probs(pair.reference, sequences), log_probs(pair.candidate, sequences), strict=True)
    for (batch, reference), (_, candidate) in runs:
        values = kl(candidate[:, :-1], reference[:, :-1])
        for index, row in enumerate(batch.rows):
            here = values[index, : len(sequences[row]) - 1]
            positions[row] = len(here)
            if len(here):
                mean[row] = float(here.mean())
                largest[row] = float(here.max())
    return Divergence(mean, largest, positions)


def kl(
    left: Float[Tensor, "batch position vocabulary"], right: Float[Tensor, "batch position other"]
) -> Float[Tensor, "batch position"]:
    """KL(left || right) in nats from log-probabilities; spare vocabulary rows of either side are ignored."""
    shared = min(left.shape[-1], right.shape[-1])
    a, b = left[..., :shared], right[..., :shared]
    total = (a.exp() * (a - b)).sum(-1, dtype=torch.float64)
    return total.clamp(min=0.0)
