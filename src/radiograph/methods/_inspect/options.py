"""What a run of `inspect` was asked for, in the words of its parts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from radiograph.evidence import Split
from radiograph.numerics.association import RowPool, Settings

MEMORY_SHARE = 0.36
"""Of --memory, for the entries of a range while they are read; the rest is for what the screen makes of them."""


@dataclass(frozen=True)
class Asked:
    """Choices that concern rows and streaming, and the settings of the protocol."""

    criterion: str
    threshold: float
    continuous: bool
    pool: RowPool | None
    stratify: str | None
    split: Split | None
    surface: bool
    memory: int
    seed: int
    settings: Settings
    fdr: Literal["bh", "by"]

    @property
    def block(self) -> int:
        """Bytes for a range of features."""
        return max(1, int(self.memory * MEMORY_SHARE))
