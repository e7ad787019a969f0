"""`.safetensors`: the tensor `activations`, or the only table."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from radiograph.core import FormatError
from radiograph.store.activations._arrays import flat_rows
from radiograph.store.activations._store import COLUMNS, Blocks, Found, check_shape
from radiograph.store.opened import TYPES, Opened, Tensors, widened

NAMES: Final = {"F16": "float16", "BF16": "bfloat16", "F32": "float32", "F64": "float64"}


def read_safetensors(file: Opened) -> Found:
    """Shape, type, rows, ids and metadata of `activations`, or of the only table.

    Raises:
        FormatError: not such a file, or no such tensor.
    """
    held = Tensors(file, file.name)
    tables = [name for name in held.names if len(held.shape(name)) == 2]
    name = "activations" if "activations" in held.names else tables[0] if len(tables) == 1 else None
    if name is None:
        raise FormatError(
            "which tensor holds the activations?",
            where=file.name,
            expected="`activations`, or one table",
            got=", ".join(held.names[:12]) or "no tensors",
        )
    blocks = rows_of(held, name)
    ids = {column: held.array(column) for column in COLUMNS if column in held.names and held.dtype(column) in TYPES}
    return Found(check_shape(held.shape(name), file.name), NAMES[held.dtype(name)], blocks, ids, held.metadata)


def flat_words(file: Opened, start: int, shape: tuple[int, int]) -> Blocks:
    """Rows of 16-bit words, as they are."""

    def blocks(rows: int) -> Iterator[NDArray[Any]]:
        for first in range(0, shape[0], rows):
            held = np.empty((min(rows, shape[0] - first), shape[1]), "<u2")
            file.into(held.data, start + first * shape[1] * 2)
            yield held

    return blocks


def rows_of(held: Tensors, name: str) -> Blocks:
    """The rows of a table of floats.

    Raises:
        FormatError: another type.
    """
    where = f"{held.where}: {name}"
    if held.dtype(name) not in NAMES:
        raise FormatError("activations are floats", where=where, expected=", ".join(NAMES), got=held.dtype(name))
    table = check_shape(held.shape(name), where)
    if held.dtype(name) != "BF16":
        return flat_rows(held.file, held.place(name), TYPES[held.dtype(name)], table)
    plain = flat_words(held.file, held.place(name), table)
    return lambda rows: (widened(block) for block in plain(rows))
