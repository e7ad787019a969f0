"""From gradients to scores: every method that was asked for, over the same stored gradients.

1. the weights at a point of the path from the reference to the candidate: at its end rows that were learned by heart
   have no gradient left   2. v of each group of targets, and of all   3. gradients of every row at that point, on disk
   or taken again at each sweep   4. a direction h for each method; then one sweep gives every method's score of every
   row, by group   5. relative scores: over the length of v and √⟨g, H⁻¹g⟩, as rows that are loud for any target are;
   the largest over groups orders rows, since a row that teaches one form of what is asked about says nothing of others
`tracin` has gradients of its own at each checkpoint. Scores of groups of targets give intervals.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, Protocol

import numpy as np

from radiograph.evidence.influence import PointRecord, ProjectionRecord

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from radiograph.core import Context
    from radiograph.harvest.gradients import Curvature, GradientEngine, Projection
    from radiograph.methods._blame.rows import Data
    from radiograph.methods._blame.targets import Targets
    from radiograph.models import LanguageModel, Pair
    from radiograph.models.gradients import Tracked


COMPARED = 128
"""Rows on which the point and the end of the path are compared."""
TINY = float(np.finfo(np.float32).tiny)


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
    at: float
    """Where on the path gradients are taken."""
    rank: Literal["relative", "score"]
    seed: int


@dataclass(eq=False)
class Scored:
    """Scores [row, 1 + group] of each method, all targets first; rows in the order of gradients."""

    scores: dict[str, np.ndarray]
    norms: np.ndarray
    projection: Projection
    compared: ProjectionRecord | None
    source: Source
    lengths: dict[str, np.ndarray] = field(default_factory=dict)
    """‖v‖ of all targets and of each group."""
    energies: dict[str, np.ndarray] = field(default_factory=dict)
    """⟨g, H⁻¹g⟩ of each row."""
    directions: dict[str, np.ndarray] = field(default_factory=dict)
    """h of all targets, for token scores."""
    point: PointRecord | None = None

    def relative(self, method: str) -> np.ndarray:
        """Relative scores [row, group]."""
        from radiograph.numerics.influence import relative

        return relative(self.scores[method], self.energies[method], self.lengths[method])[:, 1:]

    def order(self, method: str, rank: str) -> np.ndarray:
        """What rows are ordered by."""
        return self.scores[method][:, 0] if rank == "score" else self.relative(method).max(1)


def scored(
    stack: ExitStack,
    ctx: Context,
    pair: Pair,
    matrices: Sequence[Tracked],
    data: Data,
    targets: Targets,
    options: Options,
    folder: Path | None,
    facts: dict[str, Any],
) -> Scored:
    """Gradients and scores of every method but tracin; weights and hooks stay until `stack` closes.

    Raises:
        Refusal: the projection is unfaithful, the path unknown. UserError: a value that is not finite.
    """
    from radiograph.harvest.gradients import Recomputed, gradient_engine, gradient_index, write_gradients
    from radiograph.methods._blame.gradients import chosen_projection, dots, few, spread, target_gradients
    from radiograph.models.gradients import on_path

    with ctx.measure("projection"):
        with on_path(pair, options.at) as model:
            projection, compared = chosen_projection(model, matrices, data, targets, options)
        some = spread(data, COMPARED)
        rows = [row.learned for row in data.rows]
        end = dots(pair.candidate, projection, [rows[i] for i in some], targets, options) if options.at != 1 else None
    stack.enter_context(on_path(pair, options.at))
    with gradient_engine(model, projection, reduction="sum") as engine:
        v = target_gradients(engine, targets)
    engine = stack.enter_context(gradient_engine(model, projection, reduction=options.reduction))
    source: Source
    with ctx.measure("gradients", tokens=sum(len(ids) for ids, _ in rows)):
        if folder is None:
            step = min(options.shard_rows, few(projection.layout.size))
            source = Recomputed(engine, rows, step, ctx.progress)
        else:
            index = gradient_index(engine, rows, {**facts, "at": options.at}, options.shard_rows)
            source = write_gradients(engine, rows, index, folder, ctx.progress)
    made = Scored({}, np.empty(0), projection, compared, source)
    with ctx.measure("influence"):
        _all_methods(made, v, engine, rows, options, ctx)
    made.point = _point(options.at, end, made.scores["dot"][some, 0])
    return made


def _point(at: float, end: np.ndarray | None, here: np.ndarray) -> PointRecord:
    from radiograph.numerics.audit.stability import spearman

    return PointRecord(at=at, end=None if end is None else spearman(here, end), rows=len(here))


def _all_methods(
    made: Scored, v: np.ndarray, engine: GradientEngine, rows: Sequence[Any], options: Options, ctx: Context
) -> None:
    """Directions of every method, one sweep for all products, and what makes scores relative."""
    from radiograph.harvest.gradients import curvature
    from radiograph.numerics.influence import damping, datainf_direction, products, relative

    layout, source = made.projection.layout, made.source
    directions: dict[str, np.ndarray] = {"dot": v}
    curved = None
    if "datainf" in options.methods:
        sizes = np.array([m.shape[0] * m.shape[1] for m in made.projection.matrices])
        strength = damping(source.mean_squares, sizes)
        directions["datainf"], made.energies["datainf"] = datainf_direction(source.blocks, v, layout, strength)
    if "ekfac" in options.methods:
        with ctx.progress.task("curvature", 2 * len(rows)) as task:
            curved = curvature(engine, rows, fisher=options.fisher, seed=options.seed, advance=task.advance)
        directions["ekfac"] = curved.direction(v)
    found, made.norms = products(source.blocks, np.concatenate(list(directions.values())))
    length = np.linalg.norm(v, axis=1)
    for number, (name, direction) in enumerate(directions.items()):
        made.scores[name] = found[:, number * len(v) : (number + 1) * len(v)]
        made.directions[name] = direction[0]
        made.lengths[name] = length
    made.energies["dot"] = np.square(made.norms)
    if curved is not None:
        made.energies["ekfac"] = energies(curved, source)
    if "cosine" in options.methods:
        ones = np.ones(len(made.norms))
        made.scores["cosine"] = relative(made.scores["dot"], made.energies["dot"], length)
        made.directions["cosine"] = v[0] / max(float(length[0]), TINY)
        made.energies["cosine"], made.lengths["cosine"] = ones, np.ones(len(v))


def energies(curved: Curvature, source: Source) -> np.ndarray:
    """⟨g, H⁻¹g⟩ of every row: a sweep."""
    return np.concatenate([curved.energy(block) for block in source.blocks()])


def by_matrix(made: Scored, method: str, wanted: np.ndarray) -> tuple[dict[str, float], ...]:
    """The parts of the scores of some rows, matrix by matrix; none for tracin."""
    from radiograph.numerics.influence import parts_of

    if method not in made.directions:
        return ({},) * len(wanted)
    rows = made.source.rows(wanted)
    if method == "cosine":
        rows = rows / np.maximum(made.norms[wanted], TINY)[:, None].astype(np.float32)
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
