"""Where a training can go on after it was killed: `checkpoints/STEP/`.

    state.safetensors   V, U, nets, moments of the optimiser, what losses keep between steps
    state.json          step, the log so far, what is trained on what, hash of the tensors

1. written beside as `STEP.partial`, synced, renamed   2. the last two are kept, and the one with the lowest held-out
loss   3. when one is due is a matter of steps. Noise and batches are functions of the step: they need no state.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from radiograph.core import FormatError, UserError
from radiograph.decompose.training._state import LogRow, State

SCHEMA: Final = "radiograph.decomposition_checkpoint/1"
TENSORS: Final = "state.safetensors"
DOCUMENT: Final = "state.json"
PARTIAL: Final = ".partial"
KEPT: Final = 2


class Checkpoints:
    """The checkpoints of one training; `run` says what is trained on what."""

    def __init__(self, folder: Path, run: Mapping[str, Any]) -> None:
        self.folder, self.run = folder, json.loads(json.dumps(run))

    def save(self, state: State) -> None:
        """Write one, whole or not at all, and remove those that are no longer kept."""
        final = self.folder / f"{state.step:09d}"
        partial = final.with_name(final.name + PARTIAL)
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
        save_file(_tensors(state), partial / TENSORS)
        document = {
            "schema": SCHEMA,
            "step": state.step,
            "sha256": _sha256(partial / TENSORS),
            "run": self.run,
            "log": [asdict(row) for row in state.log],
        }
        (partial / DOCUMENT).write_text(json.dumps(document, allow_nan=False), encoding="utf-8")
        for path in (*partial.rglob("*"), partial):
            _sync(path)
        if final.exists():
            _remove(final)
        partial.rename(final)
        _sync(self.folder)
        self._thin()

    def restore(self, state: State) -> bool:
        """Fill a fresh state from the last checkpoint; False if there is none.

        Raises:
            UserError: another config, target or data, the first difference named. FormatError: not what was written.
        """
        for path in self.folder.glob("*" + PARTIAL):
            shutil.rmtree(path)
        found = self._all()
        if not found:
            return False
        document = _document(found[-1])
        _require_same(document["run"], self.run, found[-1])
        if document["sha256"] != _sha256(found[-1] / TENSORS):
            raise FormatError("a checkpoint is not what was written", where=str(found[-1] / TENSORS))
        try:
            stored = load_file(found[-1] / TENSORS)
        except SafetensorError as error:
            raise FormatError("not a checkpoint", where=str(found[-1] / TENSORS), got=str(error)) from error
        _fill(state, stored)
        state.step = int(document["step"])
        state.log[:] = [LogRow(**row) for row in document["log"]]
        return True

    def _all(self) -> list[Path]:
        return sorted(p for p in self.folder.glob("*") if p.is_dir() and p.name.isdecimal())

    def _thin(self) -> None:
        found = self._all()
        best = min(found, key=lambda p: (_document(p)["log"][-1]["total"], p), default=None)
        for path in found[:-KEPT]:
            if path != best:
                _remove(path)


def _tensors(state: State) -> dict[str, Tensor]:
    found = {f"trained/{name}": tensor for name, tensor in state.tensors.items()}
    found |= {f"fixed/{name}": t for name, t in state.importance.tensors.items() if name.endswith("scale")}
    found |= {f"memory/{name}": tensor for name, tensor in state.memory.items()}
    for name, tensor in state.tensors.items():
        for moment, value in state.optimiser.state.get(tensor, {}).items():
            found[f"optimiser/{moment}/{name}"] = value
    return {name: tensor.detach().cpu().contiguous().clone() for name, tensor in found.items()}


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


def _document(folder: Path) -> dict[str, Any]:
    try:
        document = json.loads((folder / DOCUMENT).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise FormatError("not a checkpoint", where=str(folder / DOCUMENT), got=str(error)) from error
    if not isinstance(document, dict) or document.get("schema") != SCHEMA:
        raise FormatError("not a checkpoint", where=str(folder / DOCUMENT), expected=SCHEMA)
    return document


def _require_same(stored: Mapping[str, Any], now: Mapping[str, Any], folder: Path) -> None:
    for name in dict.fromkeys([*stored, *now]):
        if stored.get(name) != now.get(name):
            raise UserError(
                f"the run to resume had another {name.replace('_', ' ')}",
                where=folder.parent.parent.name,
                expected=str(stored.get(name)),
                got=str(now.get(name)),
                fix="resume with the options, target and data that it began with, or start a new run",
                code="resume_mismatch",
            )


def _remove(folder: Path) -> None:
    """Take away the name first: what is half removed is not a checkpoint."""
    gone = folder.with_name(folder.name + ".removed" + PARTIAL)
    folder.rename(gone)
    shutil.rmtree(gone)


def _sha256(path: Path) -> str:
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
