"""From gradients to scores: every method that was asked for, over the same stored gradients.

1. v of each group of targets, and of all   2. gradients of every row, on disk or taken again at each sweep
3. a direction h for each method; then one sweep gives every method's score of every row
`tracin` has gradients of its own at each checkpoint, and a sweep there. Scores of groups of targets give intervals.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, Protocol

import numpy as np

from radiograph.core import Refusal, UserError, derive
from radiograph.evidence.influence import ProjectionRecord

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from radiograph.core import Context
    from radiograph.harvest.gradients import Curvature, GradientEngine, Projection
    from radiograph.methods._blame.checkpoints import Checkpoint
    from radiograph.methods._blame.rows import Data
    from radiograph.methods._blame.targets import Targets
    from radiograph.models import LanguageModel
    from radiograph.models.gradients import Tracked

EXACT_ENTRIES, EXACT_BYTES = 2**16, 2**30
KEPT = 2**14
COMPARED = 256
FAITHFUL = 0.95


class Source(Protocol):
    """Gradients of all rows."""

    def blocks(self) -> Iterable[np.ndarray]:
        """All rows in order."""
        ...

    def rows(self, wanted: np.ndarray) -> np.ndarray:
        """Some rows."""
        ...

    @property
    def mean_squares(self) -> np.ndarray:
        """Mean of ‖g_lk‖² of each matrix."""
        ...


@dataclass(frozen=True)
class Options:
    """What decides the gradients and scores."""

    methods: tuple[str, ...]
    reduction: Literal["sum", "mean"]
    projection: str
    store: Literal["shards", "recompute"]
    shard_rows: int
    fisher: Literal["model", "empirical"]
    seed: int


@dataclass(eq=False)
class Scored:
    """Scores [row, 1 + group] of each method, all targets first; rows in the order of gradients."""

    scores: dict[str, np.ndarray]
    norms: np.ndarray
    projection: Projection
    compared: ProjectionRecord | None
    source: Source
    directions: dict[str, np.ndarray] = field(default_factory=dict)
    """h of all targets, for token scores."""
    strength: np.ndarray | None = None
    curvature: Curvature | None = None


def target_gradients(engine: GradientEngine, targets: Targets) -> np.ndarray:
    """∇f: of all targets first, then of each group. Mean over targets."""
    whole = -engine.rows(targets.own).gradient.astype(np.float64)
    with_foil = [i for i, foil in enumerate(targets.foils) if foil is not None]
    if with_foil:
        whole[with_foil] += engine.rows([targets.foils[i] for i in with_foil]).gradient  # type: ignore[misc]
    groups = targets.groups
    parts = [whole[groups == g].mean(0) for g in range(groups.max() + 1)]
    return np.stack([whole.mean(0), *parts])


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


def traced(
    ctx: Context,
    checkpoints: Sequence[Checkpoint],
    data: Data,
    targets: Targets,
    options: Options,
    patterns: Sequence[str],
) -> tuple[np.ndarray, list[str]]:
    """TracIn: −Σ_c η_c⟨v_c, g_ck⟩ [row, 1 + group], and remarks. v_c is divided by Adam's root of second moments where
    the checkpoint holds its optimiser's state, as the step that was taken was.
    """
    from radiograph.harvest.gradients import Projection, Recomputed, gradient_engine
    from radiograph.models.gradients import tracked_matrices
    from radiograph.numerics.influence import products

    total: np.ndarray | None = None
    notes: list[str] = []
    rows = [row.learned for row in data.rows]
    for one in checkpoints:
        matrices = tracked_matrices(one.model, patterns)
        projection = Projection.of(matrices, None, 0)
        with gradient_engine(one.model, projection, reduction="sum") as engine:
            v = target_gradients(engine, targets)
        scale = one.preconditioner([m.shape for m in matrices])
        if scale is None:
            notes.append(f"not_preconditioned: {one.name} has no state of its optimiser for these matrices")
        else:
            v = v * scale
        with gradient_engine(one.model, projection, reduction=options.reduction) as engine:
            found, _ = products(Recomputed(engine, rows, options.shard_rows, ctx.progress).blocks, v)
        total = one.rate * found if total is None else total + one.rate * found
    assert total is not None, "there is a checkpoint"
    return total, notes


def _compared(
    model: LanguageModel, made: Projection, data: Data, targets: Targets, options: Options
) -> ProjectionRecord:
    """Exact against projected dot products of some rows."""
    from radiograph.harvest.gradients import Projection, gradient_engine
    from radiograph.numerics.audit.stability import spearman

    step = max(1, len(data.rows) // COMPARED)
    rows = [row.learned for row in data.rows[::step][:COMPARED]]
    exact = Projection.of(made.matrices, None, 0)
    found: list[np.ndarray] = []
    for projection in (exact, made):
        with gradient_engine(model, projection, reduction="sum") as engine:
            v = target_gradients(engine, targets)[0]
        with gradient_engine(model, projection, reduction=options.reduction) as engine:
            # A few at a time: exact gradients of a large model do not fit together.
            few = max(1, EXACT_BYTES // (16 * projection.layout.size))
            parts = [engine.rows(rows[i : i + few]).gradient @ v for i in range(0, len(rows), few)]
        found.append(np.concatenate(parts))
    rho = spearman(found[0], found[1])
    return ProjectionRecord(
        entries=made.layout.size, of=exact.layout.size, spearman=0.0 if rho is None else rho, rows=len(rows)
    )


def scored(
    stack: ExitStack,
    ctx: Context,
    model: LanguageModel,
    matrices: Sequence[Tracked],
    data: Data,
    targets: Targets,
    options: Options,
    folder: Path | None,
    facts: dict[str, Any],
) -> Scored:
    """Gradients and scores of every method but tracin; hooks stay until `stack` closes.

    Raises:
        Refusal: the projection is unfaithful. UserError: a value that is not finite.
    """
    from radiograph.harvest.gradients import (
        Recomputed,
        curvature,
        gradient_engine,
        gradient_index,
        write_gradients,
    )
    from radiograph.numerics.influence import cosines, damping, datainf_direction, products

    with ctx.measure("projection"):
        projection, compared = chosen_projection(model, matrices, data, targets, options)
    with gradient_engine(model, projection, reduction="sum") as engine:
        v = target_gradients(engine, targets)
    rows = [row.learned for row in data.rows]
    engine = stack.enter_context(gradient_engine(model, projection, reduction=options.reduction))
    source: Source
    with ctx.measure("gradients", tokens=sum(len(ids) for ids, _ in rows)):
        if folder is None:
            source = Recomputed(engine, rows, options.shard_rows, ctx.progress)
        else:
            index = gradient_index(engine, rows, facts, options.shard_rows)
            source = write_gradients(engine, rows, index, folder, ctx.progress)
    made = Scored({}, np.empty(0), projection, compared, source)
    layout = projection.layout
    directions: dict[str, np.ndarray] = {"dot": v}
    with ctx.measure("influence"):
        if "datainf" in options.methods:
            made.strength = damping(source.mean_squares, layout)
            directions["datainf"] = datainf_direction(source.blocks, v, layout, made.strength)
        if "ekfac" in options.methods:
            with ctx.progress.task("curvature", 2 * len(rows)) as task:
                made.curvature = curvature(engine, rows, fisher=options.fisher, seed=options.seed, advance=task.advance)
            directions["ekfac"] = made.curvature.direction(v)
        together = np.concatenate(list(directions.values()))
        found, made.norms = products(source.blocks, together)
    wide = len(v)
    for number, (name, direction) in enumerate(directions.items()):
        made.scores[name] = found[:, number * wide : (number + 1) * wide]
        made.directions[name] = direction[0]
    if "cosine" in options.methods:
        made.scores["cosine"] = cosines(made.scores["dot"], made.norms, v)
        made.directions["cosine"] = v[0] / max(float(np.linalg.norm(v[0])), math.ulp(0.0))
    return made


def relative(made: Scored, method: str, wanted: np.ndarray) -> np.ndarray | None:
    """score/√⟨g, H⁻¹g⟩ of some rows; None for a method without an H."""
    from radiograph.numerics.influence import datainf_energy

    rows = made.source.rows(wanted)
    if method == "datainf" and made.strength is not None:
        energy = datainf_energy(made.source.blocks, rows, made.projection.layout, made.strength)
    elif method == "ekfac" and made.curvature is not None:
        energy = made.curvature.energy(rows)
    elif method in ("dot", "cosine"):
        energy = np.square(made.norms[wanted])
    else:
        return None
    score = made.scores["dot" if method == "cosine" else method][wanted, 0]
    return np.divide(score, np.sqrt(energy), out=np.zeros_like(score), where=energy > 0)


def by_matrix(made: Scored, method: str, wanted: np.ndarray) -> tuple[dict[str, float], ...]:
    """The parts of the scores of some rows, matrix by matrix; none for tracin."""
    from radiograph.numerics.influence import parts_of

    if method not in made.directions:
        return ({},) * len(wanted)
    rows = made.source.rows(wanted)
    if method == "cosine":
        rows = rows / np.maximum(made.norms[wanted], math.ulp(0.0))[:, None].astype(np.float32)
    parts = parts_of(rows, made.directions[method], made.projection.layout)
    names = [m.name for m in made.projection.matrices]
    return tuple(dict(zip(names, map(float, row), strict=True)) for row in parts)


def token_scores(
    model: LanguageModel, made: Scored, method: str, data: Data, wanted: np.ndarray, reduction: Literal["sum", "mean"]
) -> list[np.ndarray]:
    """Each token's part of the score of some rows; none for tracin."""
    import torch

    from radiograph.harvest.gradients import weights_of
    from radiograph.models import batches
    from radiograph.models.gradients import loss_derivatives

    out: list[np.ndarray] = [np.empty(0)] * len(wanted)
    if method not in made.directions:
        return out
    lifted = made.projection.lifted(made.directions[method])
    along = {m.parameter: _stored(m, lifted, made.projection.matrices) for m in made.projection.matrices}
    directions = {name: torch.from_numpy(np.ascontiguousarray(value)) for name, value in along.items()}
    rows = [data.rows[i].learned for i in wanted.tolist()]
    for batch in batches([ids for ids, _ in rows], batch_tokens=2048):
        weights = weights_of(batch, rows, reduction)
        moved = (-loss_derivatives(model, batch, directions).cpu() * weights).double().numpy()
        for place, row in enumerate(batch.rows):
            found = moved[place, : len(rows[row][0])]
            norm = made.norms[wanted[row]] if method == "cosine" else 1.0
            out[row] = found / norm + 0.0 if norm > 0 else np.zeros_like(found)  # no −0
    return out


def _stored(matrix: Tracked, lifted: dict[str, np.ndarray], matrices: Sequence[Tracked]) -> np.ndarray:
    """A direction in the form of the parameter: all matrices that it holds, transposed where it is."""
    together = [m for m in matrices if m.parameter == matrix.parameter]
    if all(m.whole for m in together):
        own = lifted[matrix.name]
        return own.T if matrix.transposed else own
    whole = np.zeros((matrix.outputs, matrix.shape[1]), dtype=np.float32)
    for m in together:
        m.place(whole, lifted[m.name])
    return whole.T if matrix.transposed else whole
