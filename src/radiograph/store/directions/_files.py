"""`radiograph.directions/1`: a safetensors file whose header holds a document; vectors in float32.

    __metadata__.radiograph    the document, as canonical JSON
    NAME                       [width] one direction, or [row, width] many, as the whole decoder of a dictionary

The document names the site of every tensor, the model and tokenizer, the scale, where the directions come from, and
what was shown of them. Only the header is read to know all that. Equal content gives equal bytes. Refuses another
model.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
from pydantic import Field

from radiograph.core import FormatError, Refusal, Site, UserError, nearest
from radiograph.core.shapes import Float
from radiograph.evidence import Document, Record, canonical_json
from radiograph.store._atomic import write_whole

_KEY = "radiograph"
_ALIGN = 8
_HEADER_BYTES = 64 * 2**20


class MatrixRecord(Record):
    """One tensor."""

    site: str
    names: tuple[str, ...] = ()
    """Of its rows; empty where they are numbered."""


class DirectionsHeader(Document):
    """What the file is."""

    SCHEMA: ClassVar[str] = "radiograph.directions/1"

    tensors: dict[str, MatrixRecord]
    model_sha256: str
    tokenizer_sha256: str | None = None
    scale: Literal["unit_norm", "raw"]
    """Whether every row has length 1, or its own."""
    provenance: dict[str, Any] = Field(default_factory=dict)
    """Method, and hashes of what it was made from."""
    grade: str | None = None
    """What was shown of it, as `validated`; None: nothing was tested."""
    failing: tuple[str, ...] = ()
    """Conditions of the grade that were not met."""
    doses: tuple[float, ...] = ()
    dose_unit: str | None = None


def write_directions(
    path: Path, header: DirectionsHeader, tensors: Mapping[str, Float[np.ndarray, "... width"]]
) -> str:
    """Write a file; returns its SHA-256.

    Raises:
        UserError: header and tensors name different things; a vector that is zero, not finite, or not of length 1 where
            the header says so; an unknown site.
    """
    arrays = {name: np.ascontiguousarray(value, np.float32) for name, value in sorted(tensors.items())}
    if set(arrays) != set(header.tensors):
        raise UserError(
            "header and tensors name different directions",
            expected=", ".join(sorted(header.tensors)),
            got=", ".join(arrays),
        )
    for name, array in arrays.items():
        _check(name, array, header)
    layout: dict[str, Any] = {"__metadata__": {_KEY: canonical_json(header).decode()}}
    at = 0
    for name, array in arrays.items():
        layout[name] = {"dtype": "F32", "shape": list(array.shape), "data_offsets": [at, at + array.nbytes]}
        at += array.nbytes
    head = json.dumps(layout, separators=(",", ":"), ensure_ascii=False).encode()
    head += b" " * (-len(head) % _ALIGN)
    parts = [len(head).to_bytes(8, "little"), head, *(array.data.cast("B") for array in arrays.values())]
    return write_whole(path, parts, 8 + len(head) + at)


def read_directions_header(path: Path) -> DirectionsHeader:
    """What a file is; no tensor is read.

    Raises:
        UserError: not a file. FormatError: not a safetensors file, or one without such a header.
    """
    if not path.is_file():
        raise UserError(f"{path.name} is not a file", expected="a safetensors file of directions", code="not_found")
    with path.open("rb") as handle:
        size = int.from_bytes(handle.read(8), "little")
        if not 2 <= size <= min(_HEADER_BYTES, path.stat().st_size - 8):
            raise _not_one(path, "no header of safetensors")
        data = handle.read(size)
    try:
        document = json.loads(json.loads(data)["__metadata__"][_KEY])
    except (ValueError, KeyError, TypeError) as error:
        raise _not_one(path, f"no {_KEY} in its header") from error
    if not isinstance(document, dict):
        raise _not_one(path, "its header is no object")
    return DirectionsHeader.read(document, where=path.name)


def open_directions(
    path: Path, name: str | None = None, *, model_sha256: str | None = None, tokenizer_sha256: str | None = None
) -> tuple[DirectionsHeader, dict[str, Float[np.ndarray, "... width"]]]:
    """The header and the directions, or one of them.

    Args:
        path: the file.
        name: of one tensor; None for all.
        model_sha256: of the model that they will be written into; None skips the question.
        tokenizer_sha256: of its tokenizer.

    Raises:
        UserError: no such name. FormatError: not such a file, or one that holds other tensors than its header says.
        Refusal: `dictionary_mismatch`, found in another model or with another tokenizer; another file would fit.
    """
    from safetensors import SafetensorError, safe_open

    header = read_directions_header(path)
    stated = (("model", model_sha256, header.model_sha256), ("tokenizer", tokenizer_sha256, header.tokenizer_sha256))
    for what, given, held in stated:
        if given is not None and held is not None and given != held:
            raise Refusal(
                "dictionary_mismatch",
                f"{path.name} holds directions of another {what}",
                expected=held,
                got=given,
                fix="give the model that they were found in, or directions of this one",
                fixable=True,
            )
    if name is not None and name not in header.tensors:
        close = nearest(name, list(header.tensors))
        raise UserError(
            f"{path.name} holds no direction {name!r}",
            expected=", ".join(header.tensors),
            fix=f"did you mean {', '.join(close)}?" if close else None,
            code="unknown_direction",
        )
    try:
        with safe_open(path, framework="numpy") as handle:
            found = {one: handle.get_tensor(one) for one in header.tensors if name in (None, one)}
    except SafetensorError as error:
        raise _not_one(path, str(error)) from error
    for one, array in found.items():
        _check(one, array, header)
    return header, found


def _check(name: str, array: np.ndarray, header: DirectionsHeader) -> None:
    record = header.tensors[name]
    Site.parse(record.site.rpartition("/")[2])
    lengths = np.linalg.norm(np.atleast_2d(array).astype(np.float64), axis=-1)
    if array.ndim not in (1, 2) or (record.names and len(record.names) != len(np.atleast_2d(array))):
        raise UserError(
            f"{name} is no direction", expected=f"a vector, or {len(record.names) or 'some'} rows", got=str(array.shape)
        )
    wrong = ~np.isfinite(lengths) | (lengths == 0)
    if header.scale == "unit_norm":
        wrong |= ~np.isclose(lengths, 1, atol=1e-4)
    if wrong.any():
        row = int(np.argmax(wrong))
        raise UserError(
            f"{name} is no direction",
            expected="length 1" if header.scale == "unit_norm" else "finite, and not zero",
            got=f"length {lengths[row]:g} in row {row}",
            code="bad_direction",
        )


def _not_one(path: Path, got: str) -> FormatError:
    return FormatError(
        f"{path.name} is no file of directions", where=path.name, expected=DirectionsHeader.SCHEMA, got=got
    )
