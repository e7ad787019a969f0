"""`.npy` and `.npz`: read by offset where the bytes lie as they are, streamed where they are deflated.

Headers are read by NumPy with pickles refused, so an array of objects is never opened. C and Fortran order; a deflated
member in Fortran order cannot be streamed by rows and is refused.
"""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from io import BytesIO
from typing import IO, Any, Final

import numpy as np
from numpy.typing import NDArray

from radiograph.core import FormatError
from radiograph.core.limits import Limits
from radiograph.store.activations._store import COLUMNS, Blocks, Found, check_shape, regrouped
from radiograph.store.opened import Opened

FLOATS: Final = ("float16", "float32", "float64")
HEAD: Final = 2**16
"""Bytes that hold the header of any array."""
COLUMN_ROWS: Final = 8192
"""Rows at a time of an array that lies column by column: fewer, and each read is too small."""
ID_BYTES: Final = 4096
"""Of one id: a text of 1,024 characters."""
MEMBER: Final = 30
"""Bytes of a zip entry before its name."""


@dataclass(frozen=True)
class Header:
    """What a NumPy file says before its numbers."""

    shape: tuple[int, ...]
    fortran: bool
    dtype: np.dtype[Any]
    length: int
    """Bytes of magic and header."""


def read_npy(file: Opened) -> Found:
    """Shape, type and rows of an array file.

    Raises:
        FormatError: not such a file, no table of floats, or shorter than it says.
    """
    head = _header(BytesIO(file.part(0, min(HEAD, file.size))), file.name)
    return _stored(file, 0, file.size, head, file.name)


def read_npz(file: Opened, limits: Limits) -> Found:
    """Shape, type and rows of the array `activations` of an archive, and its other arrays of one axis.

    Raises:
        FormatError: no such archive or array, ids that are not one a row. UserError: more rows than the limit.
    """
    try:
        with zipfile.ZipFile(file.handle) as archive:
            entries = {entry.filename.removesuffix(".npy"): entry for entry in archive.infolist()}
            if "activations" not in entries:
                raise FormatError(
                    "no array `activations`", where=file.name, expected="activations", got=", ".join(entries) or "none"
                )
            entry = entries["activations"]
            with archive.open(entry) as stream:
                head = _header(stream, f"{file.name}: activations")
            rows = _checked(head, f"{file.name}: activations")[0]
            limits.check("tokens", rows, "rows of activations", file.name)
            own = {name: entry for name, entry in entries.items() if name in COLUMNS}
            others = {name: _column(archive, entry, rows, file.name) for name, entry in own.items()}
    except (zipfile.BadZipFile, EOFError, NotImplementedError) as error:
        raise FormatError("not an npz file", where=file.name, got=str(error) or "it ends early") from error
    where = f"{file.name}: activations"
    if entry.compress_type == zipfile.ZIP_STORED:
        local = file.part(entry.header_offset, MEMBER)
        start = entry.header_offset + MEMBER + sum(int.from_bytes(local[i : i + 2], "little") for i in (26, 28))
        return _stored(file, start, entry.file_size, head, where)._replace(columns=others)
    return _deflated(file, entry, head, where)._replace(columns=others)


def _header(stream: IO[bytes], where: str) -> Header:
    try:
        version = np.lib.format.read_magic(stream)
        read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, fortran, dtype = read(stream)
        return Header(tuple(shape), bool(fortran), np.dtype(dtype), stream.tell())
    except (ValueError, EOFError, SyntaxError, TypeError) as error:
        raise FormatError(
            "not a NumPy array", where=where, expected="an .npy file", got=str(error).splitlines()[0]
        ) from error


def _checked(head: Header, where: str) -> tuple[int, int]:
    if head.dtype.hasobject:
        raise FormatError("an array of objects is never read", where=where, expected=", ".join(FLOATS), got="objects")
    if head.dtype.newbyteorder("=").name not in FLOATS:
        raise FormatError("activations are floats", where=where, expected=", ".join(FLOATS), got=str(head.dtype))
    return check_shape(head.shape, where)


def _stored(file: Opened, start: int, size: int, head: Header, where: str) -> Found:
    rows, width = _checked(head, where)
    needed = head.length + rows * width * head.dtype.itemsize
    if size < needed:
        raise FormatError("the array ends too early", where=where, expected=f"{needed:,} bytes", got=f"{size:,}")
    blocks = (flat_columns if head.fortran else flat_rows)(file, start + head.length, head.dtype, (rows, width))
    return Found((rows, width), head.dtype.newbyteorder("=").name, blocks)


def flat_rows(file: Opened, start: int, dtype: np.dtype[Any], shape: tuple[int, int]) -> Blocks:
    """Rows that lie one after the other from an offset on."""

    def blocks(rows: int) -> Iterator[NDArray[Any]]:
        step = shape[1] * dtype.itemsize
        for first in range(0, shape[0], rows):
            held = np.empty((min(rows, shape[0] - first), shape[1]), dtype)
            file.into(held.data, start + first * step)
            yield as_float(held)

    return blocks


def flat_columns(file: Opened, start: int, dtype: np.dtype[Any], shape: tuple[int, int]) -> Blocks:
    """Rows of a table that lies column by column."""

    def pieces() -> Iterator[NDArray[Any]]:
        for first in range(0, shape[0], COLUMN_ROWS):
            count = min(COLUMN_ROWS, shape[0] - first)
            held = np.empty((shape[1], count), dtype)
            for column in range(shape[1]):
                file.into(held[column].data, start + (column * shape[0] + first) * dtype.itemsize)
            yield as_float(np.ascontiguousarray(held.T))

    return lambda rows: regrouped(pieces(), rows)


def as_float(values: NDArray[Any]) -> NDArray[Any]:
    """float64 stays, everything else becomes float32; native byte order."""
    return values.astype(np.float64 if values.dtype.itemsize == 8 else np.float32, copy=False)


def _deflated(file: Opened, entry: zipfile.ZipInfo, head: Header, where: str) -> Found:
    rows, width = _checked(head, where)
    if head.fortran:
        raise FormatError(
            "a compressed array in Fortran order cannot be read row by row",
            where=where,
            expected="C order, or an archive that is not compressed",
            got="Fortran order",
            fix="save np.ascontiguousarray(activations)",
        )

    def blocks(count: int) -> Iterator[NDArray[Any]]:
        with zipfile.ZipFile(file.handle) as archive, archive.open(entry) as stream:
            stream.read(head.length)
            for first in range(0, rows, count):
                held = np.empty((min(count, rows - first), width), head.dtype)
                _fill(stream, held.data.cast("B"), where)
                yield as_float(held)

    return Found((rows, width), head.dtype.newbyteorder("=").name, blocks)


def _fill(stream: IO[bytes], view: memoryview, where: str) -> None:
    done = 0
    while done < len(view):
        try:
            count = stream.readinto(view[done:])  # type: ignore[attr-defined]  # a ZipExtFile has it
        except (zipfile.BadZipFile, zlib.error, EOFError) as error:
            raise FormatError("the archive is damaged", where=where, got=str(error)) from error
        if not count:
            raise FormatError("the array ends too early", where=where, expected=f"{len(view):,} bytes more")
        done += count


def _column(archive: zipfile.ZipFile, entry: zipfile.ZipInfo, rows: int, name: str) -> NDArray[Any]:
    with archive.open(entry) as stream:
        head = _header(stream, f"{name}: {entry.filename}")
        if head.dtype.hasobject or len(head.shape) != 1 or entry.file_size < head.length:
            got = "objects" if head.dtype.hasobject else str(list(head.shape))
            raise FormatError("ids are one axis of numbers or texts", where=f"{name}: {entry.filename}", got=got)
        # Compression can promise any size: no more is taken than one value a row needs.
        if head.shape[0] != rows or head.dtype.itemsize > ID_BYTES:
            raise FormatError(
                f"the ids {entry.filename.removesuffix('.npy')} do not fit the activations",
                where=f"{name}: {entry.filename}",
                expected=f"{rows} values of at most {ID_BYTES} bytes",
                got=f"{head.dtype} {list(head.shape)}",
            )
        data = stream.read(head.shape[0] * head.dtype.itemsize)
    if len(data) != head.shape[0] * head.dtype.itemsize:
        raise FormatError("the array ends too early", where=f"{name}: {entry.filename}")
    return np.frombuffer(data, head.dtype)
