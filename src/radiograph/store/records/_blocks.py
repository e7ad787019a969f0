"""Entries by feature in bounded memory.

1. features are cut into ranges of at most `memory` bytes of entries; how many entries each has is known beforehand
2. where values stand in the order of features, a range is a slice of the files
3. else, if all fit, one sort by (feature, row); if not, one pass spills every entry into the file of its range
   (12 bytes each), and each range is read back and sorted by itself
Time O(n log n), memory independent of the number of rows, disk 12 n bytes. Entries come out in the same order whatever
the chunks, the ranges or the order of the input, so sums over them never differ.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from radiograph.core.shapes import Float32, Int, Int64, UInt32

if TYPE_CHECKING:
    import polars

MEMORY = 512 * 2**20
ENTRY_BYTES = 72
"""What a range needs for an entry: while it is sorted, itself three times, its key and its place; afterwards what a
caller makes of it."""
CHUNK = 1_000_000
_NARROW = 2**16
MOST_RANGES = 200
"""Files that are open at once."""
Triplets = tuple[NDArray[np.uint32], NDArray[np.uint32], NDArray[np.float32]]
_ENTRY = np.dtype([("feature", "<u4"), ("row", "<u4"), ("value", "<f4")])


@dataclass(frozen=True, eq=False)
class Block:
    """Entries of the features `first`, `first + 1`, …: those of the i-th are offsets[i] to offsets[i + 1], by row."""

    first: int
    offsets: Int64[np.ndarray, " offset"]
    rows: UInt32[np.ndarray, " entry"]
    values: Float32[np.ndarray, " entry"]

    @property
    def features(self) -> int:
        """How many features, silent ones included."""
        return len(self.offsets) - 1


def blocks(files: Sequence[Path], order: str, counts: Int[np.ndarray, " feature"], memory: int) -> Iterator[Block]:
    """The blocks of some files of values; `counts` is the number of entries of each feature."""
    bounds = ranges(counts, memory)
    offsets = np.concatenate([[0], np.cumsum(counts, dtype=np.int64)])
    if order == "feature":
        found = _slices(files, offsets[bounds])
    else:
        found = by_range(chunks(files), bounds)
    for first, last, (_, rows, values) in zip(bounds[:-1], bounds[1:], found, strict=True):
        yield Block(int(first), offsets[first : last + 1] - offsets[first], rows, values)


def ranges(counts: Int[np.ndarray, " feature"], memory: int) -> Int64[np.ndarray, " bound"]:
    """Bounds of ranges of features with at most `memory` bytes of entries each, or a single feature."""
    total = np.concatenate([[0], np.cumsum(counts, dtype=np.int64)])
    most = max(memory // ENTRY_BYTES, -(-int(total[-1]) // MOST_RANGES), 1)
    bounds = [0]
    while bounds[-1] < len(counts):
        reached = int(np.searchsorted(total, total[bounds[-1]] + most, side="right")) - 1
        bounds.append(min(max(reached, bounds[-1] + 1), len(counts)))
    return np.array(bounds, np.int64)


def by_range(given: Iterable[Triplets], bounds: Int64[np.ndarray, " bound"]) -> Iterator[Triplets]:
    """Triplets (feature, row, value) of each range, sorted by (feature, row, value); one range needs no disk."""
    if len(bounds) <= 2:
        held = list(given)
        if len(bounds) == 2:
            yield in_order(*(np.concatenate([part[i] for part in held] or [[]]).astype(_ENTRY[i]) for i in range(3)))
        return
    with tempfile.TemporaryDirectory(prefix="radiograph-") as folder:
        paths = [Path(folder) / f"{number:05d}" for number in range(len(bounds) - 1)]
        with ExitStack() as stack:
            _spill(given, bounds, [stack.enter_context(path.open("wb")) for path in paths])
        for path in paths:
            held = np.fromfile(path, _ENTRY)
            path.unlink()
            yield in_order(held["feature"], held["row"], held["value"])


def in_order(
    feature: UInt32[np.ndarray, " entry"], row: UInt32[np.ndarray, " entry"], value: Float32[np.ndarray, " entry"]
) -> Triplets:
    """Sorted by (feature, row), equal ones by value."""
    least = feature.min() if len(feature) else np.uint32(0)
    if len(feature) and feature.max() - least < _NARROW and (row[1:] >= row[:-1]).all():
        # Rows ascend already, and a stable sort of 16 bits is a counting sort.
        order = np.argsort((feature - least).astype(np.uint16), kind="stable")
    else:
        order = np.argsort(feature.astype(np.uint64) << np.uint64(32) | row)
    found = feature[order], row[order], value[order]
    if ((found[0][1:] == found[0][:-1]) & (found[1][1:] == found[1][:-1])).any():
        order = np.lexsort((value, row, feature))
        found = feature[order], row[order], value[order]
    return found


def _spill(given: Iterable[Triplets], bounds: Int64[np.ndarray, " bound"], files: Sequence[IO[bytes]]) -> None:
    place_of = np.repeat(np.arange(len(files), dtype=np.uint16), np.diff(bounds))
    for feature, row, value in given:
        entries = np.empty(len(feature), _ENTRY)
        entries["feature"], entries["row"], entries["value"] = feature, row, value
        place = place_of[feature]
        entries = entries[np.argsort(place, kind="stable")]
        ends = np.cumsum(np.bincount(place, minlength=len(files)))
        for file, own in zip(files, np.split(entries, ends[:-1]), strict=True):
            file.write(own.data)


def chunks(files: Sequence[Path]) -> Iterator[Triplets]:
    """The entries of some files as they lie, at most `CHUNK` at a time."""
    import polars

    for path in files:
        scan = polars.scan_parquet(path).select("feature", "row", "value")
        total = int(scan.select(polars.len()).collect().item())
        for at in range(0, total, CHUNK):
            yield _arrays(scan.slice(at, CHUNK).collect())


def _slices(files: Sequence[Path], ends: Int64[np.ndarray, " bound"]) -> Iterator[Triplets]:
    import polars

    scan = polars.scan_parquet(list(files)).select("feature", "row", "value") if files else None
    for start, end in zip(ends[:-1].tolist(), ends[1:].tolist(), strict=True):
        if scan is None or start == end:
            yield np.empty(0, np.uint32), np.empty(0, np.uint32), np.empty(0, np.float32)
        else:
            yield _arrays(scan.slice(start, end - start).collect())


def _arrays(table: polars.DataFrame) -> Triplets:
    return table["feature"].to_numpy(), table["row"].to_numpy(), table["value"].to_numpy()
