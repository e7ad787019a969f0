"""Gradients of many rows onto disk, shard by shard; what is made once is not made again.

A shard depends on its rows and on what the index calls facts alone, and commits by itself: a run that was killed and
resumed leaves the bytes of one that was not.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from radiograph.core import Progress
from radiograph.core.shapes import Float32, Float64, Int
from radiograph.harvest.gradients._engine import GradientEngine, Learned
from radiograph.numerics.influence import mean_squares
from radiograph.store.gradients import (
    Gradients,
    Index,
    MatrixRecord,
    begin,
    committed,
    finish,
    open_gradients,
    write_shard,
)


def gradient_index(engine: GradientEngine, rows: Sequence[Learned], facts: dict[str, Any], shard_rows: int) -> Index:
    """The index of gradients that are to be taken. In 32 bit where nothing is projected, else in 16."""
    projection = engine.projection
    return Index(
        facts={**facts, "loss": engine.reduction, "projection_seed": None if projection.exact else projection.seed},
        matrices=tuple(
            MatrixRecord(name=m.name, shape=m.shape, kept=kept)
            for m, kept in zip(projection.matrices, projection.kept, strict=True)
        ),
        rows=len(rows),
        shard_rows=shard_rows,
        dtype="F32" if projection.exact else "F16",
    )


def write_gradients(
    engine: GradientEngine, rows: Sequence[Learned], index: Index, folder: Path, progress: Progress
) -> Gradients:
    """Take every gradient that is missing, and complete the folder.

    Raises:
        UserError: the folder holds other gradients; a value that is not finite.
        RadiographError: the disk refuses.
    """
    begin(folder, index)
    known = committed(folder, index.spec_sha256)
    with progress.task("gradients", len(rows)) as task:
        for number in range(index.shards):
            first, last = index.span(number)
            if number in known:
                task.advance(last - first)
                continue
            found = engine.rows(rows[first:last], task.advance)
            write_shard(folder, index, number, found.gradient, {"loss": np.asarray(found.loss)})
            del found
    finish(folder, index)
    return open_gradients(folder)


class Recomputed:
    """Gradients that are taken again at each sweep: no disk, the time of a pass for each."""

    def __init__(self, engine: GradientEngine, rows: Sequence[Learned], shard_rows: int, progress: Progress) -> None:
        self._engine, self._rows, self._step, self._progress = engine, rows, shard_rows, progress
        self.passes = 0

    def blocks(self) -> Iterator[Float32[np.ndarray, "row entry"]]:
        """All rows in order."""
        self.passes += 1
        with self._progress.task(f"gradients, pass {self.passes}", len(self._rows)) as task:
            for first in range(0, len(self._rows), self._step):
                yield self._engine.rows(self._rows[first : first + self._step], task.advance).gradient

    def rows(self, wanted: Int[np.ndarray, " row"]) -> Float32[np.ndarray, "row entry"]:
        """Some rows, in the order asked for."""
        return self._engine.rows([self._rows[i] for i in wanted.tolist()]).gradient

    @property
    def mean_squares(self) -> Float64[np.ndarray, " matrix"]:
        """(1/n)Σ ‖g_lk‖² of each matrix: a pass."""
        return mean_squares(self.blocks, self._engine.projection.layout)[0]
