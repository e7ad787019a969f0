"""A sweep on its way to disk: the plan first, then batches that are whole or absent, then what remains of them.

    vectors/plan.json            row numbers of every batch, and the hash of the job
    vectors/00000.safetensors    vectors of batch 0; vectors/00000.json, written after it: its rows, and that it counts
    vectors/index.json           written last: sites, pool, shards with their hashes; plan and rows' files then go
A killed writer leaves a plan and some batches. The next one does the missing ones whole, and ends with the same bytes.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from radiograph.core import FormatError, UserError
from radiograph.evidence import canonical_json
from radiograph.store._atomic import write_whole
from radiograph.store._hashing import file_sha256
from radiograph.store.shards._safetensors import write

INDEX = "index.json"
SCHEMA = "radiograph.vectors/1"
_PLAN = "plan.json"
_PLAN_SCHEMA = "radiograph.sweep_plan/1"


class BatchWriter:
    """The folder of one sweep, new or gone on with."""

    def __init__(self, folder: Path, job_sha256: str) -> None:
        """Open a folder.

        Raises:
            UserError: it holds batches of another sweep.
            FormatError: a plan that is none.
        """
        self.folder, self.job = folder, job_sha256
        folder.mkdir(parents=True, exist_ok=True)
        self.batches: list[tuple[int, ...]] = []
        if (folder / _PLAN).is_file():
            found = _read(folder / _PLAN)
            if found.get("schema") != _PLAN_SCHEMA:
                raise FormatError("not the plan of a sweep", where=str(folder / _PLAN), got=repr(found.get("schema")))
            if found["job"] != job_sha256:
                raise UserError(
                    "the run to go on with did something else",
                    expected=f"a sweep with hash {job_sha256}",
                    got=found["job"],
                    fix="give the options and files of that run, or start without --resume",
                    code="another_job",
                )
            self.batches = [tuple(batch) for batch in found["batches"]]

    def plan(self, batches: Sequence[Sequence[int]]) -> None:
        """Record the batches; those that are committed must stand in front, as they are."""
        self.batches = [tuple(batch) for batch in batches]
        _write(self.folder / _PLAN, {"schema": _PLAN_SCHEMA, "job": self.job, "batches": self.batches})

    def done(self, number: int) -> bool:
        """Whether a batch is there and whole."""
        path = self._rows(number)
        if not path.is_file():
            return False
        wanted = _read(path)["sha256"]
        return wanted is None or (self._shard(number).is_file() and file_sha256(self._shard(number)) == wanted)

    def commit(self, number: int, rows: Sequence[Mapping[str, Any]], tensors: Mapping[str, np.ndarray]) -> None:
        """One batch: its vectors, then its rows."""
        sha256 = write(self._shard(number), tensors)[1] if tensors else None
        _write(self._rows(number), {"rows": list(rows), "sha256": sha256})

    def drop(self, number: int) -> None:
        """Forget a batch."""
        self._rows(number).unlink(missing_ok=True)
        self._shard(number).unlink(missing_ok=True)

    def rows(self) -> Iterator[tuple[dict[str, Any], int | None]]:
        """Every row with the number of its shard, in the order of the rows."""
        found: list[tuple[dict[str, Any], int | None]] = []
        for number in range(len(self.batches)):
            part = _read(self._rows(number))
            found += [(row, None if part["sha256"] is None else number) for row in part["rows"]]
        yield from sorted(found, key=lambda one: one[0]["row"])

    def finish(self, *, sites: Mapping[str, int], pool: str, facts: Mapping[str, Any]) -> str:
        """Write the index and leave nothing but it and the vectors; returns its SHA-256."""
        shards = []
        for number in range(len(self.batches)):
            sha256 = _read(self._rows(number))["sha256"]
            if sha256 is not None:
                path = self._shard(number)
                shards.append({"file": path.name, "sha256": sha256, "bytes": path.stat().st_size})
        index = {
            "schema": SCHEMA,
            "sites": [{"site": site, "width": width} for site, width in sites.items()],
            "pool": pool,
            "rows": sum(len(batch) for batch in self.batches),
            "shards": shards,
            "batches": self.batches,
            **facts,
        }
        sha256 = _write(self.folder / INDEX, index)
        for path in [self.folder / _PLAN, *(self._rows(number) for number in range(len(self.batches)))]:
            path.unlink()
        return sha256

    def _rows(self, number: int) -> Path:
        return self.folder / f"{number:05d}.json"

    def _shard(self, number: int) -> Path:
        return self.folder / f"{number:05d}.safetensors"


def _write(path: Path, value: Mapping[str, Any]) -> str:
    data = canonical_json(dict(value))
    return write_whole(path, (data,), len(data))


def _read(path: Path) -> dict[str, Any]:
    try:
        return json.loads(path.read_bytes())
    except ValueError as error:
        raise FormatError(f"cannot read {path.name}", where=str(path), got=str(error)) from error
