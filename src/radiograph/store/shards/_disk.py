"""Activations in a folder of shards: mapped, not loaded.

A reader may follow a harvest that is still running (`follow`): it waits for the commit record of the shard it needs.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any

import numpy as np

from radiograph.core import FormatError, UserError
from radiograph.core.shapes import Int
from radiograph.numerics.moments import Moments
from radiograph.store._hashing import file_sha256
from radiograph.store.shards import _safetensors
from radiograph.store.shards._activations import Split, known_sources
from radiograph.store.shards._buffers import Buffers
from radiograph.store.shards._commits import check_size, read_commit
from radiograph.store.shards._index import INDEX, PROMPTS, STATISTICS, Commit, Index, read_index
from radiograph.store.shards._reader import Order, Reader, by_shard
from radiograph.store.shards._statistics import Statistics
from radiograph.store.shards._writer import name_of

if TYPE_CHECKING:
    import polars
    from torch import Tensor

Rows = Int[np.ndarray, " row"]
FOLDER = "activations"
COLUMNS = ("token", "prompt", "position")
OPEN_SHARDS = 64
HELD_BATCHES = 6
"""Batches of a source at once: those that are ready, the one that is made, and those that a loop works on."""
WAIT_SECONDS = 600.0
POLL_SECONDS = 0.1


def open_activations(path: Path, *, follow: bool = False, verify: bool = True) -> DiskActivations:
    """The activations in a folder, or in the bundle of a harvest.

    Args:
        path: the folder that holds `index.json`, or the one above it.
        follow: read what is there while a harvest writes the rest; statistics are not known then.
        verify: hash each shard before its first row is given out, once in the life of what is returned.

    Raises:
        UserError: no activations there, or the harvest was not finished.
        FormatError: a shard is missing or short.
    """
    folder = path / FOLDER if not (path / INDEX).is_file() and (path / FOLDER / INDEX).is_file() else path
    index = read_index(folder)
    if not index.complete and not follow:
        raise UserError(
            f"the harvest in {folder} was not finished", expected='"complete": true', fix="resume it", code="incomplete"
        )
    for commit in index.commits:
        check_size(folder / f"{name_of(commit.number)}.safetensors", commit)
    return DiskActivations(folder, index, WAIT_SECONDS if follow else 0.0, verify)


@dataclass(frozen=True, eq=False)
class DiskActivations:
    """A folder of shards."""

    folder: Path
    index: Index
    patience: float = 0.0
    """Seconds to wait for a shard that another process is to write."""
    verify: bool = True
    """Whether the bytes of a shard must have the hash that was committed."""
    _verified: set[int] = field(default_factory=set)
    _mapped: OrderedDict[tuple[int, str], Tensor] = field(default_factory=OrderedDict)
    _lock: Lock = field(default_factory=Lock)
    """Several readers share what is mapped."""
    _checks: dict[int, Future[None]] = field(default_factory=dict)
    """Of shards whose first row is not due yet."""
    _buffers: Buffers = field(default_factory=Buffers)

    @property
    def prompts(self) -> polars.DataFrame:
        """A row a window."""
        return self._prompts

    @property
    def sources(self) -> tuple[str, ...]:
        """`ROLE/SITE` of each source."""
        return tuple(record.source for record in self.index.sources)

    @property
    def widths(self) -> dict[str, int]:
        """Width of each source."""
        return self.index.widths

    def count(self, split: Split | None = None) -> int:
        """Rows of a split, or of both."""
        commits = self._whole("count")
        total, held = sum(c.rows for c in commits), sum(c.validation_rows for c in commits)
        return {None: total, "validation": held, "train": total - held}[split]

    def statistics(self, source: str) -> Statistics:
        """Statistics of all rows of a source."""
        (name,) = known_sources([source], self)
        self._whole("statistics")
        path = self.folder / STATISTICS
        if name not in self._statistics:
            _require_hash(path, self.index.statistics_sha256, "the statistics are")
            self._statistics[name] = Statistics.restored(
                _safetensors.arrays(path, prefix=f"{name}/"), name, self.count()
            )
        return self._statistics[name]

    def moments(self, source: str) -> Moments:
        """Count, mean and squared deviations over all rows of a source."""
        return self.statistics(source).moments

    def reader(self, sources: Sequence[str], *, epoch: int = 0, columns: Sequence[str] = (), **order: Any) -> Reader:
        """Batches of rows; see `Reader`."""
        return Reader(self, (*known_sources(sources, self), *columns), Order(**order), epoch)

    def shard_rows(self, shard: int, split: Split) -> Int[np.ndarray, " row"]:
        """Rows of one shard that are on one side of the split, ascending.

        Raises:
            FormatError: the shard is missing, short, or not what was written.
            UserError: it was waited for in vain.
        """
        self._require(shard)
        owners = _safetensors.arrays(self._path(shard), ("prompt",))["prompt"]
        return np.flatnonzero(self._held[owners] == (split == "validation"))

    def gather(self, names: Sequence[str], ids: Int[np.ndarray, " row"]) -> tuple[Tensor, ...]:
        """Rows by their ids."""
        parts = list(by_shard(ids))
        return tuple(self._gather(name, len(ids), parts, HELD_BATCHES * len(names)) for name in names)

    def will_read(self, shard: int, names: Sequence[str]) -> None:
        """Check a shard, or ask the disk for it, on another thread before its first row is due."""
        if shard not in self._checks and self._path(shard).with_suffix(".json").is_file():
            self._checks[shard] = self._thread.submit(self._check, shard, tuple(names))

    def _gather(self, name: str, count: int, parts: Sequence[tuple[int, Rows, Rows]], keep: int) -> Tensor:
        import torch

        # NumPy copies rows as items of so many bytes, on this thread alone. torch would bring up a second team of
        # threads beside the one that trains, and the two would wait for each other.
        like = self._tensor(parts[0][0], name) if parts else torch.empty(0)
        width = like[:1].numel() * like.element_size()
        data = self._buffers.take(count * width, keep)
        out = data.view(f"V{width}")
        for shard, places, rows in parts:
            out[places] = self._tensor(shard, name).view(torch.uint8).numpy().reshape(-1).view(out.dtype)[rows]
        return torch.from_numpy(data).view(like.dtype).view(count, *like.shape[1:])

    def _tensor(self, shard: int, name: str) -> Tensor:
        with self._lock:
            found = self._mapped.pop((shard, name), None)
            if found is None:
                (found,) = _safetensors.tensors(self._path(shard), (name,))
                # torch picks no rows of unsigned types; columns are small, so they are widened, not mapped.
                found = found.long() if name in COLUMNS else found
            self._mapped[shard, name] = found
            while len(self._mapped) > OPEN_SHARDS * max(1, len(self.sources)):
                self._mapped.popitem(last=False)
            return found

    def _path(self, shard: int) -> Path:
        return self.folder / f"{name_of(shard)}.safetensors"

    def _whole(self, what: str) -> tuple[Commit, ...]:
        if not self.index.complete:
            raise UserError(f"the {what} of a harvest that is still running", fix="wait for it to finish")
        return self.index.commits

    def _require(self, shard: int) -> None:
        """Wait for a shard that is to come; see that it is what was written.

        Raises:
            FormatError: it is not. UserError: it did not come.
        """
        record, until = self._path(shard).with_suffix(".json"), time.monotonic() + self.patience
        while self.patience and not record.is_file():
            if time.monotonic() > until:
                raise UserError(
                    f"no shard {shard} after {self.patience:.0f} seconds",
                    where=str(record),
                    expected=f"{self.index.shards} shards of a harvest that is running",
                    fix="see whether it still runs, and resume it",
                    code="incomplete",
                )
            time.sleep(POLL_SECONDS)
        started = self._checks.pop(shard, None)
        started.result() if started else self._check(shard, ())

    def _check(self, shard: int, names: tuple[str, ...]) -> None:
        """A shard's size, and once its bytes; where they were read before, ask the disk for those of `names`."""
        commit, path = read_commit(self.folder, shard), self._path(shard)
        if self.verify and shard not in self._verified:
            _require_hash(path, commit.sha256, "a shard is")
            self._verified.add(shard)
        else:
            _safetensors.advise(path, names)

    @cached_property
    def _thread(self) -> ThreadPoolExecutor:
        return ThreadPoolExecutor(1, thread_name_prefix="radiograph-shards")

    @cached_property
    def _prompts(self) -> polars.DataFrame:
        import polars

        path = self.folder / PROMPTS
        _require_hash(path, self.index.prompts_sha256, "the table of prompts is")
        return polars.read_parquet(path)

    @cached_property
    def _held(self) -> Int[np.ndarray, " prompt"]:
        return (self.prompts["split"] == "validation").to_numpy()

    @cached_property
    def _statistics(self) -> dict[str, Statistics]:
        return {}


def _require_hash(path: Path, expected: str | None, what: str) -> None:
    found = file_sha256(path) if path.is_file() else "no such file"
    if found != expected:
        raise FormatError(f"{what} not what was written", where=str(path), expected=expected, got=found)
