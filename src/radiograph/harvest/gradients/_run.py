"""Gradients of many rows onto disk, shard by shard; what is made once is not made again.

A shard depends on its rows and on what the index calls facts alone, and commits by itself: a run that was killed and
resumed leaves the bytes of one that was not.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from radiograph.core import Progress
from radiograph.harvest.gradients._engine import GradientEngine, Learned
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
