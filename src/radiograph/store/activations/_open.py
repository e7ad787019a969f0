"""Which reader a path needs, by folder or suffix, and what stands beside a file.

A `.npy` may have a side-car `NAME.json` with site, model_sha256 and tokenizer_sha256; a safetensors or Parquet file has
them in its metadata, a JSON document among its keys. A file is opened once; what was hashed is what is read.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final

from radiograph.core import FormatError, UserError, visible
from radiograph.core.limits import Limits
from radiograph.store.activations._arrays import read_npy, read_npz
from radiograph.store.activations._json import read_json
from radiograph.store.activations._parquet import read_parquet
from radiograph.store.activations._shards import Open, is_folder, read_folder
from radiograph.store.activations._store import ActivationStore, Found, columns_of, described
from radiograph.store.activations._tensors import read_safetensors
from radiograph.store.opened import Opened

SUFFIXES: Final = (".npy", ".npz", ".safetensors", ".parquet", ".json")
SIDE_CAR_BYTES: Final = 2**20


def is_activations(path: Path) -> bool:
    """Whether a path looks like a store: a folder of shards, or a file with a suffix that is read."""
    return is_folder(path) if path.is_dir() else path.suffix.lower() in SUFFIXES


def open_activations(
    path: Path,
    *,
    source: str | None = None,
    name: str | None = None,
    limits: Limits | None = None,
    opener: Open = Opened.at,
) -> ActivationStore:
    """What is stored at a path: a file, a folder of shards, or the bundle of a harvest.

    Args:
        path: where; it has been resolved and confined by whoever calls.
        source: of a folder, which rows: a role, a site, or ROLE/SITE.
        name: as errors and evidence call it; by default the file's own.
        limits: rows, width and size that are accepted.
        opener: opens a file under a name; whatever confines or forbids links stands there.

    Raises:
        UserError: nothing there, no such source, a limit. FormatError: the file is not what its suffix says, or holds
            no table of floats.
    """
    limits, shown = limits or Limits(), name or path.name
    if path.is_dir():
        if not is_folder(path):
            raise UserError(
                f"no activations in {visible(shown)}", expected="a folder with index.json", code="not_found"
            )
        found = read_folder(path, source, shown, opener)
        shown, sha256 = f"{shown}#{found.about['source']}", str(found.about["sha256"])
    else:
        if source is not None:
            raise UserError(f"{visible(shown)} is one file, it has no #{visible(source)}", code="bad_value")
        file = opener(path, shown)
        found, sha256 = _file(file, path, opener, limits), file.sha256
    (rows, width), dtype, blocks, ids, about = found
    limits.check("tokens", rows, "rows of activations", shown)
    limits.check("width", width, "width of activations", shown)
    columns = columns_of(ids, rows, shown)
    if "groups" in about:
        columns["group"] = about["groups"]
    facts = described(about, shown)
    return ActivationStore(shown, rows, width, dtype, blocks, columns=columns, sha256=sha256, **facts)  # type: ignore[arg-type]


def _file(file: Opened, path: Path, opener: Open, limits: Limits) -> Found:
    match file.suffix:
        case ".npy":
            return read_npy(file)._replace(about=_side_car(path, opener))
        case ".npz":
            return read_npz(file, limits)._replace(about=_side_car(path, opener))
        case ".safetensors":
            return read_safetensors(file)
        case ".parquet":
            return read_parquet(file)
        case ".json":
            return read_json(file, limits)
        case other:
            raise FormatError(
                "not a file of activations",
                where=visible(file.name),
                expected=", ".join(SUFFIXES),
                got=other or "no suffix",
            )


def _side_car(path: Path, opener: Open) -> dict[str, Any]:
    beside = path.with_suffix(".json")
    if not beside.is_file():
        return {}
    with opener(beside, beside.name) as file:
        try:
            found = json.loads(file.read(SIDE_CAR_BYTES))
        except ValueError as error:
            raise FormatError("not JSON", where=beside.name, got=str(error)) from error
    if not isinstance(found, dict):
        raise FormatError("not a JSON object", where=beside.name, got=type(found).__name__)
    return found
