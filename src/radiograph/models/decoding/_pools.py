"""What is kept of the activations while rows decode: running float32 sums, squares, maxima and counts, or one by one.

    pool         positions (prompt 0 … P − 1; T kept tokens, the stop token not among them)
    generated    P … P + T − 1            max, tokens   the same; the largest value, and every vector
    predicting   P − 1 … P + T − 2        prompt        0 … P − 1         last-prompt   P − 1
A row without a position in its pool has no vector.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from radiograph.core.shapes import Bool, Float
from radiograph.evidence import Pool

TRAILING: frozenset[str] = frozenset({"generated", "max", "tokens"})
"""Pools that need a forward for the last token of the text."""


@dataclass(frozen=True, slots=True, eq=False)
class Pooled:
    """One site of one row."""

    n: int
    """Positions pooled."""
    value: Float[Tensor, " width"]
    """Mean, or maximum; of `tokens` the mean too."""
    square: Float[Tensor, " width"]
    """Mean of the squares."""
    tokens: Float[Tensor, "token width"] | None = None
    """Every vector, of `tokens`."""


class Running:
    """The pool of one site over the rows of a batch."""

    def __init__(self, pool: Pool, rows: int, width: int, device: torch.device) -> None:
        self.pool = pool
        self.n = torch.zeros(rows, dtype=torch.long, device=device)
        self.sum = torch.zeros(rows, width, device=device)
        self.square = torch.zeros_like(self.sum)
        self.peak = torch.full_like(self.sum, -torch.inf) if pool == "max" else None
        self.tokens: list[list[Tensor]] | None = [[] for _ in range(rows)] if pool == "tokens" else None

    def prompt(
        self, live: Sequence[int], values: Float[Tensor, "live position width"], mask: Bool[Tensor, "live position"]
    ) -> None:
        """The first forward: every position of left-padded prompts."""
        if self.pool == "last-prompt":
            self.add(live, values[:, -1], range(len(live)))
        if self.pool == "prompt":
            rows = torch.tensor(list(live), device=values.device)
            kept = values.float().masked_fill(~mask[..., None], 0)
            self.n[rows] += mask.sum(-1)
            self.sum[rows] += kept.sum(1)
            self.square[rows] += kept.square().sum(1)

    def add(self, live: Sequence[int], values: Float[Tensor, "live width"], places: Sequence[int]) -> None:
        """One position of those rows that stand at `places` among the live ones."""
        if not len(places):
            return
        every = len(places) == len(live) == len(self.n)
        rows = slice(None) if every else torch.tensor([live[p] for p in places], device=values.device)
        value = (values if every else values[torch.tensor(list(places), device=values.device)]).float()
        self.n[rows] += 1
        self.sum[rows] += value
        self.square[rows] += value * value
        if self.peak is not None:
            self.peak[rows] = torch.maximum(self.peak[rows], value)
        if self.tokens is not None:
            for place, one in zip(places, value, strict=True):
                self.tokens[live[place]].append(one.clone())

    def result(self) -> list[Pooled]:
        """Every row, on the CPU."""
        n = self.n.clamp(min=1)[:, None]
        value = (self.sum / n if self.peak is None else self.peak).cpu()
        square, counts = (self.square / n).cpu(), self.n.tolist()
        tokens = [None if self.tokens is None or not t else torch.stack(t).cpu() for t in self.tokens or [[]] * len(n)]
        return [Pooled(*one) for one in zip(counts, value, square, tokens, strict=True)]
