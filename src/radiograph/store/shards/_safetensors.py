"""Safetensors written as a stream: header, then one tensor's bytes after the other.

The library's writer copies every tensor before it writes the first; a shard is large, and its writer must not need a
second one's memory. Files are read back with the library.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from radiograph.core import FormatError
from radiograph.store._atomic import write_whole

if TYPE_CHECKING:
    from torch import Tensor

CODES = {
    "torch.float64": "F64",
    "torch.float32": "F32",
    "torch.float16": "F16",
    "torch.bfloat16": "BF16",
    "float64": "F64",
    "float32": "F32",
    "float16": "F16",
    "int64": "I64",
    "uint32": "U32",
    "uint16": "U16",
}
WIDEST = 8
WINDOW = 128 * 1024


def code_of(dtype: object) -> str:
    """How safetensors spells a type."""
    return CODES[str(dtype)]


def write(path: Path, tensors: Mapping[str, Tensor | NDArray[Any]]) -> tuple[int, str]:
    """Write a whole file; returns its size and SHA-256.

    Raises:
        RadiographError: the disk refuses.
    """
    # The widest types first: then every tensor lies at a multiple of its own item size.
    order = sorted(tensors, key=lambda name: (-_item_bytes(tensors[name]), name))
    header: dict[str, Any] = {}
    offset = 0
    for name in order:
        value = tensors[name]
        size = _item_bytes(value) * int(np.prod(value.shape, dtype=np.int64))
        header[name] = {
            "dtype": code_of(value.dtype),
            "shape": list(value.shape),
            "data_offsets": [offset, offset + size],
        }
        offset += size
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % WIDEST)
    size = 8 + len(text) + offset
    head = (len(text).to_bytes(8, "little"), text)
    return size, write_whole(path, chain(head, (_buffer(tensors[name]) for name in order)), size)


def arrays(path: Path, names: tuple[str, ...] | None = None, prefix: str | None = None) -> dict[str, NDArray[Any]]:
    """Some tensors of a file as NumPy arrays: those named, or those whose name begins so.

    Raises:
        FormatError: not such a file, or a tensor is missing.
    """
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="numpy") as handle:
            wanted = names or tuple(name for name in handle.keys() if prefix is None or name.startswith(prefix))  # noqa: SIM118
            return {name: handle.get_tensor(name) for name in wanted}
    except SafetensorError as error:
        raise FormatError("not a shard of activations", where=str(path), got=str(error)) from error


def tensors(path: Path, names: tuple[str, ...]) -> tuple[Tensor, ...]:
    """Some tensors of a file, mapped, not read.

    Raises:
        FormatError: not such a file, or a tensor is missing.
    """
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt") as handle:
            return tuple(handle.get_tensor(name) for name in names)
    except SafetensorError as error:
        raise FormatError("not a shard of activations", where=str(path), got=str(error)) from error


def advise(path: Path, names: tuple[str, ...]) -> None:
    """Ask the disk for the bytes of some tensors; does not wait for them."""
    if not hasattr(os, "posix_fadvise"):
        return
    with path.open("rb") as handle:
        size = int.from_bytes(handle.read(8), "little")
        header = json.loads(handle.read(size))
        for name in names:
            start, end = (8 + size + offset for offset in header[name]["data_offsets"])
            # The kernel reads at most one window ahead a call.
            for at in range(start, end, WINDOW):
                os.posix_fadvise(handle.fileno(), at, min(WINDOW, end - at), os.POSIX_FADV_WILLNEED)


def _item_bytes(value: Tensor | NDArray[Any]) -> int:
    return value.dtype.itemsize


def _buffer(value: Any) -> memoryview:
    if not isinstance(value, np.ndarray):
        import torch

        value = value.detach().contiguous().view(torch.uint8).numpy()
    return np.ascontiguousarray(value).data.cast("B")
