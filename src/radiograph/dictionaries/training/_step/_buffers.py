"""Memory that one step leaves to the next: fresh pages of 50 MB cost more than what is written into them."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


class Buffers:
    """Tensors by name, and hints that save time but never decide a result."""

    def __init__(self) -> None:
        self._held: dict[str, Tensor] = {}
        self.bound = 0.0
        """batchtopk: the last bound."""
        self.told_dense = False
        """Whether the log has said that chunks are dense."""

    def take(self, name: str, shape: Sequence[int], like: Tensor) -> Tensor:
        """The tensor of that name, with any content; of the dtype and device of `like`."""
        held = self._held.get(name)
        if held is None or held.shape != torch.Size(shape) or held.dtype != like.dtype or held.device != like.device:
            self._held.pop(name, None)
            held = self._held[name] = like.new_empty(shape)
        return held
