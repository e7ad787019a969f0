"""Rows through a probe, in a stream: scores, distances, lengths, groups, and the moments of the axes of its support.

One product a chunk: rows with the direction and the axes side by side. Normalisation multiplies rows, so that it is
applied to the products and no copy of the rows is made. Of a probe of whole prompts the rows of a prompt are pooled
first: they follow each other; a row without a prompt is a prompt.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from radiograph.core import UserError
from radiograph.core.shapes import Bool, Float, Float64, Int64
from radiograph.evidence.probes.probe import ProbePool
from radiograph.numerics.probes import Support, outside
from radiograph.probing._probe import Probe
from radiograph.probing._samples import lengths, scales

CHUNK, CHUNK_FLOATS, _FEWEST = 4096, 2**21, 64
Chunk = tuple[Float[np.ndarray, "row width"], Int64[np.ndarray, " row"]]
"""Rows, and the number of the group (prompt, document) of each."""


@dataclass(frozen=True, eq=False)
class Read:
    """What a probe says of every row."""

    score: Float64[np.ndarray, " row"]
    group: Int64[np.ndarray, " row"]
    outside: Bool[np.ndarray, " row"]
    distance: Float64[np.ndarray, " row"]
    length: Float64[np.ndarray, " row"]
    mean: Float64[np.ndarray, " axis"]
    variance: Float64[np.ndarray, " axis"]
    distinct: Bool[np.ndarray, " row"]
    """The first of the rows of a group that are equal: copies are no more evidence."""
    different: int
    """Rows that are not equal to another one, of whatever group."""
    mark: Float64[np.ndarray, " row"]
    """What equal rows have in common, whatever stands beside them."""
    place: Int64[np.ndarray, " row"]
    """Number of the row, or of the last row of the prompt, in the evidence."""

    def __len__(self) -> int:
        return len(self.score)

    def regrouped(self, group: Int64[np.ndarray, " row"]) -> Read:
        """The same in other groups."""
        return replace(self, group=group, distinct=_first_of_each(group.astype(np.float64), self.mark, self.length))


def read(probe: Probe, chunks: Iterable[Chunk]) -> Read:
    """Everything, row by row; rows are finite (their reader has looked)."""
    matrix = probe.matrix
    support = probe.support
    centre = None if support is None else (support.mean.astype(np.float64) @ support.whiten.astype(np.float64))
    parts: list[tuple[NDArray[np.float64], ...]] = []
    groups: list[NDArray[np.int64]] = []
    places: list[NDArray[np.int64]] = []
    count, total, squares = 0, np.zeros(matrix.shape[1] - 1), np.zeros(matrix.shape[1] - 1)
    for rows, group, place in pooled(chunks, probe):
        product = (rows @ matrix.astype(rows.dtype, copy=False)).astype(np.float64)
        product *= scales(rows, probe.normalise)[:, None]
        axes = product[:, 1:] if centre is None else product[:, 1:] - centre
        squared = np.square(axes)
        total += axes.sum(axis=0)
        squares += squared.sum(axis=0)
        count += len(rows)
        # A sum of its own for every row: a product gives equal rows at different places different last digits.
        mark = np.einsum("ij,j->i", rows, matrix[:, 0].astype(rows.dtype))
        parts.append((product[:, 0], squared.sum(axis=1), lengths(rows).astype(np.float64), mark.astype(np.float64)))
        groups.append(group)
        places.append(place)
    if not count:
        raise UserError("there is nothing to read", expected="rows of activations")
    score, distance, length, mark = (np.concatenate(column) for column in zip(*parts, strict=True))
    group = np.concatenate(groups)
    mean = total / count
    return Read(
        score=score,
        group=group,
        outside=np.zeros(count, dtype=bool) if support is None else outside(support, distance, length),
        distance=distance,
        length=length,
        mean=mean,
        variance=np.maximum(squares / count - np.square(mean), 0.0),
        distinct=_first_of_each(group.astype(np.float64), mark, length),
        different=int(_first_of_each(mark, length).sum()),
        mark=mark,
        place=np.concatenate(places),
    )


def read_again(support: Support | None, rows: Mapping[str, NDArray[Any]], axes: Mapping[str, NDArray[Any]]) -> Read:
    """The same from the columns that a run kept of it."""
    score, distance, length, mark = (rows[name].astype(np.float64) for name in ("score", "distance", "length", "mark"))
    group = rows["group"].astype(np.int64)
    return Read(
        score=score,
        group=group,
        outside=np.zeros(len(score), dtype=bool) if support is None else outside(support, distance, length),
        distance=distance,
        length=length,
        mean=axes["mean"].astype(np.float64),
        variance=axes["variance"].astype(np.float64),
        distinct=_first_of_each(group.astype(np.float64), mark, length),
        different=int(_first_of_each(mark, length).sum()),
        mark=mark,
        place=rows["place"].astype(np.int64),
    )


def pooled(
    chunks: Iterable[Chunk], probe: Probe
) -> Iterator[tuple[Float[np.ndarray, "row width"], Int64[np.ndarray, " row"], Int64[np.ndarray, " row"]]]:
    """Rows, groups and places; of a probe of whole prompts one row a prompt."""
    start = 0
    if probe.pool is None:
        for rows, group in chunks:
            yield rows, group, np.arange(start, start + len(rows))
            start += len(rows)
        return
    pool: ProbePool = probe.pool
    held: list[NDArray[np.floating]] = []
    own, done = -1, set[int]()
    for rows, group in chunks:
        edges = np.flatnonzero(np.diff(group, prepend=group[0] - 1))
        out: list[tuple[NDArray[np.floating], int, int]] = []
        for first, last in zip(edges.tolist(), [*edges.tolist()[1:], len(rows)], strict=True):
            number = int(group[first])
            if held and number != own:
                out.append((_one(np.concatenate(held), pool, probe), own, start + first - 1))
                done.add(own)
                held = []
            if number in done:
                raise UserError("rows of one prompt do not follow each other", where=f"row {start + first}")
            own = number
            held.append(rows[first:last])
        start += len(rows)
        if out:
            yield _stacked(out)
    if held:
        yield _stacked([(_one(np.concatenate(held), pool, probe), own, start - 1)])


def _one(rows: NDArray[np.floating], pool: ProbePool, probe: Probe) -> NDArray[np.floating]:
    match pool:
        case "last":
            return rows[-1]
        case "mean":
            return rows.mean(axis=0)
        case "max":
            values = (rows @ probe.w.astype(rows.dtype)) * scales(rows, probe.normalise)
            return rows[int(values.argmax())]


def _stacked(
    found: list[tuple[NDArray[np.floating], int, int]],
) -> tuple[NDArray[np.floating], NDArray[np.int64], NDArray[np.int64]]:
    rows, groups, places = zip(*found, strict=True)
    return np.stack(rows), np.array(groups, dtype=np.int64), np.array(places, dtype=np.int64)


def _first_of_each(*columns: NDArray[np.float64]) -> NDArray[np.bool_]:
    keys = np.stack(columns, axis=1)
    order = np.lexsort(keys.T)
    ordered = keys[order]
    new = np.ones(len(keys), dtype=bool)
    new[1:] = (ordered[1:] != ordered[:-1]).any(axis=1)
    out = np.zeros(len(keys), dtype=bool)
    out[order[new]] = True
    return out


def chunk_rows(width: int) -> int:
    """Rows to read at once: at most 8 MiB of float32."""
    return min(CHUNK, max(_FEWEST, CHUNK_FLOATS // width))
