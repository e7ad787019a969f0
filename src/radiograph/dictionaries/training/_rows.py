"""What a trainer asks of captured activations. Shards on disk and shards in memory both answer."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal, Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor

Split = Literal["train", "validation"]


@runtime_checkable
class Rows(Protocol):
    """Rows of one or more sites, split by prompt group, read in an order that depends on (seed, epoch) alone."""

    @property
    def widths(self) -> dict[str, int]:
        """Width of each site."""
        ...

    def count(self, split: Split) -> int:
        """Rows of a split."""
        ...

    def variance(self, site: str) -> float:
        """Mean of ‖x − x̄‖² over the training rows of a site."""
        ...

    def batches(
        self, site: str, *, split: Split, batch: int, seed: int = 0, epoch: int = 0
    ) -> Iterator[Float[Tensor, "row width"]]:
        """Every row of a split once; the last batch may be short. Validation rows come in stored order."""
        ...


def endless(rows: Rows, site: str, batch: int, seed: int) -> Iterator[Float[Tensor, "row width"]]:
    """Training batches of exactly `batch` rows, epoch after epoch; the end of an epoch fills up from the next."""
    held: list[Tensor] = []
    epoch = 0
    while True:
        for part in rows.batches(site, split="train", batch=batch, seed=seed, epoch=epoch):
            held.append(part)
            while sum(map(len, held)) >= batch:
                joined = torch.cat(held)
                yield joined[:batch]
                held = [joined[batch:]]
        epoch += 1
