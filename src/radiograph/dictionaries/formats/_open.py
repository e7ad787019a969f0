"""Tensor files of other people, opened so that nothing in them can run.

    .safetensors            read tensor by tensor          .npz   NumPy arrays, pickled objects refused
    .pt .pth .bin           `torch.load(weights_only=True)`: tensors and plain containers, nothing else
Archives state how large they are when unpacked; one that states more than its file could hold is not opened.
"""

from __future__ import annotations

import pickle
import warnings
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from safetensors import SafetensorError, safe_open

from radiograph.core import FormatError
from radiograph.core.limits import DICTIONARY_BYTES

PICKLES: Final = (".pt", ".pth", ".bin")
SUFFIXES: Final = (".safetensors", ".npz", *PICKLES)
UNPACKING: Final = 50
"""Most bytes that a byte of an archive may unpack to; weights are noise and hardly shrink."""


class SafetensorsFile(Mapping[str, Any]):
    """Tensors of a safetensors file, each read when it is asked for."""

    def __init__(self, path: Path) -> None:
        self._path = path
        with _safetensors(path) as handle:
            self._names = sorted(handle.keys())

    def __getitem__(self, name: str) -> Any:
        if name not in self._names:
            raise KeyError(name)
        with _safetensors(self._path) as handle:
            return handle.get_tensor(name)

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)


class NumpyFile(Mapping[str, Any]):
    """Arrays of an npz file as tensors, each read when it is asked for."""

    def __init__(self, path: Path) -> None:
        _check_archive(path)
        self._path = path
        try:
            with np.load(path, allow_pickle=False) as handle:
                self._names = list(handle.files)
        except (ValueError, OSError, EOFError, AttributeError, zipfile.BadZipFile) as error:
            raise FormatError("not an npz file", where=path.name, got=str(error).splitlines()[0]) from error

    def __getitem__(self, name: str) -> Any:
        if name not in self._names:
            raise KeyError(name)
        try:
            with np.load(self._path, allow_pickle=False) as handle:
                return torch.from_numpy(np.array(handle[name]))
        except (ValueError, TypeError, OSError, EOFError, SyntaxError, zipfile.BadZipFile) as error:
            raise FormatError(
                f"tensor {name!r} cannot be read without running code",
                where=f"{self._path.name}: {name}",
                expected="an array of numbers",
                got=str(error).splitlines()[0],
            ) from error

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)


def open_tensors(path: Path) -> Mapping[str, Any]:
    """Names and tensors of a file; a pickle may hold plain values and containers beside them.

    Raises:
        FormatError: another kind of file, damaged, too large, or one that would run code.
    """
    size = path.stat().st_size
    if size > DICTIONARY_BYTES:
        raise FormatError(
            "the file is too large", where=path.name, expected=f"{DICTIONARY_BYTES:,} bytes", got=f"{size:,}"
        )
    suffix = path.suffix.lower()
    if suffix == ".safetensors":
        return SafetensorsFile(path)
    if suffix == ".npz":
        return NumpyFile(path)
    if suffix in PICKLES:
        return _unpickled(path)
    raise FormatError("not a file of tensors", where=path.name, expected=", ".join(SUFFIXES), got=suffix or "no suffix")


def _unpickled(path: Path) -> Mapping[str, Any]:
    archive = zipfile.is_zipfile(path)
    if archive:
        _check_archive(path)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # what an unusual pickle warns of, its reading decides
            found = torch.load(path, map_location="cpu", weights_only=True, mmap=archive)
    except pickle.UnpicklingError as error:
        raise FormatError(
            "the pickle holds more than tensors, so it was not opened",
            where=path.name,
            expected="tensors and plain containers",
            got=_unsafe(str(error)),
            fix="ask its author for safetensors",
        ) from error
    except (RuntimeError, ValueError, TypeError, KeyError, AttributeError, EOFError, OSError) as error:
        raise FormatError("not a file that torch saved", where=path.name, got=str(error).splitlines()[0]) from error
    if not isinstance(found, Mapping) or not all(isinstance(name, str) for name in found):
        raise FormatError("no tensors by name", where=path.name, expected="a mapping", got=type(found).__name__)
    return dict(found)


def _unsafe(message: str) -> str:
    """The line that names what the pickle would have called."""
    lines = [line.strip() for line in message.splitlines() if line.strip()]
    return next((line for line in lines if "GLOBAL" in line.upper()), lines[-1] if lines else "unreadable")


def _check_archive(path: Path) -> None:
    try:
        with zipfile.ZipFile(path) as archive:
            stated = sum(entry.file_size for entry in archive.infolist())
    except (zipfile.BadZipFile, OSError) as error:
        raise FormatError("not an archive", where=path.name, got=str(error)) from error
    if stated > min(DICTIONARY_BYTES, UNPACKING * max(path.stat().st_size, 2**20)):
        raise FormatError("the archive states more bytes than it can hold", where=path.name, got=f"{stated:,} bytes")


def _safetensors(path: Path) -> Any:
    try:
        return safe_open(path, framework="pt")
    except (SafetensorError, OSError) as error:
        raise FormatError("not a safetensors file", where=path.name, got=str(error)) from error
