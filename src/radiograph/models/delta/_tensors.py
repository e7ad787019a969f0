"""Stored tensors as NumPy blocks, without building a model and, for safetensors, without torch.

NumPy has no bfloat16: the 16 bits stay as they are until a block is asked for, and become the upper half of a float32.
Reading a tensor costs its own size; everything computed from it is read block by block.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import numpy as np

from radiograph.core import FormatError, UserError
from radiograph.core.shapes import Float
from radiograph.models._identity import safetensors_header, weight_files
from radiograph.models.architectures import WeightAddress

if TYPE_CHECKING:
    import torch

_FLOATS = {"F64": np.float64, "F32": np.float32, "F16": np.float16, "BF16": np.uint16}
_OTHERS = {
    "I64": np.int64,
    "I32": np.int32,
    "I16": np.int16,
    "I8": np.int8,
    "U64": np.uint64,
    "U32": np.uint32,
    "U16": np.uint16,
    "U8": np.uint8,
    "BOOL": np.bool_,
    "F8_E4M3": np.uint8,
    "F8_E5M2": np.uint8,
}
_ROUNDOFF = {"F64": 2.0**-52, "F32": 2.0**-23, "F16": 2.0**-10, "BF16": 2.0**-7}
_COMPARE = 2**22


@dataclass(frozen=True, slots=True)
class Header:
    """What is known of a tensor before it is read."""

    dtype: str
    """The safetensors name: `F32`, `BF16` …"""
    shape: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class StoredTensor:
    """A tensor in its stored bytes; indexing decodes a block to float32 (float64 if stored so)."""

    raw: np.ndarray
    dtype: str

    @property
    def shape(self) -> tuple[int, ...]:
        """As stored, or as the address sees it."""
        return self.raw.shape

    @property
    def eps(self) -> float:
        """Spacing of the stored numbers at 1."""
        return _ROUNDOFF[self.dtype]

    @property
    def is_float(self) -> bool:
        """Whether the bytes are numbers that can be subtracted (packed and quantised ones are not)."""
        return self.dtype in _FLOATS

    def __getitem__(self, index: Any) -> Float[np.ndarray, "..."]:
        """Decode a block."""
        part = self.raw[index]
        if self.dtype == "BF16":
            return np.left_shift(part, 16, dtype=np.uint32, casting="unsafe").view(np.float32)
        return part if self.dtype in ("F32", "F64") else part.astype(np.float32)

    def at(self, address: WeightAddress) -> StoredTensor:
        """The [output, input] matrix of one address (a view where possible)."""
        return replace(self, raw=address.read(self.raw))

    def head(self, rows: int) -> StoredTensor:
        """The first rows."""
        return replace(self, raw=self.raw[:rows])

    def flat(self) -> StoredTensor:
        """As a matrix whose columns are the last dimension."""
        return replace(self, raw=self.raw.reshape(-1, self.raw.shape[-1] if self.raw.ndim else 1))

    def equals(self, other: StoredTensor) -> bool:
        """Equal as numbers; across dtypes by value."""
        if self.shape != other.shape or (self.dtype != other.dtype and not (self.is_float and other.is_float)):
            return False
        ours, theirs = (t.raw.reshape(-1) for t in (self, other))
        if self.is_float:
            ours, theirs = StoredTensor(ours, self.dtype), StoredTensor(theirs, other.dtype)
        starts = range(0, self.raw.size, _COMPARE)
        return all(np.array_equal(ours[s : s + _COMPARE], theirs[s : s + _COMPARE]) for s in starts)


@dataclass(frozen=True, slots=True)
class DenseDelta:
    """candidate − reference, computed for the block that is asked for."""

    reference: StoredTensor
    candidate: StoredTensor

    @property
    def shape(self) -> tuple[int, ...]:
        """That of both."""
        return self.reference.shape

    @property
    def eps(self) -> float:
        """Of the coarser dtype."""
        return max(self.reference.eps, self.candidate.eps)

    def __getitem__(self, index: Any) -> Float[np.ndarray, "..."]:
        """One block of the difference."""
        return self.candidate[index] - self.reference[index]

    def at(self, address: WeightAddress) -> DenseDelta:
        """The part that belongs to one address."""
        return DenseDelta(self.reference.at(address), self.candidate.at(address))

    def flat(self) -> DenseDelta:
        """As a matrix whose columns are the last dimension."""
        return DenseDelta(self.reference.flat(), self.candidate.flat())


@dataclass(frozen=True, slots=True)
class LowRank:
    """A change scale·B·A that is never formed. `transposed`: the file holds its transpose (GPT-2's Conv1D)."""

    b: Float[np.ndarray, "row rank"]
    a: Float[np.ndarray, "rank column"]
    scale: float
    eps: float
    transposed: bool = False

    @property
    def shape(self) -> tuple[int, int]:
        """Of the product."""
        return self.b.shape[0], self.a.shape[1]

    @property
    def stored_shape(self) -> tuple[int, int]:
        """Of the tensor it is added to."""
        rows, columns = self.shape
        return (columns, rows) if self.transposed else (rows, columns)

    def __getitem__(self, index: tuple[slice, slice]) -> Float[np.ndarray, "row column"]:
        """One block of the product."""
        rows, columns = index
        return (self.scale * (self.b[rows] @ self.a[:, columns])).astype(self.b.dtype)

    def at(self, address: WeightAddress) -> LowRank:
        """The factors of one address: its rows of B."""
        rows = replace(address, shape=(address.shape[0], self.a.shape[0]), transposed=False)
        return replace(self, b=rows.read(self.b), transposed=False)

    def head(self, rows: int) -> LowRank:
        """The first rows."""
        return replace(self, b=self.b[:rows])

    def flat(self) -> LowRank:
        """Oriented as the tensor is stored."""
        return replace(self, b=self.a.T, a=self.b.T, transposed=False) if self.transposed else self

    @property
    def is_zero(self) -> bool:
        """Whether one factor vanishes: an adapter that was never trained."""
        return not self.a.any() or not self.b.any() or self.scale == 0


@runtime_checkable
class Tensors(Protocol):
    """A model's tensors by stored name."""

    @property
    def headers(self) -> Mapping[str, Header]:
        """Every tensor, unread."""
        ...

    def read(self, name: str) -> StoredTensor:
        """One tensor."""
        ...


class FolderTensors:
    """The weight files of a folder: safetensors (sharded or not), else pickles that hold nothing but tensors.

    Raises:
        FormatError: no weights, a damaged file, or a pickle that would run code.
    """

    def __init__(self, folder: Path) -> None:
        self.headers: dict[str, Header] = {}
        self._readers: dict[str, Callable[[], StoredTensor]] = {}
        for path in weight_files(folder):
            if path.suffix == ".safetensors":
                self._index(path)
            else:
                from radiograph.models._loading import read_pickle

                memory = MemoryTensors(read_pickle(path))
                self.headers |= memory.headers
                self._readers |= {name: lambda m=memory, n=name: m.read(n) for name in memory.headers}

    def read(self, name: str) -> StoredTensor:
        """One tensor, from its place in its file."""
        return self._readers[name]()

    def _index(self, path: Path) -> None:
        for name, dtype, shape, start, stop in safetensors_header(path):
            if dtype not in _FLOATS and dtype not in _OTHERS:
                raise FormatError(
                    f"tensor {name} has a dtype that cannot be read",
                    where=str(path),
                    got=dtype,
                    expected="one of " + ", ".join([*_FLOATS, *_OTHERS]),
                )
            header = Header(dtype, tuple(shape))
            self.headers[name] = header
            self._readers[name] = lambda h=header, a=start, b=stop: _read(path, h, a, b)


class MemoryTensors:
    """Parameters in memory."""

    def __init__(self, parameters: Mapping[str, torch.Tensor]) -> None:
        import torch

        names = {torch.float32: "F32", torch.float16: "F16", torch.bfloat16: "BF16", torch.float64: "F64"}
        names |= {torch.int64: "I64", torch.int32: "I32", torch.int8: "I8", torch.uint8: "U8", torch.bool: "BOOL"}
        self._parameters = parameters
        self.headers = {n: Header(names.get(p.dtype, str(p.dtype)), tuple(p.shape)) for n, p in parameters.items()}

    def read(self, name: str) -> StoredTensor:
        """One tensor; on the CPU it shares the parameter's memory."""
        import torch

        tensor = self._parameters[name].detach().cpu().contiguous()
        if tensor.dtype is torch.bfloat16:
            tensor = tensor.view(torch.uint16)
        return StoredTensor(tensor.numpy(), self.headers[name].dtype)


def _read(path: Path, header: Header, start: int, stop: int) -> StoredTensor:
    kind = np.dtype({**_FLOATS, **_OTHERS}[header.dtype])
    count = int(np.prod(header.shape, dtype=np.int64))
    if count * kind.itemsize != stop - start:
        raise FormatError(f"{path.name} is damaged: a tensor has another length than its shape", where=str(path))
    data = np.fromfile(path, dtype=kind, count=count, offset=start) if count else np.empty(0, kind)
    if data.size != count:
        raise FormatError(f"{path.name} is cut short", where=str(path))
    return StoredTensor(data.reshape(header.shape), header.dtype)


def not_numbers(name: str, dtype: str) -> UserError:
    """A tensor that changed and cannot be subtracted."""
    return UserError(
        f"tensor {name} changed and is stored as {dtype}, which cannot be subtracted",
        expected="weights in F64, F32, F16 or BF16",
        fix="compare the models before quantisation, or dequantise them",
        code="quantised",
    )
