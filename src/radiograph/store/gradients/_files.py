"""`radiograph.gradients/1`: a folder of row gradients.

    00000.safetensors   gradient [row, entry] F32, or F16 in units of `scale` [row] · loss [row] · squares [matrix]
    00000.json          commit record: written last, so that a shard without one does not exist
    index.json          matrices, their kept sizes, what decides a byte; at the end with every commit and complete true

Rows stand in the order of the run that made them. In 16 bit a row is divided by its largest entry first, so that none
overflows. `squares` are sums of ‖g_lk‖² over the rows of the shard, in float64, of what was stored. No clock time and
no path stands in any of these files.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
from pydantic import Field

from radiograph.core import FormatError, UserError
from radiograph.core.shapes import Float, Float32, Float64, Int
from radiograph.evidence import Document, Record, document_sha256, pretty_json
from radiograph.store._atomic import PARTIAL, write_whole
from radiograph.store._hashing import file_sha256
from radiograph.store.shards import _safetensors
from radiograph.store.shards._index import read_json

INDEX = "index.json"
BLOCK_ROWS = 256


class MatrixRecord(Record):
    """One tracked matrix."""

    name: str
    shape: tuple[int, int]
    """[output, input]."""
    kept: tuple[int, int]
    """The same after projection."""


class Commit(Document):
    """What one shard holds. Its existence says that the shard is whole."""

    SCHEMA: ClassVar[str] = "radiograph.gradient_shard/1"

    number: int
    rows: tuple[int, int]
    """First row, and the one after the last."""
    bytes: int
    sha256: str
    spec_sha256: str


class Index(Document):
    """The folder as a whole."""

    SCHEMA: ClassVar[str] = "radiograph.gradients/1"

    facts: dict[str, Any]
    """Everything that decides a byte."""
    matrices: tuple[MatrixRecord, ...]
    rows: int
    shard_rows: int
    dtype: Literal["F32", "F16"]
    commits: tuple[Commit, ...] = Field(default=())
    complete: bool = False

    @cached_property
    def spec_sha256(self) -> str:
        """Hash of what decides the bytes."""
        return document_sha256([self.facts, [m.model_dump() for m in self.matrices], self.shard_rows, self.dtype])

    @property
    def shards(self) -> int:
        """How many there will be."""
        return -(-self.rows // self.shard_rows)

    def span(self, number: int) -> tuple[int, int]:
        """Rows of a shard."""
        return number * self.shard_rows, min(self.rows, (number + 1) * self.shard_rows)


def begin(folder: Path, index: Index) -> None:
    """Write an index that is not complete; again where the same run goes on.

    Raises:
        UserError: the folder holds other gradients; names the first fact that differs.
    """
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / INDEX
    if path.is_file():
        stored = Index.read(read_json(path), where=path.name)
        for name in {**stored.facts, **index.facts}:
            if stored.facts.get(name) != index.facts.get(name):
                raise _another(name, stored.facts.get(name), index.facts.get(name))
        if stored.spec_sha256 != index.spec_sha256:
            raise _another("matrices, shard rows or type", stored.spec_sha256, index.spec_sha256)
        return
    _write(path, index)


def _another(name: str, stored: object, now: object) -> UserError:
    return UserError(
        f"the unfinished run took other gradients: {name} differs",
        expected=str(stored)[:200],
        got=str(now)[:200],
        where=INDEX,
        fix="resume with the model, rows and options of that run, or start without --resume",
        code="another_run",
    )


def committed(folder: Path, spec_sha256: str) -> dict[int, Commit]:
    """Shards that need not be made again. Unfinished files are deleted; a shard of another hash was damaged."""
    for path in folder.glob(f"*{PARTIAL}"):
        path.unlink()
    found: dict[int, Commit] = {}
    for path in sorted(folder.glob("[0-9]*.json")):
        commit = Commit.read(read_json(path), where=path.name)
        data = path.with_suffix(".safetensors")
        whole = data.is_file() and data.stat().st_size == commit.bytes and commit.spec_sha256 == spec_sha256
        if whole and file_sha256(data) == commit.sha256:
            found[commit.number] = commit
    return found


def write_shard(
    folder: Path,
    index: Index,
    number: int,
    gradient: Float32[np.ndarray, "row entry"],
    extra: Mapping[str, np.ndarray],
) -> Commit:
    """Write a shard and commit it. `extra`: further arrays with a line a row.

    Raises:
        UserError: a gradient that is not finite. RadiographError: the disk refuses.
    """
    first, last = index.span(number)
    stored, scale = _packed(gradient, index.dtype, first)
    whole = stored.astype(np.float32) if scale is None else stored.astype(np.float32) * scale[:, None]
    squares = np.empty(len(index.matrices))
    start = 0
    for number_of, matrix in enumerate(index.matrices):
        stop = start + matrix.kept[0] * matrix.kept[1]
        squares[number_of] = np.einsum("re,re->", whole[:, start:stop], whole[:, start:stop], dtype=np.float64)
        start = stop
    tensors = {"gradient": stored, "squares": squares, **{k: np.ascontiguousarray(v) for k, v in extra.items()}}
    if scale is not None:
        tensors["scale"] = scale
    path = folder / f"{number:05d}.safetensors"
    size, sha256 = _safetensors.write(path, tensors)
    commit = Commit(number=number, rows=(first, last), bytes=size, sha256=sha256, spec_sha256=index.spec_sha256)
    _write(path.with_suffix(".json"), commit)
    return commit


def _packed(gradient: np.ndarray, dtype: str, first: int) -> tuple[np.ndarray, np.ndarray | None]:
    largest = np.abs(gradient).max(axis=1, initial=0.0)
    if not np.isfinite(largest).all():
        bad = int(np.flatnonzero(~np.isfinite(largest))[0])
        raise UserError("a gradient is not finite", where=f"row {first + bad}", code="non_finite")
    if dtype == "F32":
        return np.ascontiguousarray(gradient, dtype=np.float32), None
    scale = np.where(largest > 0, largest, 1.0).astype(np.float32)
    return (gradient / scale[:, None]).astype(np.float16), scale


def finish(folder: Path, index: Index) -> Index:
    """Complete the index.

    Raises:
        FormatError: a shard is missing.
    """
    known = committed(folder, index.spec_sha256)
    missing = [n for n in range(index.shards) if n not in known]
    if missing:
        raise FormatError(
            "a shard is missing", where=f"{missing[0]:05d}.safetensors", expected=f"{index.shards} shards"
        )
    done = index.model_copy(update={"commits": tuple(known[n] for n in range(index.shards)), "complete": True})
    _write(folder / INDEX, done)
    return done


def open_gradients(folder: Path) -> Gradients:
    """A finished folder.

    Raises:
        UserError: none there, or not complete. FormatError: a shard is not what was written.
    """
    path = folder / INDEX
    if not path.is_file():
        raise UserError(f"no gradients in {folder.name}", expected=f"a folder with {INDEX}")
    index = Index.read(read_json(path), where=path.name)
    if not index.complete:
        raise UserError(f"the gradients in {folder.name} are not complete", fix="resume the run", code="incomplete")
    for commit in index.commits:
        data = folder / f"{commit.number:05d}.safetensors"
        size = data.stat().st_size if data.is_file() else None
        if size != commit.bytes:
            raise FormatError(
                "a shard is not what was written", where=data.name, expected=str(commit.bytes), got=str(size)
            )
    return Gradients(folder, index)


class Gradients:
    """Reads a folder."""

    def __init__(self, folder: Path, index: Index) -> None:
        self.folder, self.index = folder, index

    @property
    def kept(self) -> tuple[tuple[int, int], ...]:
        """Kept sizes of the matrices, in order."""
        return tuple(m.kept for m in self.index.matrices)

    def blocks(self) -> Iterator[Float32[np.ndarray, "row entry"]]:
        """All rows in order, some hundreds at a time."""
        for number in range(self.index.shards):
            yield from self._shard(number, 0, None)

    def rows(self, wanted: Int[np.ndarray, " row"]) -> Float32[np.ndarray, "row entry"]:
        """Some rows, in the order asked for."""
        out = np.empty((len(wanted), sum(o * i for o, i in self.kept)), dtype=np.float32)
        shards = wanted // self.index.shard_rows
        for number in np.unique(shards).tolist():
            here = np.flatnonzero(shards == number)
            inside = wanted[here] - number * self.index.shard_rows
            with self._open(number) as handle:
                gradient = handle.get_slice("gradient")
                scale = handle.get_tensor("scale") if self.index.dtype == "F16" else None
                for place, row in zip(here.tolist(), inside.tolist(), strict=True):
                    own = gradient[row : row + 1].astype(np.float32)
                    out[place] = own[0] if scale is None else own[0] * scale[row]
        return out

    def column(self, name: str) -> np.ndarray:
        """A further array of all rows."""
        found = [self._array(n, name) for n in range(self.index.shards)]
        return np.concatenate(found) if found else np.empty(0)

    @property
    def mean_squares(self) -> Float64[np.ndarray, " matrix"]:
        """(1/n)Σ ‖g_lk‖² of each matrix."""
        return sum((self._array(n, "squares") for n in range(self.index.shards)), np.zeros(len(self.kept))) / max(
            1, self.index.rows
        )

    def changed(self) -> list[str]:
        """Shards whose hash is not the committed one."""
        named = ((f"{c.number:05d}.safetensors", c.sha256) for c in self.index.commits)
        return [name for name, sha256 in named if file_sha256(self.folder / name) != sha256]

    def _shard(self, number: int, first: int, last: int | None) -> Iterator[Float[np.ndarray, "row entry"]]:
        start, stop = self.index.span(number)
        with self._open(number) as handle:
            gradient = handle.get_slice("gradient")
            scale = handle.get_tensor("scale") if self.index.dtype == "F16" else None
            for at in range(first, stop - start if last is None else last, BLOCK_ROWS):
                end = min(stop - start, at + BLOCK_ROWS)
                own = gradient[at:end].astype(np.float32, copy=False)
                yield own if scale is None else own * scale[at:end, None]

    def _array(self, number: int, name: str) -> np.ndarray:
        with self._open(number) as handle:
            return handle.get_tensor(name)

    def _open(self, number: int) -> Any:
        from safetensors import safe_open

        return safe_open(self.folder / f"{number:05d}.safetensors", framework="numpy")


def _write(path: Path, document: Document) -> None:
    data = pretty_json(document).encode()
    write_whole(path, (data,), len(data))
