"""A sweep into a folder: batches commit one by one, and a sweep that was killed goes on where it stopped.

1. the plan is recorded before the first batch   2. each batch is decoded, then committed whole   3. missing batches are
redone whole, so that shapes and with them the last bits are those of an undisturbed run
4. where memory does not suffice what is left is planned anew with half the batch, and that plan recorded
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from radiograph.core import Progress, Silent
from radiograph.interventions._sweep import BATCH_ROWS, Sweep, SweptRow, halved, plan, references, run_batch
from radiograph.store.vectors import BatchWriter


def sweep_into(
    sweep: Sweep, folder: Path, *, batch_rows: int = BATCH_ROWS, progress: Progress | None = None
) -> BatchWriter:
    """Decode every row that a folder does not hold yet.

    Raises:
        UserError: the folder holds another sweep.
    """
    writer = BatchWriter(folder, sweep.job_sha256)
    if not writer.batches:
        writer.plan(plan(sweep, batch_rows))
    given = None
    number = 0
    with (progress or Silent()).task("decoding", total=len(sweep.rows)) as task:
        while number < len(writer.batches):
            batch = writer.batches[number]
            if not writer.done(number):
                try:
                    if given is None and sweep.follow == "reference":
                        given = references(sweep, max(len(b) for b in writer.batches))
                    rows = run_batch(sweep, batch, given)
                except (RuntimeError, MemoryError) as error:
                    _replan(writer, sweep, number, halved(error, batch_rows, batch))
                    continue
                writer.commit(number, [_facts(sweep, row) for row in rows], _tensors(sweep, rows))
            task.advance(len(batch))
            number += 1
    return writer


def _replan(writer: BatchWriter, sweep: Sweep, number: int, batch_rows: int) -> None:
    """Keep what is done, cut the rest into smaller batches."""
    for later in range(number, len(writer.batches)):
        writer.drop(later)  # of a run before this one, with more memory: redone, so that numbers stay in order
    left = sorted(row for batch in writer.batches[number:] for row in batch)
    writer.plan([*writer.batches[:number], *plan(sweep, batch_rows, rows=left)])


def _facts(sweep: Sweep, row: SweptRow) -> dict[str, Any]:
    """One row as it is kept until the end."""
    return {
        "row": row.row.number,
        "n_prompt": row.n_prompt,
        "ids": list(row.ids),
        "stop": row.stop,
        "text": row.text,
        "mean_logprob": _finite(row.mean_logprob),
        "entropy": _finite(row.entropy),
        "min_gap": _finite(row.min_gap),
        "kl": _finite(sum(row.divergence) / len(row.divergence) if row.divergence else None),
        "kl_steps": len(row.divergence),
        "vector_note": row.vector_note,
        "sha256": sweep.sha256(row.row),
    }


def _finite(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None


def _tensors(sweep: Sweep, rows: Sequence[SweptRow]) -> dict[str, np.ndarray]:
    """`row`, and a tensor a site; of the pool `tokens` one entry a token, and `token`."""
    held = [row for row in rows if row.pooled]
    if not held:
        return {}
    numbers = [row.row.number for row in held]
    counts = [next(iter(row.pooled.values())).n for row in held]
    if sweep.reads.pool != "tokens":
        out = {str(s): np.stack([row.pooled[s].value.numpy() for row in held]) for s in sweep.reads.sites}
        return {"row": np.array(numbers, np.int64), "n": np.array(counts, np.int64), **out}
    out = {str(s): np.concatenate([_each(row, s) for row in held]) for s in sweep.reads.sites}
    token = np.concatenate([np.arange(n) for n in counts])
    return {"row": np.repeat(numbers, counts).astype(np.int64), "token": token.astype(np.int64), **out}


def _each(row: SweptRow, site: Any) -> np.ndarray:
    tokens = row.pooled[site].tokens
    assert tokens is not None, "the pool keeps them"
    return tokens.numpy()
