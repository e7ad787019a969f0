"""Where a run can go on after it was killed: `checkpoints/STEP/`.

    state.safetensors   weights, moments, running averages, silence of every feature, row ids in each reader's buffer
    state.json          step and bound, reader counters, the log so far, what is trained on what, hash of the tensors
    dictionary/         the dictionary as it stood, for use

1. written beside as `STEP.partial`, synced, renamed, and renamed again before it is removed: a folder that has its name
is whole   2. the last two are kept, and the one with the lowest validation FVU   3. when one is due is a matter of
time, and never of what is trained
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from radiograph.core import FormatError, UserError
from radiograph.dictionaries._dictionary import Dictionary
from radiograph.dictionaries._files import save as save_dictionary

SCHEMA: Final = "radiograph.training_checkpoint/1"
TENSORS: Final = "state.safetensors"
DOCUMENT: Final = "state.json"
PARTIAL: Final = ".partial"
KEPT: Final = 2


@dataclass(frozen=True, slots=True, eq=False)
class Point:
    """Everything that decides the steps that follow."""

    step: int
    tensors: dict[str, Tensor]
    document: dict[str, Any]
    """Plain data; its `run` says what is trained on what."""


class Checkpoints:
    """The checkpoints of one run in a folder, one at most every `seconds`."""

    def __init__(self, folder: Path, *, seconds: float = 600.0) -> None:
        self.folder, self.seconds = folder, seconds
        self._latest = time.monotonic()

    @property
    def due(self) -> bool:
        """Whether it is time for the next."""
        return time.monotonic() - self._latest >= self.seconds

    def save(self, point: Point, dictionary: Dictionary) -> None:
        """Write a checkpoint, whole or not at all, and remove those that are no longer kept."""
        final = self.folder / f"{point.step:09d}"
        partial = final.with_name(final.name + PARTIAL)
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
        tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in point.tensors.items()}
        save_file(tensors, partial / TENSORS)
        document = {"schema": SCHEMA, "step": point.step, "sha256": _sha256(partial / TENSORS), **point.document}
        (partial / DOCUMENT).write_text(json.dumps(document, allow_nan=False), encoding="utf-8")
        save_dictionary(dictionary, partial / "dictionary")
        for path in (*partial.rglob("*"), partial):
            _sync(path)
        if final.exists():
            _remove(final)
        partial.rename(final)
        _sync(self.folder)
        self._thin()
        self._latest = time.monotonic()

    def latest(self, run: Mapping[str, Any]) -> Point | None:
        """The last checkpoint there is, None if there is none. `run` must be what it was made by.

        Raises:
            UserError: another config, other activations or another number of workers, the first difference named.
            FormatError: a file is not what was written.
        """
        for path in self.folder.glob("*" + PARTIAL):
            shutil.rmtree(path)
        found = self._all()
        if not found:
            return None
        document = _document(found[-1])
        _require_same(document["run"], run, found[-1])
        if document["sha256"] != _sha256(found[-1] / TENSORS):
            raise FormatError("a checkpoint is not what was written", where=str(found[-1] / TENSORS))
        try:
            return Point(int(document["step"]), load_file(found[-1] / TENSORS), document)
        except SafetensorError as error:
            raise FormatError("not a checkpoint", where=str(found[-1] / TENSORS), got=str(error)) from error

    def _all(self) -> list[Path]:
        return sorted(p for p in self.folder.glob("*") if p.is_dir() and p.name.isdecimal())

    def _thin(self) -> None:
        found = self._all()
        scores = {p: _document(p).get("fvu") for p in found}
        measured = [p for p in found if scores[p] is not None]
        best = min(measured, key=lambda p: (scores[p], p), default=None)
        for path in found[:-KEPT]:
            if path != best:
                _remove(path)


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


def _remove(folder: Path) -> None:
    """Take away the name first: what is half removed is not a checkpoint."""
    gone = folder.with_name(folder.name + ".removed" + PARTIAL)
    folder.rename(gone)
    shutil.rmtree(gone)


def _document(folder: Path) -> dict[str, Any]:
    try:
        document = json.loads((folder / DOCUMENT).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise FormatError("not a checkpoint", where=str(folder / DOCUMENT), got=str(error)) from error
    if not isinstance(document, dict) or document.get("schema") != SCHEMA:
        raise FormatError("not a checkpoint", where=str(folder / DOCUMENT), expected=SCHEMA)
    return document


def _require_same(stored: Mapping[str, Any], now: Mapping[str, Any], folder: Path) -> None:
    now = json.loads(json.dumps(now))
    for name in dict.fromkeys([*stored, *now]):
        if stored.get(name) != now.get(name):
            raise UserError(
                f"the run to resume had another {name.replace('_', ' ')}",
                where=folder.parent.parent.name,
                expected=str(stored.get(name)),
                got=str(now.get(name)),
                fix="resume with the options and activations that it began with, or start a new run",
                code="resume_mismatch",
            )


def _sha256(path: Path) -> str:
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
