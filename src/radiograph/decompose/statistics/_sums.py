"""Accumulators of one shard, or of many: whatever is added in whatever order, the same bytes.

Counts are whole numbers. Real sums are multiples of 2^-bits, rounded once a batch. Maxima are exact. Examples are the
smallest keyed hashes of each component. So the sum of two accumulators is associative and commutative.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from jaxtyping import Float32, Int64

from radiograph.numerics.cofiring import added, joined, smallest
from radiograph.numerics.explanations import Sparse
from radiograph.store.components import ExampleRows, read_arrays, write_arrays

BITS: Final = {"importance": 32, "h": 24, "size": 24, "mass": 32, "token_mass": 32}
"""Of the fixed-point unit of each real sum: importance and probability are at most 1, activations are not."""
_DENSE: Final = ("firings", "importance", "h", "size", "token_count", "token_mass")
_SPARSE: Final = ("inputs", "pairs")


@dataclass(eq=False)
class Sums:
    """Of some tokens. C components, V tokens of the vocabulary."""

    firings: Int64[np.ndarray, " component"]
    importance: Int64[np.ndarray, " component"]
    h: Int64[np.ndarray, " component"]
    size: Int64[np.ndarray, " component"]
    """Σ |h| ‖U‖."""
    largest: Float32[np.ndarray, " component"]
    """max |h| ‖U‖."""
    inputs: Sparse
    """[component, token]: firings on each token."""
    out_rows: Int64[np.ndarray, " fired"]
    """Components that fired, ascending."""
    mass: Int64[np.ndarray, "fired token"]
    """The model's next-token probability where each of them fires, summed."""
    token_count: Int64[np.ndarray, " token"]
    token_mass: Int64[np.ndarray, " token"]
    pairs: Sparse
    """[component, component], above the diagonal."""
    examples: ExampleRows
    counted: int
    fed: int
    shards: tuple[int, ...]

    @classmethod
    def empty(cls, components: int, vocabulary: int, around: int) -> Sums:
        """Of no tokens."""
        zeros = np.zeros
        wide = 2 * around + 1
        return cls(
            firings=zeros(components, np.int64),
            importance=zeros(components, np.int64),
            h=zeros(components, np.int64),
            size=zeros(components, np.int64),
            largest=zeros(components, np.float32),
            inputs=_sparse((components, vocabulary)),
            out_rows=zeros(0, np.int64),
            mass=zeros((0, vocabulary), np.int64),
            token_count=zeros(vocabulary, np.int64),
            token_mass=zeros(vocabulary, np.int64),
            pairs=_sparse((components, components)),
            examples=ExampleRows(
                component=zeros(0, np.int32),
                key=zeros(0, np.uint64),
                window=zeros(0, np.int32),
                position=zeros(0, np.int32),
                first=zeros(0, np.int32),
                size=zeros(0, np.int32),
                tokens=zeros((0, wide), np.uint32),
                importance=zeros((0, wide), np.float32),
                h=zeros((0, wide), np.float32),
            ),
            counted=0,
            fed=0,
            shards=(),
        )

    def merge(self, other: Sums, examples: int) -> None:
        """Take in what another one holds; of examples the `examples` smallest keys of each component stay.

        Raises:
            UserError: a sum does not fit into 64 bits.
        """
        for name in _DENSE:
            setattr(self, name, added(getattr(self, name), getattr(other, name), name))
        np.maximum(self.largest, other.largest, out=self.largest)
        for name in _SPARSE:
            setattr(self, name, joined(getattr(self, name), getattr(other, name)))
        self.add_mass(other.out_rows, other.mass)
        self.examples = kept([self.examples, other.examples], examples)
        self.counted += other.counted
        self.fed += other.fed
        self.shards = tuple(sorted({*self.shards, *other.shards}))

    def add_mass(self, rows: Int64[np.ndarray, " fired"], mass: Int64[np.ndarray, "fired token"]) -> None:
        """Add mass of some components."""
        if not np.isin(rows, self.out_rows).all():
            union = np.union1d(self.out_rows, rows)
            wide = np.zeros((len(union), self.mass.shape[1]), np.int64)
            wide[np.searchsorted(union, self.out_rows)] = self.mass
            self.out_rows, self.mass = union, wide
        at = np.searchsorted(self.out_rows, rows)
        self.mass[at] = added(self.mass[at], mass, "mass")

    def save(self, path: Path, sha256: str) -> None:
        """Commit; `sha256` says of which harvest it is."""
        arrays: dict[str, np.ndarray] = {name: getattr(self, name) for name in (*_DENSE, "largest", "out_rows", "mass")}
        for name in _SPARSE:
            table = getattr(self, name)
            arrays |= {f"{name}.data": table.data, f"{name}.indices": table.indices, f"{name}.indptr": table.indptr}
        arrays |= {f"examples.{name}": array for name, array in vars(self.examples).items()}
        facts = {"counted": self.counted, "fed": self.fed, "shards": list(self.shards), "spec": sha256}
        write_arrays(path, arrays, facts)

    @classmethod
    def load(cls, path: Path) -> tuple[Sums, str]:
        """What was committed, and of which harvest it is."""
        arrays, facts = read_arrays(path)
        components, vocabulary = len(arrays["firings"]), len(arrays["token_count"])
        given: dict[str, Any] = {name: arrays[name] for name in (*_DENSE, "largest", "out_rows", "mass")}
        for name in _SPARSE:
            parts = tuple(arrays[f"{name}.{part}"] for part in ("data", "indices", "indptr"))
            given[name] = _sparse((components, vocabulary if name == "inputs" else components), parts)
        own = {name.removeprefix("examples."): array for name, array in arrays.items() if name.startswith("examples.")}
        shards = tuple(facts["shards"])
        found = cls(**given, examples=ExampleRows(**own), counted=facts["counted"], fed=facts["fed"], shards=shards)
        return found, facts["spec"]


def kept(parts: list[ExampleRows], n: int) -> ExampleRows:
    """The n smallest keys of each component; windows are copied once, and only those that stay."""
    component, key = (np.concatenate([getattr(part, name) for part in parts]) for name in ("component", "key"))
    chosen = smallest(component, key, n)
    ends = np.cumsum([len(part) for part in parts])
    owner = np.searchsorted(ends, chosen, side="right")
    found: dict[str, np.ndarray] = {}
    for name, like in vars(parts[0]).items():
        found[name] = np.empty((len(chosen), *like.shape[1:]), like.dtype)
        for number, part in enumerate(parts):
            own = owner == number
            found[name][own] = getattr(part, name)[chosen[own] - (ends[number] - len(part))]
    return ExampleRows(**found)


def _sparse(shape: tuple[int, int], parts: tuple[np.ndarray, ...] | None = None) -> Sparse:
    from scipy import sparse  # pyright: ignore[reportMissingTypeStubs]

    module: Any = sparse
    return module.csr_matrix(shape, dtype=np.int64) if parts is None else module.csr_matrix(parts, shape=shape)
