"""Accumulators of one shard, or of many: whatever is added in whatever order, the same bytes.

Counts are whole numbers. Real sums are multiples of 2^-bits, rounded once a batch. Maxima are exact. Examples are the
smallest keyed hashes of each component. So the sum of two accumulators is associative and commutative.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any, Final

import numpy as np

from radiograph.core.shapes import Float32, Int64
from radiograph.numerics.cofiring import added, joined, smallest
from radiograph.numerics.explanations import Sparse
from radiograph.store.components import ExampleRows, StoredArrays, read_arrays, write_arrays

BITS: Final = {"importance": 32, "h": 24, "size": 24, "mass": 32, "token_mass": 32}
"""Of the fixed-point unit of each real sum: importance and probability are at most 1, activations are not."""
_DENSE: Final = ("firings", "importance", "h", "size", "token_count", "token_mass")
_SPARSE: Final = ("inputs", "pairs")
_ROWS: Final = 1 << 14
"""Rows that are copied or added at once, so that what is in between stays small."""


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
                importance=zeros((0, wide), np.float32),
                h=zeros((0, wide), np.float32),
            ),
            counted=0,
            fed=0,
            shards=(),
        )

    def take(self, path: Path, examples: int) -> None:
        """Take in what a file holds; of examples the `examples` smallest keys of each component stay.

        Raises:
            UserError: a sum does not fit into 64 bits. FormatError: not such a file.
        """
        with StoredArrays(path) as held:
            for name in _DENSE:
                setattr(self, name, added(getattr(self, name), held[name], name))
            np.maximum(self.largest, held["largest"], out=self.largest)
            for name in _SPARSE:
                own = getattr(self, name)
                setattr(self, name, joined(own, _table(held, name, own.shape)))
            self.add_mass(held["out_rows"], held["mass"])
            self._take_examples(held, examples)
            self.counted += held.facts["counted"]
            self.fed += held.facts["fed"]
            self.shards = tuple(sorted({*self.shards, *held.facts["shards"]}))

    def _take_examples(self, other: StoredArrays, n: int) -> None:
        """What `kept` does, a column at a time, rows of the other one as they are read."""
        columns = dict(vars(self.examples))
        owner, key = (np.concatenate([columns[name], other[f"examples.{name}"]]) for name in ("component", "key"))
        chosen = smallest(owner, key, n)
        del owner, key
        self.examples = ExampleRows(**{name: array[:0].copy() for name, array in columns.items()})
        for name in columns:
            blocks = other.blocks(f"examples.{name}", _ROWS)
            columns[name] = _picked(chain((columns[name],), blocks), chosen)
        self.examples = ExampleRows(**columns)

    def add_mass(self, rows: Int64[np.ndarray, " fired"], mass: Int64[np.ndarray, "fired token"]) -> None:
        """Add mass of some components."""
        if not np.isin(rows, self.out_rows).all():
            union = np.union1d(self.out_rows, rows)
            wide = np.zeros((len(union), self.mass.shape[1]), np.int64)
            wide[np.searchsorted(union, self.out_rows)] = self.mass
            self.out_rows, self.mass = union, wide
        at = np.searchsorted(self.out_rows, rows)
        for first in range(0, len(at), _ROWS):
            own = at[first : first + _ROWS]
            self.mass[own] = added(self.mass[own], mass[first : first + _ROWS], "mass")

    def save(self, path: Path, sha256: str) -> None:
        """Commit; `sha256` says of which harvest it is."""
        found: dict[str, np.ndarray] = {name: getattr(self, name) for name in (*_DENSE, "largest", "out_rows", "mass")}
        for name in _SPARSE:
            table = getattr(self, name)
            found |= {f"{name}.{part}": getattr(table, part) for part in ("data", "indices", "indptr")}
        found |= {f"examples.{name}": array for name, array in vars(self.examples).items()}
        facts = {"counted": self.counted, "fed": self.fed, "shards": list(self.shards), "spec": sha256}
        write_arrays(path, found, facts)

    @classmethod
    def load(cls, path: Path) -> Sums:
        """What was committed."""
        arrays, facts = read_arrays(path)
        components, vocabulary = len(arrays["firings"]), len(arrays["token_count"])
        given: dict[str, Any] = {name: arrays[name] for name in (*_DENSE, "largest", "out_rows", "mass")}
        for name in _SPARSE:
            given[name] = _table(arrays, name, (components, vocabulary if name == "inputs" else components))
        own = {name.removeprefix("examples."): array for name, array in arrays.items() if name.startswith("examples.")}
        shards = tuple(facts["shards"])
        return cls(**given, examples=ExampleRows(**own), counted=facts["counted"], fed=facts["fed"], shards=shards)


def kept(parts: list[ExampleRows], n: int) -> ExampleRows:
    """The n smallest keys of each component; windows are copied once, and only those that stay."""
    parts = [part for part in parts if len(part)] or parts[:1]
    component, key = (np.concatenate([getattr(part, name) for part in parts]) for name in ("component", "key"))
    chosen = smallest(component, key, n)
    if len(parts) == 1 and np.array_equal(chosen, np.arange(len(parts[0]))):
        return parts[0]
    columns = vars(parts[0])
    return ExampleRows(**{name: _picked((getattr(part, name) for part in parts), chosen) for name in columns})


def _picked(parts: Iterable[np.ndarray], chosen: Int64[np.ndarray, " chosen"]) -> np.ndarray:
    """Rows of parts that are thought to lie one after the other; there is at least one part."""
    order = np.argsort(chosen)
    ordered = chosen[order]
    found, before = np.zeros(0), 0
    for number, part in enumerate(parts):
        if not number:
            found = np.empty((len(chosen), *part.shape[1:]), part.dtype)
        first, last = np.searchsorted(ordered, (before, before + len(part)))
        for start in range(first, last, _ROWS):  # `take` and places: a fifth of the time of a mask
            own = slice(start, min(start + _ROWS, last))
            found[order[own]] = part.take(ordered[own] - before, axis=0)
        before += len(part)
    return found


def _table(arrays: Mapping[str, np.ndarray], name: str, shape: tuple[int, int]) -> Sparse:
    return _sparse(shape, tuple(arrays[f"{name}.{part}"] for part in ("data", "indices", "indptr")))


def _sparse(shape: tuple[int, int], parts: tuple[np.ndarray, ...] | None = None) -> Sparse:
    from scipy import sparse  # pyright: ignore[reportMissingTypeStubs]

    module: Any = sparse
    return module.csr_matrix(shape, dtype=np.int64) if parts is None else module.csr_matrix(parts, shape=shape)
