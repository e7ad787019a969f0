"""Which shards there are, and the end of a harvest.

1. `committed`: files named `.partial` are deleted; a shard counts if its commit record names this spec and its file has
   the size stated (or, on request, the hash)   2. `finish`: every shard must be there; statistics are merged in the
   order of the shards, in float64; the index is written with complete true
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from radiograph.core import FormatError
from radiograph.store._atomic import PARTIAL
from radiograph.store._hashing import file_sha256
from radiograph.store.shards import _safetensors
from radiograph.store.shards._index import (
    INDEX,
    STATISTICS,
    Commit,
    Index,
    SourceRecord,
    read_index,
    read_json,
    write_document,
)
from radiograph.store.shards._statistics import Statistics
from radiograph.store.shards._writer import name_of


def committed(folder: Path, spec_sha256: str, *, verify: bool = False) -> dict[int, Commit]:
    """Shards that need not be made again, by number. Unfinished files are deleted.

    Only for the one process that hands out the work: another writer's `.partial` would be deleted too.
    """
    for path in folder.glob(f"*{PARTIAL}"):
        path.unlink()
    found: dict[int, Commit] = {}
    for path in sorted(folder.glob("[0-9]*.json")):
        commit = Commit.read(read_json(path), where=str(path))
        data = path.with_suffix(".safetensors")
        whole = data.is_file() and data.stat().st_size == commit.bytes
        if whole and commit.spec_sha256 == spec_sha256 and not (verify and file_sha256(data) != commit.sha256):
            found[commit.number] = commit
    return found


def read_commit(folder: Path, number: int) -> Commit:
    """The commit record of a shard, whose file has the size stated.

    Raises:
        FormatError: shard or record are missing, or the file is shorter or longer than it was; names both sides.
    """
    record = folder / f"{name_of(number)}.json"
    path = record.with_suffix(".safetensors")
    for needed in (record, path):
        if not needed.is_file():
            raise FormatError("a shard is missing", where=str(needed), expected=needed.name, got="no such file")
    commit = Commit.read(read_json(record), where=str(record))
    check_size(path, commit)
    return commit


def check_size(path: Path, commit: Commit) -> None:
    """Refuse a shard that is not as long as its commit record says."""
    size = path.stat().st_size if path.is_file() else None
    if size != commit.bytes:
        got = "no such file" if size is None else f"{size:,} bytes"
        raise FormatError(
            "a shard is not what was written", where=str(path), expected=f"{commit.bytes:,} bytes", got=got
        )


def finish(folder: Path, spec_sha256: str, counts: Mapping[str, int] | None = None) -> Index:
    """Merge statistics and complete the index.

    Raises:
        FormatError: a shard is missing, short, or of another spec.
        RadiographError: the disk refuses.
    """
    index = read_index(folder)
    if index.complete:
        return index
    commits = tuple(read_commit(folder, number) for number in range(index.shards))
    merged = {record.source: Statistics.empty(record.width) for record in index.sources}
    for commit in commits:
        path = folder / f"{name_of(commit.number)}.safetensors"
        if commit.spec_sha256 != spec_sha256:
            raise FormatError(
                "a shard of another harvest", where=str(path), expected=spec_sha256, got=commit.spec_sha256
            )
        arrays = _safetensors.arrays(path, prefix="stats/")
        for source, total in merged.items():
            total.merge(Statistics.restored(arrays, f"stats/{source}", commit.rows))
    named = {name: value for source, total in merged.items() for name, value in total.arrays(source).items()}
    _, sha256 = _safetensors.write(folder / STATISTICS, named)
    complete = index.model_copy(
        update={
            "sources": tuple(described(record, merged[record.source]) for record in index.sources),
            "counts": {**index.counts, **(counts or {})},
            "statistics_sha256": sha256,
            "commits": commits,
            "complete": True,
        }
    )
    write_document(folder / INDEX, complete)
    return read_index(folder)


def described(record: SourceRecord, total: Statistics) -> SourceRecord:
    """The record of a source with the numbers that people look for."""
    return record.model_copy(
        update={
            "variance": total.moments.variance,
            "mean_norm": float(np.linalg.norm(total.moments.mean)),
            "largest_norm": total.largest,
        }
    )
