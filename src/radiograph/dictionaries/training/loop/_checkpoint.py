"""Where a run can go on after it was killed (`store.checkpoints`): weights, moments, running averages, silence of every
feature and row ids in each reader's buffer as tensors; bound, reader counters and log so far beside them; and the
dictionary as it stood, for use, in `dictionary/`.

When one is due is a matter of time, and never of what is trained.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from torch import Tensor

from radiograph.dictionaries._dictionary import Dictionary
from radiograph.dictionaries._files import save as save_dictionary
from radiograph.store.checkpoints import Checkpoint, CheckpointFolder

SCHEMA: Final = "radiograph.training_checkpoint/1"


class Checkpoints:
    """The checkpoints of one run in a folder, one at most every `seconds`."""

    def __init__(self, folder: Path, *, seconds: float = 600.0) -> None:
        self.seconds, self._kept = seconds, CheckpointFolder(folder, SCHEMA)
        self._latest = time.monotonic()

    @property
    def due(self) -> bool:
        """Whether it is time for the next."""
        return time.monotonic() - self._latest >= self.seconds

    def save(
        self,
        step: int,
        tensors: Mapping[str, Tensor],
        run: Mapping[str, Any],
        document: Mapping[str, Any],
        dictionary: Dictionary,
        *,
        fvu: float | None,
    ) -> None:
        """Write a checkpoint, whole or not at all, and remove those that are no longer kept.

        `run` says what is trained on what; `fvu` is of validation rows, None where none was measured yet.
        """

        def beside(folder: Path) -> None:
            save_dictionary(dictionary, folder / "dictionary")

        self._kept.save(step, tensors, run, document, score=fvu, beside=beside)
        self._latest = time.monotonic()

    def latest(self, run: Mapping[str, Any]) -> Checkpoint | None:
        """The last checkpoint there is, None if there is none. `run` must be what it was made by.

        Raises:
            UserError: another config, other activations or another number of workers, the first difference named.
            FormatError: a file is not what was written.
        """
        return self._kept.latest(run)


def packed(states: list[dict[str, Any]]) -> tuple[dict[str, Tensor], list[dict[str, Any]]]:
    """Reader states of all ranks as tensors and plain data."""
    tensors: dict[str, Tensor] = {}
    plain: list[dict[str, Any]] = []
    for rank, state in enumerate(states):
        numbers: dict[str, Any] = {}
        for name, value in state.items():
            if isinstance(value, bytes):
                tensors[f"reader.{rank}.{name}"] = torch.from_numpy(np.frombuffer(value, np.uint8).copy())
            else:
                numbers[name] = value
        plain.append(numbers)
    return tensors, plain


def unpacked(tensors: Mapping[str, Tensor], plain: list[dict[str, Any]], rank: int) -> dict[str, Any]:
    """The reader state of one rank."""
    prefix = f"reader.{rank}."
    stored = {n[len(prefix) :]: t.numpy().tobytes() for n, t in tensors.items() if n.startswith(prefix)}
    return plain[rank] | stored
