"""Gradients of targets, how far gradients are projected, and TracIn, which has gradients of its own.

v of groups of targets is summed a few targets at a time. A projection is made larger until its dot products order rows
as exact ones do. Checkpoints of TracIn are opened one after the other.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from radiograph.core import Refusal, UserError, derive
from radiograph.evidence.influence import ProjectionRecord

if TYPE_CHECKING:
    from radiograph.core import Context
    from radiograph.harvest.gradients import GradientEngine, Projection
    from radiograph.methods._blame.checkpoints import Checkpoint
    from radiograph.methods._blame.rows import Data
    from radiograph.methods._blame.scores import Options
    from radiograph.methods._blame.targets import Learned, Targets
    from radiograph.models import LanguageModel
    from radiograph.models.gradients import Tracked

EXACT_ENTRIES, EXACT_BYTES = 2**16, 2**30
BLOCK_BYTES = 2**27
KEPT = 2**14
COMPARED = 256
FAITHFUL = 0.95


def few(entries: int) -> int:
    """How many gradients of a size are held at once."""
    return max(1, BLOCK_BYTES // (4 * max(1, entries)))


def target_gradients(
    engine: GradientEngine, targets: Targets, *, grouped: bool = True, scale: np.ndarray | None = None
) -> np.ndarray:
    """∇f, mean over targets: of all first, then of each group. `scale` multiplies entries of an exact gradient."""
    groups = targets.groups
    count = np.bincount(groups)
    size = engine.projection.layout.size
    sums = np.zeros((len(count) if grouped else 1, size))
    sides = [(-1.0, list(enumerate(targets.own)))]
    sides.append((1.0, [(i, foil) for i, foil in enumerate(targets.foils) if foil is not None]))
    for sign, rows in sides:
        for at in range(0, len(rows), few(size)):
            part = rows[at : at + few(size)]
            found = engine.rows([row for _, row in part], reading=targets.reading).gradient
            for (number, _), own in zip(part, found, strict=True):
                sums[groups[number] if grouped else 0] += sign * own
    if scale is not None:
        sums *= scale
    if not grouped:
        return sums / len(groups)
    return np.concatenate([sums.sum(0, keepdims=True) / len(groups), sums / count[:, None]])


def first_entries(matrices: Sequence[Tracked], rows: int, given: str) -> int | None:
    """Entries that are kept of a row, before it is known whether they suffice; None keeps all.

    Raises:
        UserError: another form.
    """
    size = sum(o * i for o, i in (m.shape for m in matrices))
    if given == "off":
        return None
    if given == "auto":
        return None if size <= EXACT_ENTRIES and 4 * size * rows <= EXACT_BYTES else KEPT
    if not given.isdecimal() or int(given) < 1:
        raise UserError(f"cannot read {given!r}", where="--projection", expected="auto, off, or a number of entries")
    return None if int(given) >= size else int(given)


def chosen_projection(
    model: LanguageModel, matrices: Sequence[Tracked], data: Data, targets: Targets, options: Options
) -> tuple[Projection, ProjectionRecord | None]:
    """The projection, made larger until its dot products order rows as exact ones do.

    Raises:
        Refusal: `projection_unfaithful` at the size that was asked for.
    """
    from radiograph.harvest.gradients import Projection

    size = sum(o * i for o, i in (m.shape for m in matrices))
    entries = first_entries(matrices, len(data.rows), options.projection)
    while True:
        made = Projection.of(matrices, entries, derive(options.seed, "gradients"))
        if made.exact:
            return made, None
        assert entries is not None, "something is cut"
        record = _compared(model, made, data, targets, options)
        if record.spearman >= FAITHFUL:
            return made, record
        if options.projection != "auto" or made.layout.size >= size:
            raise Refusal(
                "projection_unfaithful",
                f"projected to {record.entries:,} of {record.of:,} entries, gradients order rows differently",
                expected=f"Spearman of exact and projected dot products at least {FAITHFUL}",
                got=f"{record.spearman:.3f} over {record.rows} rows",
                fix="give a larger --projection, or --projection off",
            )
        entries *= 2


def spread(data: Data, most: int = COMPARED) -> np.ndarray:
    """Numbers of some rows, evenly over lengths."""
    return np.arange(0, len(data.rows), max(1, len(data.rows) // most))[:most]


def dots(
    model: LanguageModel, projection: Projection, rows: Sequence[Learned], targets: Targets, options: Options
) -> np.ndarray:
    """−⟨v, g⟩ of some rows, v of all targets."""
    from radiograph.harvest.gradients import gradient_engine

    with gradient_engine(model, projection, reduction="sum") as engine:
        v = target_gradients(engine, targets, grouped=False)[0]
    step = few(projection.layout.size)
    with gradient_engine(model, projection, reduction=options.reduction) as engine:
        parts = [engine.rows(rows[i : i + step]).gradient @ v for i in range(0, len(rows), step)]
    return -np.concatenate(parts)


def _compared(
    model: LanguageModel, made: Projection, data: Data, targets: Targets, options: Options
) -> ProjectionRecord:
    """Exact against projected dot products of some rows."""
    from radiograph.harvest.gradients import Projection
    from radiograph.numerics.audit.stability import spearman

    rows = [data.rows[i].learned for i in spread(data).tolist()]
    exact = Projection.of(made.matrices, None, 0)
    found = [dots(model, projection, rows, targets, options) for projection in (exact, made)]
    rho = spearman(*found)
    return ProjectionRecord(
        entries=made.layout.size, of=exact.layout.size, spearman=0.0 if rho is None else rho, rows=len(rows)
    )


def traced(
    ctx: Context,
    checkpoints: Iterable[Checkpoint],
    data: Data,
    targets: Targets,
    options: Options,
    patterns: Sequence[str],
) -> tuple[np.ndarray, np.ndarray, np.ndarray, list[str]]:
    """TracIn: −Σ_c η_c⟨v_c, g_ck⟩ [row, 1 + group], Σ_c η_c‖g_ck‖² [row], √Σ_c η_c‖v_c‖² [1 + group], and remarks.

    v_c is divided by Adam's root of second moments where the checkpoint holds its optimiser's state, as the step that
    was taken was.
    """
    from radiograph.harvest.gradients import Projection, Recomputed, gradient_engine
    from radiograph.models.gradients import tracked_matrices
    from radiograph.numerics.influence import products

    total, energy, lengths = np.zeros(()), np.zeros(()), np.zeros(())
    notes: list[str] = []
    rows = [row.learned for row in data.rows]
    for one in checkpoints:
        matrices = tracked_matrices(one.model, patterns)
        projection, _ = chosen_projection(one.model, matrices, data, targets, options)
        exact = Projection.of(matrices, None, 0)
        scale = one.preconditioner([m.shape for m in matrices])
        if scale is None:
            notes.append(f"not_preconditioned: {one.name} has no state of its optimiser for these matrices")
        with gradient_engine(one.model, projection if scale is None else exact, reduction="sum") as engine:
            v = target_gradients(engine, targets, scale=scale)
        if scale is not None:
            v = projection.projected(v)
        with gradient_engine(one.model, projection, reduction=options.reduction) as engine:
            step = min(options.shard_rows, few(projection.layout.size))
            found, norms = products(Recomputed(engine, rows, step, ctx.progress).blocks, v)
        total = total + one.rate * found
        energy = energy + one.rate * np.square(norms)
        lengths = lengths + one.rate * np.square(v).sum(1)
    return total, energy, np.sqrt(lengths), notes
