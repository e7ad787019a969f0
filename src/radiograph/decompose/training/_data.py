"""What a decomposition is trained on. Batch k is a function of the seed and k alone: a resumed run needs no state.

Vectors: each feature is active with some probability and then uniform. Tokens: documents, one after the other, cut into
rows of one length; an epoch is a keyed permutation of the rows. Held-out rows are never trained on.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol

import torch
from jaxtyping import Float, Int
from torch import Tensor

from radiograph.core import UserError, derive


class Data(Protocol):
    """Batches by number."""

    def batch(self, step: int, rows: int) -> Tensor:
        """Inputs of a step."""
        ...

    def held_out(self, number: int, rows: int) -> Tensor:
        """Inputs that no step sees."""
        ...


@dataclass(frozen=True)
class Vectors:
    """Sparse feature vectors, drawn anew for every step."""

    width: int
    probability: float
    low: float = 0.0
    high: float = 1.0
    seed: int = 0

    def batch(self, step: int, rows: int) -> Float[Tensor, "row feature"]:
        """Inputs of a step."""
        return self._drawn(rows, derive(self.seed, "decompose", "batch", step))

    def held_out(self, number: int, rows: int) -> Float[Tensor, "row feature"]:
        """Inputs that no step sees."""
        return self._drawn(rows, derive(self.seed, "decompose", "held out", number))

    def _drawn(self, rows: int, seed: int) -> Tensor:
        generator = torch.Generator().manual_seed(seed)
        u = torch.rand((2, rows, self.width), generator=generator)
        return (self.low + (self.high - self.low) * u[0]) * (u[1] < self.probability)


@dataclass(frozen=True, eq=False)
class TokenRows:
    """Rows of token ids, a share of them held out."""

    rows: Int[Tensor, "row token"]
    kept: Int[Tensor, "row token"]
    """Held out."""
    seed: int = 0

    def batch(self, step: int, rows: int) -> Int[Tensor, "row token"]:
        """Inputs of a step: the next rows of a permutation of the epoch."""
        numbers = torch.arange(step * rows, (step + 1) * rows)
        count = len(self.rows)
        parts: list[Tensor] = []
        for epoch in range(int(numbers[0]) // count, int(numbers[-1]) // count + 1):
            generator = torch.Generator().manual_seed(derive(self.seed, "decompose", "epoch", epoch))
            order = torch.randperm(count, generator=generator)
            parts.append(order[numbers[numbers // count == epoch] % count])
        return self.rows[torch.cat(parts)]

    def held_out(self, number: int, rows: int) -> Int[Tensor, "row token"]:
        """Inputs that no step sees, the same again when there are no more."""
        start = (number * rows) % max(1, len(self.kept) - rows + 1)
        return self.kept[start : start + rows]


def packed(documents: Iterable[list[int]], length: int, *, seed: int = 0, held_out: float = 0.1) -> TokenRows:
    """Documents one after the other, cut into rows of `length` tokens; the last part of the stream is held out.

    Raises:
        UserError: too few tokens for two rows.
    """
    stream = [token for ids in documents for token in ids]
    count = len(stream) // length
    if count < 2:
        raise UserError(
            "too little text for a decomposition", expected=f"at least {2 * length} tokens", got=f"{len(stream)}"
        )
    rows = torch.tensor(stream[: count * length]).view(count, length)
    kept = max(1, int(count * held_out))
    return TokenRows(rows[: count - kept], rows[count - kept :], seed)
