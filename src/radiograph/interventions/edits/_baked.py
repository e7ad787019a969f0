"""A plain copy of a model with an addition in its weights, and the bytes that were there before.

1. the copy is a folder `NAME.partial` with every file of the model; changed tensors are written into their own byte
   ranges, in the type that they are stored in, so that header, order and every other byte stay   2. the original bytes
   of each changed tensor, with the SHA-256 of tensors and files, go to another folder first (`originals.bin`,
   `originals.json`)   3. the copy, with its stack, is synced and renamed when it is complete
Refuses: a folder that exists, pickles, tensors that are no floating-point numbers, a matrix that is tied to another.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, Final

import numpy as np
import torch
from torch import Tensor

from radiograph.core import FormatError, UserError
from radiograph.evidence import Document, Record, pretty_json
from radiograph.interventions.edits._adapter import without_zeros
from radiograph.interventions.edits._stack import Layer, read_stack, write_stack
from radiograph.models import tensors_sha256, weight_addresses
from radiograph.models._identity import canonical_name, safetensors_header, weight_files
from radiograph.models.lowrank import Additions, added_matrix
from radiograph.models.masked import Target
from radiograph.store import sync

ORIGINALS: Final = "originals.json"
BYTES: Final = "originals.bin"
_TYPES: Final[Mapping[str, torch.dtype]] = {
    "F64": torch.float64,
    "F32": torch.float32,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
}


class BakedTensor(Record):
    """One changed tensor: where its bytes stand in the file, and where the original ones are kept."""

    name: str
    start: int
    stop: int
    kept: int
    """First byte in `originals.bin`."""
    sha256: str
    """Of the original bytes."""


class BakedFile(Record):
    """One file with changed tensors."""

    file: str
    before: str
    """SHA-256 of the file, original and edited."""
    after: str
    tensors: tuple[BakedTensor, ...]


class Originals(Document):
    """`originals.json`."""

    SCHEMA: ClassVar[str] = "radiograph.originals/1"

    files: tuple[BakedFile, ...]


def bake(
    target: Target, additions: Additions, source: Path, folder: Path, originals: Path, *, run: str, before: str
) -> Originals:
    """Write an edited copy of the model folder `source` to `folder`, and what it replaces to `originals`.

    `run` edits the model whose tensors hash to `before`: that is the layer on top of the copy's stack.

    Raises:
        UserError: the folder exists; a tied matrix; weights that are pickles or quantised.
    """
    if folder.exists():
        raise UserError(f"{folder.name} exists", expected="a new folder", fix="choose another", code="exists")
    changes = _by_parameter(target, without_zeros(additions))
    partial = folder.with_name(folder.name + ".partial")
    shutil.rmtree(partial, ignore_errors=True)
    shutil.copytree(source, partial, ignore=shutil.ignore_patterns("*.partial"))
    kept = bytearray()
    files: list[BakedFile] = []
    for path in weight_files(source):
        own = _edit(partial / path.name, path, changes, kept)
        if own is not None:
            files.append(own)
    missing = set(changes) - {canonical_name(t.name) for f in files for t in f.tensors}
    assert not missing, "addresses name stored tensors"
    found = Originals(files=tuple(files))
    originals.mkdir(parents=True, exist_ok=True)
    (originals / BYTES).write_bytes(kept)
    (originals / ORIGINALS).write_text(pretty_json(found), encoding="utf-8")
    layer = Layer(run=run, kind="baked", before=before, after=tensors_sha256(partial))
    write_stack(partial, read_stack(source).with_layer(layer))
    for path in (originals / BYTES, originals / ORIGINALS, *partial.iterdir(), partial):
        sync(path)
    partial.replace(folder)
    sync(folder.parent)
    return found


def read_originals(folder: Path) -> tuple[Originals, bytes]:
    """What `bake` kept, checked against its hashes.

    Raises:
        UserError: missing. FormatError: altered.
    """
    for name in (ORIGINALS, BYTES):
        if not (folder / name).is_file():
            raise UserError(
                "the original bytes are missing", where=str(folder), expected=name, code="originals_missing"
            )
    try:
        content: Any = json.loads((folder / ORIGINALS).read_text(encoding="utf-8"))
    except (UnicodeDecodeError, json.JSONDecodeError) as error:
        raise FormatError("not JSON", where=str(folder / ORIGINALS), got=str(error)) from error
    found = Originals.read(content, where=str(folder / ORIGINALS))
    kept = (folder / BYTES).read_bytes()
    for file in found.files:
        for tensor in file.tensors:
            if sha256(kept[tensor.kept : tensor.kept + tensor.stop - tensor.start]) != tensor.sha256:
                raise FormatError(
                    f"the original bytes of {tensor.name} were altered", where=str(folder / BYTES), code="altered"
                )
    return found, kept


def sha256(data: bytes | bytearray | memoryview) -> str:
    """Of bytes."""
    return hashlib.sha256(data).hexdigest()


def _by_parameter(target: Target, additions: Additions) -> dict[str, list[tuple[str, Tensor]]]:
    """Canonical tensor name to (address, what is added to the matrix)."""
    found: dict[str, list[tuple[str, Tensor]]] = {}
    tied: dict[str, list[str]] = {}
    for address, place in target.places.items():
        tied.setdefault(place.parameter, []).append(address)
    for address, factors in additions.items():
        place = target.place(address)
        shared = [a for a in tied.get(place.parameter, []) if a != address]
        if shared and place.whole:
            raise UserError(
                f"{address} is one matrix with {', '.join(shared)}: an edit baked into it would change both",
                fix="leave --bake out: an adapter changes one side alone",
                code="tied",
            )
        name = canonical_name(place.parameter)
        assert name is not None, "a weight"
        found.setdefault(name, []).append((address, added_matrix(factors)))
    return found


def _edit(copy: Path, path: Path, changes: Mapping[str, list[tuple[str, Tensor]]], kept: bytearray) -> BakedFile | None:
    if path.suffix != ".safetensors":
        raise UserError(
            f"{path.name} is a pickle", expected="weights in safetensors", fix="convert them first", code="format"
        )
    tensors: list[BakedTensor] = []
    data = bytearray(path.read_bytes())
    before = sha256(data)
    for name, dtype, shape, start, stop in safetensors_header(path):
        own = changes.get(canonical_name(name) or name)
        if own is None:
            continue
        if dtype not in _TYPES:
            raise UserError(f"{name} is quantised", expected="floating-point numbers", got=dtype, code="quantised")
        original = bytes(data[start:stop])
        tensors.append(BakedTensor(name=name, start=start, stop=stop, kept=len(kept), sha256=sha256(original)))
        kept.extend(original)
        data[start:stop] = _changed(original, dtype, shape, own, name, path)
    if not tensors:
        return None
    copy.write_bytes(data)
    return BakedFile(file=path.name, before=before, after=sha256(data), tensors=tuple(tensors))


def _changed(
    original: bytes, dtype: str, shape: list[int], own: list[tuple[str, Tensor]], name: str, path: Path
) -> bytes:
    config = json.loads((path.parent / "config.json").read_text())
    stored = torch.frombuffer(bytearray(original), dtype=_TYPES[dtype]).reshape(shape)
    wide = stored.to(torch.float64)
    places = weight_addresses(config, {name: shape, **_siblings(path)})
    for address, matrix in own:
        place = places[address]
        is_embedding = address == "embed"
        rows = matrix.T if is_embedding else matrix
        place.write(wide, place.read(wide).reshape(place.shape) + rows.to(wide))
    return np.ascontiguousarray(wide.to(stored.dtype).view(torch.uint8).numpy()).tobytes()


def _siblings(path: Path) -> dict[str, list[int]]:
    """Shapes of all tensors of the model: addresses are found from names."""
    return {n: s for file in weight_files(path.parent) for n, _, s, _, _ in safetensors_header(file)}
