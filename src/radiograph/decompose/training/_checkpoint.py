"""Where a training can go on after it was killed: V, U, nets, moments of the optimiser, and what losses keep between
steps as tensors; step and log so far beside them (`store.checkpoints`).

When one is due is a matter of steps. Noise and batches are functions of the step: they need no state.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

import torch
from torch import Tensor

from radiograph.decompose.training._state import LogRow, State
from radiograph.store.checkpoints import CheckpointFolder

SCHEMA: Final = "radiograph.decomposition_checkpoint/1"


class Checkpoints:
    """The checkpoints of one training; `run` says what is trained on what."""

    def __init__(self, folder: Path, run: Mapping[str, Any]) -> None:
        self.run, self._kept = run, CheckpointFolder(folder, SCHEMA)

    def save(self, state: State) -> None:
        """Write one, whole or not at all, and remove those that are no longer kept."""
        log = [asdict(row) for row in state.log]
        self._kept.save(state.step, _tensors(state), self.run, {"log": log}, score=state.log[-1].total)

    def restore(self, state: State) -> bool:
        """Fill a fresh state from the last checkpoint; False if there is none.

        Raises:
            UserError: another config, target or data, the first difference named. FormatError: not what was written.
        """
        found = self._kept.latest(self.run)
        if found is None:
            return False
        _fill(state, found.tensors)
        state.step = found.step
        state.log[:] = [LogRow(**row) for row in found.document["log"]]
        return True


def _tensors(state: State) -> dict[str, Tensor]:
    found = {f"trained/{name}": tensor for name, tensor in state.tensors.items()}
    found |= {f"fixed/{name}": t for name, t in state.importance.tensors.items() if name.endswith("scale")}
    found |= {f"memory/{name}": tensor for name, tensor in state.memory.items()}
    for name, tensor in state.tensors.items():
        for moment, value in state.optimiser.state.get(tensor, {}).items():
            found[f"optimiser/{moment}/{name}"] = value
    return {name: tensor.detach().clone() for name, tensor in found.items()}


def _fill(state: State, stored: Mapping[str, Tensor]) -> None:
    with torch.no_grad():
        for name, tensor in state.tensors.items():
            tensor.copy_(stored[f"trained/{name}"])
            prefix = "optimiser/"
            moments = {
                key.split("/")[1]: value
                for key, value in stored.items()
                if key.startswith(prefix) and key.split("/", 2)[2] == name
            }
            if moments:
                state.optimiser.state[tensor] = {
                    k: v.to(tensor.device) if k != "step" else v for k, v in moments.items()
                }
        for name, tensor in state.importance.tensors.items():
            if name.endswith("scale"):
                tensor.copy_(stored[f"fixed/{name}"])
    prefix = "memory/"
    state.memory.clear()
    device = next(iter(state.tensors.values())).device
    state.memory.update({n[len(prefix) :]: t.to(device) for n, t in stored.items() if n.startswith(prefix)})
