"""Token lists to padded batches and back.

1. sort rows by (length, order)   2. fill batches of at most `batch_tokens` padded tokens, and close one that is a
quarter full rather than let padding pass 5 % of it   3. pad on the right
Attention is causal, so a right-padded row needs no mask: no token sees what follows it, and the model keeps its fused
causal kernel. A left-padded batch carries its mask and positions. The plan depends on the lengths alone, so equal
input gives equal bytes; results return in the caller's order through `Batch.rows`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from radiograph.core import UserError
from radiograph.core.shapes import Bool, Int

_WASTE = 0.05
Tokens = Sequence[Sequence[int]]


@dataclass(frozen=True, eq=False)
class Batch:
    """Padded token ids of some of the caller's rows.

    Attributes:
        rows: the caller's row numbers, one per batch row.
        ids: token ids; padding holds an arbitrary id.
        mask: true where `ids` holds a real token.
        left: padding stands on the left.
        at: positions of tokens that follow others in a cache.
        final: something is read off this forward; false while one only fills a cache.
    """

    rows: tuple[int, ...]
    ids: Int[Tensor, "batch position"]
    mask: Bool[Tensor, "batch position"]
    left: bool = False
    at: Int[Tensor, "batch position"] | None = None
    final: bool = True

    @property
    def positions(self) -> Int[Tensor, "batch position"]:
        """Position of each token in its own row, 0 at the first real token (and on left padding)."""
        if self.at is not None:
            return self.at
        return (self.mask.long().cumsum(-1) - 1).clamp(min=0) if self.left else _arange(self.ids)

    @property
    def n_tokens(self) -> int:
        """Real tokens, padding excluded."""
        return int(self.mask.sum())

    def to(self, device: torch.device | str) -> Batch:
        """The same batch on another device."""
        at = None if self.at is None else self.at.to(device)
        return replace(self, ids=self.ids.to(device), mask=self.mask.to(device), at=at)

    def inputs(self) -> dict[str, Tensor]:
        """Keyword arguments of a Hugging Face forward."""
        if not self.left or bool(self.mask.all()):
            return {"input_ids": self.ids}
        return {"input_ids": self.ids, "attention_mask": self.mask.long(), "position_ids": self.positions}


def pad(
    tokens: Tokens, rows: Sequence[int] | None = None, *, left: bool = False, device: torch.device | str = "cpu"
) -> Batch:
    """One batch of the given rows of `tokens` (all of them by default), in that order.

    Raises:
        UserError: a row is empty.
    """
    rows = tuple(range(len(tokens)) if rows is None else rows)
    lengths = [len(tokens[r]) for r in rows]
    if not rows or min(lengths) == 0:
        empty = next((r for r, n in zip(rows, lengths, strict=True) if n == 0), None)
        raise UserError("nothing to run" if empty is None else f"row {empty} has no tokens", code="empty_row")
    width = max(lengths)
    # A repeated real id, never the pad id: models warn about a pad id that comes without a mask.
    filled = [
        [t[0]] * (width - len(t)) + t if left else t + [t[-1]] * (width - len(t))
        for t in (list(tokens[r]) for r in rows)
    ]
    column, length = torch.arange(width), torch.tensor(lengths)[:, None]
    mask = column >= width - length if left else column < length
    return Batch(rows, torch.tensor(filled, dtype=torch.long), mask, left).to(device)


def plan(lengths: Sequence[int], batch_tokens: int = 8192, batch_rows: int | None = None) -> list[tuple[int, ...]]:
    """Row numbers per batch, shortest first, of at most `batch_tokens` padded tokens (a long row may stand alone)."""
    batches: list[tuple[int, ...]] = []
    current: list[int] = []
    real = 0
    for row in sorted(range(len(lengths)), key=lambda r: (lengths[r], r)):
        padded = lengths[row] * (len(current) + 1)
        full = padded > batch_tokens or len(current) == batch_rows
        wasteful = padded > batch_tokens // 4 and padded - real - lengths[row] > _WASTE * padded
        if current and (full or wasteful):
            batches.append(tuple(current))
            current, real = [], 0
        current.append(row)
        real += lengths[row]
    return [*batches, tuple(current)] if current else batches


def batches(
    tokens: Tokens,
    *,
    batch_tokens: int = 8192,
    batch_rows: int | None = None,
    left: bool = False,
    device: torch.device | str = "cpu",
) -> Iterator[Batch]:
    """All rows, in the batches of `plan`."""
    for rows in plan([len(t) for t in tokens], batch_tokens, batch_rows):
        yield pad(tokens, rows, left=left, device=device)


def _arange(ids: Tensor) -> Tensor:
    return torch.arange(ids.shape[1], device=ids.device).expand(ids.shape)
