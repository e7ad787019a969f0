"""One shard to disk, whole or not at all, beside the run that makes the next.

1. statistics of every source   2. `.partial`, hashed on the way, fsync, rename, fsync of the folder   3. the commit
record the same way, last: a shard without one does not exist

`ShardWriter` does this on one background thread. It holds two shards, the one it writes among them, so capture waits
when the disk is slower, and a harvest never needs the memory of more than three; its error stops the run. Several
processes may write into one folder: a commit is atomic, and writing a shard twice writes the same bytes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from queue import SimpleQueue
from threading import Semaphore, Thread
from types import TracebackType
from typing import TYPE_CHECKING

import numpy as np

from radiograph.core.shapes import Int
from radiograph.store.shards import _safetensors
from radiograph.store.shards._index import Commit, write_document
from radiograph.store.shards._statistics import Statistics

if TYPE_CHECKING:
    from torch import Tensor

HELD = 2


@dataclass(frozen=True, eq=False)
class ShardData:
    """Rows of one shard, in stream order."""

    number: int
    rows: Mapping[str, Tensor]
    """Source to [row, width]."""
    tokens: Int[np.ndarray, " row"]
    prompts: Int[np.ndarray, " row"]
    """Row of `prompts.parquet` that each row came from."""
    positions: Int[np.ndarray, " row"]
    """Position in the window."""
    span: tuple[int, int]
    """First and last prompt of the shard, whether or not a row of them is left."""
    fed: int
    """Tokens fed."""
    validation: int
    """Rows on the validation side."""

    @property
    def bytes(self) -> int:
        """Bytes of the rows."""
        return sum(tensor.numel() * tensor.element_size() for tensor in self.rows.values())


def name_of(number: int) -> str:
    """Stem of a shard's files."""
    return f"{number:05d}"


def write_shard(folder: Path, data: ShardData, spec_sha256: str) -> Commit:
    """Write a shard and commit it.

    Raises:
        RadiographError: the disk refuses; names file, error and bytes needed.
    """
    path = folder / f"{name_of(data.number)}.safetensors"
    tensors: dict[str, object] = {
        "token": data.tokens.astype(np.uint32),
        "prompt": data.prompts.astype(np.uint32),
        "position": data.positions.astype(np.uint16),
    }
    for source, rows in data.rows.items():
        tensors |= {source: rows} | Statistics.of(rows).arrays(f"stats/{source}")
    size, sha256 = _safetensors.write(path, tensors)  # type: ignore[arg-type]
    commit = Commit(
        number=data.number,
        rows=len(data.tokens),
        validation_rows=data.validation,
        prompts=data.span,
        tokens=data.fed,
        bytes=size,
        sha256=sha256,
        spec_sha256=spec_sha256,
    )
    write_document(path.with_suffix(".json"), commit)
    return commit


class ShardWriter:
    """Writes shards in the background. Use as a context; leaving it waits for the last commit."""

    def __init__(self, folder: Path, spec_sha256: str) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.commits: list[Commit] = []
        self._folder, self._spec = folder, spec_sha256
        self._queue: SimpleQueue[ShardData | None] = SimpleQueue()
        self._room = Semaphore(HELD)
        self._error: BaseException | None = None
        self._thread = Thread(target=self._write, name="radiograph-shards", daemon=True)
        self._thread.start()

    def submit(self, data: ShardData) -> None:
        """Hand over a shard; waits while there are two that are not on disk.

        Raises:
            RadiographError: an earlier shard could not be written.
        """
        self._room.acquire()
        self._check()
        self._queue.put(data)

    def close(self) -> None:
        """Wait until everything is committed.

        Raises:
            RadiographError: a shard could not be written.
        """
        self._queue.put(None)
        self._thread.join()
        self._check()

    def __enter__(self) -> ShardWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None:
            self.close()
        else:
            # The run fails for its own reason; what was handed over is still worth committing.
            self._queue.put(None)
            self._thread.join()

    def _write(self) -> None:
        while (data := self._queue.get()) is not None:
            if self._error is None:
                try:
                    self.commits.append(write_shard(self._folder, data, self._spec))
                except BaseException as error:  # noqa: BLE001 (handed to the thread that waits for it)
                    self._error = error
            self._room.release()

    def _check(self) -> None:
        if self._error is not None:
            raise self._error
