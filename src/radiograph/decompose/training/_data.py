"""What a decomposition is trained on. Batch k is a function of the seed and k alone: a resumed run needs no state.

Vectors: each feature is active with some probability and then uniform. Tokens: documents of one length a batch, lengths
in proportion to their tokens, drawn with replacement. Held-out documents are never trained on.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from radiograph.core import UserError, derive
from radiograph.core.shapes import Float, Int


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
class Documents:
    """Documents by length: a batch holds documents of one length alone, so that there is no padding."""

    by_length: dict[int, Int[Tensor, "_ _"]]
    kept: dict[int, Int[Tensor, "_ _"]]
    """Held out."""
    tokens: int
    """Of a batch, about, for each row that is asked for."""
    seed: int = 0

    def batch(self, step: int, rows: int) -> Int[Tensor, "row token"]:
        """Inputs of a step: a length with probability by its tokens, then documents of it."""
        return self._drawn(self.by_length, rows, derive(self.seed, "decompose", "batch", step))

    def held_out(self, number: int, rows: int) -> Int[Tensor, "row token"]:
        """Inputs that no step sees."""
        return self._drawn(self.kept, rows, derive(self.seed, "decompose", "held out", number))

    def _drawn(self, stock: dict[int, Tensor], rows: int, seed: int) -> Tensor:
        generator = torch.Generator().manual_seed(seed)
        lengths = list(stock)
        weights = torch.tensor([float(stock[length].numel()) for length in lengths])
        length = lengths[int(torch.multinomial(weights, 1, generator=generator))]
        count = max(1, rows * self.tokens // length)
        return stock[length][torch.randint(len(stock[length]), (count,), generator=generator)]


def documents(
    texts: Iterable[Sequence[int]], length: int, *, seed: int = 0, held_out: float = 0.1, shortest: int = 4
) -> Documents:
    """Token ids of documents, long ones cut into pieces of `length`; a share of the documents is held out.

    Raises:
        UserError: too few documents for both sides.
    """
    found: tuple[dict[int, list[Sequence[int]]], ...] = ({}, {})
    for number, ids in enumerate(texts):
        side = derive(seed, "decompose", "held out", "document", number) % 1_000 < 1_000 * held_out
        for start in range(0, len(ids), length):
            piece = ids[start : start + length]
            if len(piece) >= shortest:
                found[side].setdefault(len(piece), []).append(piece)
    if not found[0] or not found[1]:
        raise UserError(
            "too little text for a decomposition",
            expected=f"documents of {shortest} tokens or more, enough to hold some out",
            got=f"{sum(map(len, found[0].values()))} and {sum(map(len, found[1].values()))} held out",
            code="too_little_data",
        )
    trained, kept = ({n: torch.tensor(side[n]) for n in sorted(side)} for side in found)
    return Documents(trained, kept, length, seed)
