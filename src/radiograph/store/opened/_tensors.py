"""Safetensors of an opened file: the header is read here, tensors by offset, without torch.

The library maps whole files into memory, and what was touched stays there; what is read by offset does not.
"""

from __future__ import annotations

import json
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from radiograph.core import FormatError
from radiograph.store.opened._file import Opened

TYPES: Final = {
    "F16": np.dtype("<f2"),
    "BF16": np.dtype("<u2"),
    "F32": np.dtype("<f4"),
    "F64": np.dtype("<f8"),
    "U8": np.dtype("u1"),
    "U16": np.dtype("<u2"),
    "U32": np.dtype("<u4"),
    "U64": np.dtype("<u8"),
    "I16": np.dtype("<i2"),
    "I32": np.dtype("<i4"),
    "I64": np.dtype("<i8"),
}
HEADER_BYTES: Final = 100 * 10**6
"""What the format allows."""


class Tensors:
    """The tensors of a file, by name."""

    def __init__(self, file: Opened, where: str) -> None:
        self.file, self.where = file, where
        if file.size < 8:
            raise FormatError("not a safetensors file", where=where, got=f"{file.size} bytes")
        size = int.from_bytes(file.part(0, 8), "little")
        if size > min(HEADER_BYTES, file.size - 8):
            raise FormatError("not a safetensors file", where=where, got=f"a header of {size:,} bytes")
        try:
            header: Any = json.loads(file.part(8, size))
            self.metadata: dict[str, Any] = dict(header.pop("__metadata__", None) or {})
            self._entries = {str(name): self._entry(entry, file.size - 8 - size) for name, entry in header.items()}
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise FormatError("not a safetensors file", where=where, got=str(error)) from error
        self._start = 8 + size

    @property
    def names(self) -> list[str]:
        """Every tensor."""
        return list(self._entries)

    def shape(self, name: str) -> tuple[int, ...]:
        """Shape of a tensor."""
        return self._entries[name][1]

    def dtype(self, name: str) -> str:
        """Type of a tensor, as safetensors spells it."""
        return self._entries[name][0]

    def array(self, name: str) -> NDArray[Any]:
        """A whole tensor; bfloat16 as float32."""
        code, shape, offset = self._entries[name]
        held = np.empty(shape, TYPES[code])
        self.file.into(held.reshape(-1).view(np.uint8).data, self._start + offset)
        return widened(held) if code == "BF16" else held

    def place(self, name: str) -> int:
        """Byte of the file at which a tensor begins."""
        return self._start + self._entries[name][2]

    def _entry(self, entry: dict[str, Any], room: int) -> tuple[str, tuple[int, ...], int]:
        code, shape, (start, end) = str(entry["dtype"]), tuple(map(int, entry["shape"])), entry["data_offsets"]
        if code not in TYPES:
            return code, shape, int(start)
        if end - start != int(np.prod(shape, dtype=object)) * TYPES[code].itemsize or not 0 <= start <= end <= room:
            raise ValueError(f"a tensor of {list(shape)} in bytes {start} to {end} of {room}")
        return code, shape, int(start)


def widened(words: NDArray[Any]) -> NDArray[np.float32]:
    """bfloat16 in 16-bit words as float32: its upper half."""
    return (words.astype(np.uint32) << 16).view(np.float32)
