"""What ranks of one training run do together, through `torch.distributed`. A run by itself is a team of one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import torch
from torch import Tensor

from radiograph.core.shapes import Bool


class Team(Protocol):
    """The ranks of a run, and what they agree on. Every rank calls everything in the same order."""

    rank: int
    world: int

    def average(self, tensors: Sequence[Tensor]) -> None:
        """Replace each tensor by its mean over ranks."""
        ...

    def anywhere(self, flags: Bool[Tensor, " feature"]) -> Bool[Tensor, " feature"]:
        """True where any rank says so."""
        ...

    def follow(self, tensors: Sequence[Tensor]) -> None:
        """Replace each tensor by that of rank 0."""
        ...

    def gather(self, value: dict[str, Any]) -> list[dict[str, Any]]:
        """The values of all ranks, in their order."""
        ...


class Alone:
    """A team of one."""

    rank = 0
    world = 1

    def average(self, tensors: Sequence[Tensor]) -> None:
        """Nothing to do."""
        del tensors

    def anywhere(self, flags: Bool[Tensor, " feature"]) -> Bool[Tensor, " feature"]:
        """As given."""
        return flags

    def follow(self, tensors: Sequence[Tensor]) -> None:
        """Nothing to do."""
        del tensors

    def gather(self, value: dict[str, Any]) -> list[dict[str, Any]]:
        """The one there is."""
        return [value]


class Group:
    """The default process group. Sums run in the order that the ring fixes: the same ranks give the same bytes."""

    def __init__(self) -> None:
        from torch import distributed

        self._distributed = distributed
        self.rank, self.world = distributed.get_rank(), distributed.get_world_size()

    def average(self, tensors: Sequence[Tensor]) -> None:
        """Sum over ranks, divided by their number."""
        for tensor in tensors:
            self._distributed.all_reduce(tensor)
            tensor.div_(self.world)

    def anywhere(self, flags: Bool[Tensor, " feature"]) -> Bool[Tensor, " feature"]:
        """The largest flag of all ranks."""
        counts = flags.to(torch.uint8)
        self._distributed.all_reduce(counts, op=self._distributed.ReduceOp.MAX)
        return counts.bool()

    def follow(self, tensors: Sequence[Tensor]) -> None:
        """Broadcast from rank 0."""
        for tensor in tensors:
            self._distributed.broadcast(tensor, src=0)

    def gather(self, value: dict[str, Any]) -> list[dict[str, Any]]:
        """Every rank's, at every rank."""
        found: list[Any] = [None] * self.world
        self._distributed.all_gather_object(found, value)
        return found
