"""Named arrays in one file that is whole or absent: what a worker commits, and what is read back to be added.

An uncompressed `.npz`. It is written and read one array at a time, so that neither costs the memory of all of them.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any
from zipfile import BadZipFile, ZipFile, ZipInfo

import numpy as np

from radiograph.core import FormatError
from radiograph.store._atomic import write_whole

_FACTS = "facts"
_CHUNK = 1 << 24


def write_arrays(path: Path, arrays: Mapping[str, np.ndarray], facts: Mapping[str, Any]) -> str:
    """Write; `facts` is plain data. Returns the SHA-256.

    Raises:
        RadiographError: the disk refuses.
    """
    stated = np.frombuffer(json.dumps(dict(facts), sort_keys=True).encode(), np.uint8)
    held = {_FACTS: stated, **arrays}
    return write_whole(path, _pieces(held), sum(array.nbytes for array in held.values()))


class StoredArrays(Mapping[str, np.ndarray]):
    """Arrays of a file, each read when it is asked for; a context that closes it."""

    def __init__(self, path: Path) -> None:
        """Raises FormatError, as every access does: not such a file, or one that is cut off or damaged."""
        self._path = path
        with self._explained(), ExitStack() as opened:
            file = opened.enter_context(path.open("rb"))
            self._held = np.load(file, allow_pickle=False)
            self.facts: dict[str, Any] = json.loads(self._held[_FACTS].tobytes())
            self._close = opened.pop_all().close

    def __getitem__(self, name: str) -> np.ndarray:
        """Read one."""
        with self._explained():
            return self._held[name]

    def blocks(self, name: str, rows: int) -> Iterator[np.ndarray]:
        """One array, some rows at a time."""
        with self._explained(), self._held.zip.open(f"{name}.npy") as entry:
            np.lib.format.read_magic(entry)
            shape, _, kind = np.lib.format.read_array_header_1_0(entry)
            size = kind.itemsize * math.prod(shape[1:])
            for first in range(0, shape[0], rows):
                n = min(rows, shape[0] - first)
                yield np.frombuffer(entry.read(n * size), kind).reshape(n, *shape[1:])

    def __iter__(self) -> Iterator[str]:
        """Names."""
        return (name for name in self._held.files if name != _FACTS)

    def __len__(self) -> int:
        """Number of arrays."""
        return len(self._held.files) - 1

    def __enter__(self) -> StoredArrays:
        """Itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close the file."""
        self._held.close()
        self._close()

    @contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except (OSError, EOFError, ValueError, KeyError, AttributeError, BadZipFile) as error:
            fix = "remove it and resume the run: its shard is counted again"
            raise FormatError("not a part of a harvest", where=self._path.name, got=str(error), fix=fix) from error


def read_arrays(path: Path) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """All arrays, and facts.

    Raises:
        FormatError: not such a file.
    """
    with StoredArrays(path) as held:
        return dict(held), held.facts


class _Sink:
    """Bytes on their way from an archive to a file."""

    def __init__(self) -> None:
        self._held: list[bytes] = []

    def write(self, data: Any) -> int:
        self._held.append(bytes(data))
        return len(data)

    def flush(self) -> None:
        """Nothing waits here."""

    def taken(self) -> bytes:
        found = b"".join(self._held)
        self._held.clear()
        return found


def _pieces(arrays: Mapping[str, np.ndarray]) -> Iterator[bytes]:
    sink: Any = _Sink()
    with ZipFile(sink, "w") as archive:
        for name, array in arrays.items():
            plain = np.ascontiguousarray(array)
            with archive.open(ZipInfo(f"{name}.npy"), "w", force_zip64=True) as entry:
                np.lib.format.write_array_header_1_0(entry, np.lib.format.header_data_from_array_1_0(plain))
                data = plain.reshape(-1).view(np.uint8)
                for first in range(0, len(data), _CHUNK):
                    entry.write(data[first : first + _CHUNK].tobytes())
                    yield sink.taken()
    yield sink.taken()
