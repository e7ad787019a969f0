"""A `radiograph.activations/1` folder, one source of it: every shard opened once, hashed, then read by offset.

`#SOURCE` is a role (`candidate`), a site of the reference (`resid_post.2`) or both (`candidate/resid_post.2`); it may
be left out where the folder holds one source. Rows stand in the order of the shards.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from radiograph.core import FormatError, Source, UserError
from radiograph.store.activations._store import Found, regrouped
from radiograph.store.activations._tensors import NAMES, rows_of
from radiograph.store.opened import Opened, Tensors
from radiograph.store.shards import INDEX, PROMPTS, Index

FOLDER = "activations"
Open = Callable[[Path, str], Opened]
"""Opens a file under the name that errors call it by."""


def is_folder(path: Path) -> bool:
    """Whether activations lie in a folder, or in the bundle of a harvest."""
    return (path / INDEX).is_file() or (path / FOLDER / INDEX).is_file()


def read_folder(path: Path, wanted: str | None, name: str, opened: Open) -> Found:
    """Shape, type, rows, ids and what the index says of a source.

    Raises:
        UserError: no such source, or the harvest was not finished. FormatError: a shard is not what was committed.
    """
    folder = path if (path / INDEX).is_file() else path / FOLDER
    with opened(folder / INDEX, f"{name}/{INDEX}") as file:
        index, sha256 = _index(file.read(), file.name), file.sha256
    if not index.complete:
        raise UserError(f"the harvest in {name} was not finished", fix="resume it", code="incomplete")
    source = _source(index, wanted, name)
    record = next(r for r in index.sources if r.source == source)
    shards = [_Shard(folder, commit.number, commit.sha256, source, opened) for commit in index.commits]
    rows = sum(commit.rows for commit in index.commits)

    def parts(count: int) -> Iterator[NDArray[Any]]:
        for shard in shards:
            yield from rows_of(shard.tensors, source)(count)

    ids = {
        column: np.concatenate([shard.tensors.array(column) for shard in shards])
        for column in ("token", "prompt", "position")
    }
    role = Source.parse(source).role
    about = {
        "site": str(Source.parse(source).site),
        "model_sha256": next((m.sha256 for m in index.models if m.role == role), None),
        "tokenizer_sha256": index.tokenizer_sha256,
        "source": source,
        "sha256": sha256,
        "groups": _groups(folder, index, ids["prompt"], name, opened),
    }
    return Found((rows, record.width), NAMES[record.dtype], lambda count: regrouped(parts(count), count), ids, about)


class _Shard:
    """A shard, opened and checked when it is first read."""

    def __init__(self, folder: Path, number: int, sha256: str, source: str, opened: Open) -> None:
        self.path = folder / f"{number:05d}.safetensors"
        self.sha256, self.source, self._opened = sha256, source, opened
        self._tensors: Tensors | None = None

    @property
    def tensors(self) -> Tensors:
        if self._tensors is None:
            file = self._opened(self.path, self.path.name)
            if file.sha256 != self.sha256:
                raise FormatError(
                    "a shard is not what was written", where=self.path.name, expected=self.sha256, got=file.sha256
                )
            self._tensors = Tensors(file, self.path.name)
        return self._tensors


def _index(data: bytes, where: str) -> Index:
    import json

    try:
        document = json.loads(data)
    except ValueError as error:
        raise FormatError("not JSON", where=where, got=str(error)) from error
    if not isinstance(document, dict):
        raise FormatError("not a JSON object", where=where, got=type(document).__name__)
    return Index.read(document, where=where)


def _source(index: Index, wanted: str | None, name: str) -> str:
    held = [record.source for record in index.sources]
    fitting = held
    if wanted is not None:
        fitting = [source for source in held if wanted in (source, source.partition("/")[0], source.partition("/")[2])]
        if len(fitting) > 1 and f"reference/{wanted}" in fitting:
            fitting = [f"reference/{wanted}"]
    if len(fitting) == 1:
        return fitting[0]
    raise UserError(
        f"which rows of {name}?" if fitting else f"no rows of {wanted} in {name}",
        expected=", ".join(f"#{source}" for source in held),
        got=f"#{wanted}" if wanted else "no #SOURCE",
        fix=f"write {name}#{held[0]}",
        code="unknown_site",
    )


def _groups(folder: Path, index: Index, prompts: NDArray[Any], name: str, opened: Open) -> NDArray[Any]:
    """The prompt group of every row."""
    import polars

    with opened(folder / PROMPTS, f"{name}/{PROMPTS}") as file:
        if file.sha256 != index.prompts_sha256:
            raise FormatError("the table of prompts is not what was written", where=name, expected=index.prompts_sha256)
        table = polars.read_parquet(file.again, columns=["group"])
    return table["group"].cast(polars.String).to_numpy().astype(str)[prompts]
