"""`checkpoints/STEP/`: everything that decides the steps that follow, whole or absent.

    state.safetensors   tensors, by name
    state.json          schema, step, hash of the tensors, held-out score, `run` (what is trained on what), plain data

1. written beside as `STEP.partial`, synced, renamed, and renamed again before it is removed: a folder that has its name
is whole   2. the last two are kept, and the one with the lowest score   3. another `run` is never gone on with
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from radiograph.core import FormatError, UserError
from radiograph.store._atomic import PARTIAL, sync
from radiograph.store._hashing import file_sha256

if TYPE_CHECKING:
    from torch import Tensor

TENSORS: Final = "state.safetensors"
DOCUMENT: Final = "state.json"
KEPT: Final = 2


@dataclass(frozen=True, slots=True, eq=False)
class Checkpoint:
    """One that was read."""

    step: int
    tensors: dict[str, Tensor]
    document: dict[str, Any]
    """Plain data, as it was saved."""


class CheckpointFolder:
    """The checkpoints of one training. `run`, plain data, says what is trained on what."""

    def __init__(self, folder: Path, schema: str) -> None:
        self.folder, self.schema = folder, schema

    def save(
        self,
        step: int,
        tensors: Mapping[str, Tensor],
        run: Mapping[str, Any],
        document: Mapping[str, Any],
        *,
        score: float | None,
        beside: Callable[[Path], object] | None = None,
    ) -> None:
        """Write one, whole or not at all, and remove those that are no longer kept.

        `score` is of held-out data, the lower the better; None: not measured, so it is kept as one of the last alone.
        `beside` writes more into the folder.
        """
        from safetensors.torch import save_file

        final = self.folder / f"{step:09d}"
        partial = final.with_name(final.name + PARTIAL)
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
        save_file({n: t.detach().cpu().contiguous() for n, t in tensors.items()}, partial / TENSORS)
        sha256 = file_sha256(partial / TENSORS)
        stated = {"schema": self.schema, "step": step, "sha256": sha256, "score": score, "run": dict(run), **document}
        (partial / DOCUMENT).write_text(json.dumps(stated, allow_nan=False), encoding="utf-8")
        if beside is not None:
            beside(partial)
        for path in (*partial.rglob("*"), partial):
            sync(path)
        if final.exists():
            _remove(final)
        partial.rename(final)
        sync(self.folder)
        self._thin()

    def latest(self, run: Mapping[str, Any]) -> Checkpoint | None:
        """The last one, None if there is none. What was half written is removed.

        Raises:
            UserError: it is of another run; the first difference is named. FormatError: not what was written.
        """
        from safetensors import SafetensorError
        from safetensors.torch import load_file

        for path in self.folder.glob("*" + PARTIAL):
            shutil.rmtree(path)
        found = self._all()
        if not found:
            return None
        document, tensors = self._document(found[-1]), found[-1] / TENSORS
        _require_same(document["run"], json.loads(json.dumps(run)), found[-1])
        if document["sha256"] != file_sha256(tensors):
            raise FormatError("a checkpoint is not what was written", where=str(tensors))
        try:
            return Checkpoint(int(document["step"]), load_file(tensors), document)
        except SafetensorError as error:
            raise FormatError("not a checkpoint", where=str(tensors), got=str(error)) from error

    def _all(self) -> list[Path]:
        return sorted(p for p in self.folder.glob("*") if p.is_dir() and p.name.isdecimal())

    def _document(self, folder: Path) -> dict[str, Any]:
        try:
            document = json.loads((folder / DOCUMENT).read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise FormatError("not a checkpoint", where=str(folder / DOCUMENT), got=str(error)) from error
        if not isinstance(document, dict) or document.get("schema") != self.schema:
            raise FormatError("not a checkpoint", where=str(folder / DOCUMENT), expected=self.schema)
        return document

    def _thin(self) -> None:
        found = self._all()
        scores = {p: self._document(p).get("score") for p in found}
        best = min((p for p in found if scores[p] is not None), key=lambda p: (scores[p], p), default=None)
        for path in found[:-KEPT]:
            if path != best:
                _remove(path)


def _require_same(stored: Mapping[str, Any], now: Mapping[str, Any], folder: Path) -> None:
    for name in dict.fromkeys([*stored, *now]):
        if stored.get(name) != now.get(name):
            raise UserError(
                f"the run to resume had another {name.replace('_', ' ')}",
                where=folder.parent.parent.name,
                expected=str(stored.get(name)),
                got=str(now.get(name)),
                fix="resume with the options and inputs that it began with, or start a new run",
                code="resume_mismatch",
            )


def _remove(folder: Path) -> None:
    """Take away the name first: what is half removed is not a checkpoint."""
    gone = folder.with_name(folder.name + ".removed" + PARTIAL)
    folder.rename(gone)
    shutil.rmtree(gone)
