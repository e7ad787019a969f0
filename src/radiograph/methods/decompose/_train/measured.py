"""What `decompose train` measures of a decomposition, and the tables from which it concludes.

tables/training.parquet      every evaluation on held-out batches
tables/components.parquet    a component a row: firings, importance, strength, over held-out positions
tables/masks.parquet         a document (or row) and condition a row: sums of KL and cross-entropy
tables/recovery.parquet      toys: importance of every component on every one-hot input
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from radiograph.core import derive
from radiograph.methods.decompose._train.conclude import masks_of, weights_of
from radiograph.methods.decompose._train.result import Adversarial, Recovered, UnderMasks, WeightFound

if TYPE_CHECKING:
    from radiograph.decompose import Decomposition
    from radiograph.decompose.training import LogRow
    from radiograph.methods.decompose._train.job import Job

BATCHES = 8
DRAWS = 100
"""Random decompositions that give the chance level."""


@dataclass(frozen=True)
class Measured:
    """Everything that stands in the result beside the settings."""

    weights: tuple[WeightFound, ...]
    masks: tuple[UnderMasks, ...]
    adversarial: Adversarial
    recovered: tuple[Recovered, ...]
    positions: int
    documents: int
    histogram: dict[str, list[int]]


def measure(job: Job, decomposition: Decomposition) -> Measured:
    """Measure on held-out batches, and write the tables."""
    import torch

    from radiograph.decompose.metrics import attacked, firing, masked_rows

    target, output = job.target, job.ctx.output
    counts, positions = firing(decomposition, target, job.batches(BATCHES), job.threshold)
    faithful = {w: _unfaithful(decomposition, target, w) for w in decomposition.weights}
    components: dict[str, list[Any]] = {n: [] for n in ("component", "weight", "firings", "importance", "largest")}
    components |= {"strength": [], "positions": []}
    for weight, own in counts.items():
        size = decomposition.sizes[weight]
        components["component"] += [f"{weight}:{i}" for i in range(size)]
        components["weight"] += [weight] * size
        components["firings"] += own.firings.tolist()
        components["importance"] += (own.importance / positions).tolist()
        components["largest"] += own.largest.double().tolist()
        components["strength"] += (own.strength / positions).tolist()
        components["positions"] += [positions] * size
    output.table("components", components)
    generator = torch.Generator().manual_seed(derive(job.settings.seed, "decompose", "metrics"))
    rows = masked_rows(decomposition, target, job.batches(BATCHES), generator, threshold=job.threshold)
    stored = {name: [getattr(row, name) for row in rows] for name in asdict(rows[0])}
    output.table("masks", stored)
    generator.manual_seed(derive(job.settings.seed, "decompose", "adversary"))
    batch = next(job.batches(1))
    found = attacked(decomposition, target, batch, job.settings.distance, generator)
    over = found.adversarial / found.mean_random if found.mean_random > 0 else None
    return Measured(
        weights_of(components, faithful),
        masks_of(stored, job.settings.seed),
        Adversarial(
            value=found.adversarial,
            best_random=found.best_random,
            mean_random=found.mean_random,
            over_random=over,
            steps=found.steps,
            draws=found.draws,
            freedom=found.freedom,
            rows=found.rows,
        ),
        _recovered(job, decomposition),
        positions,
        len(set(stored["row"])),
        {weight: [int(n) for n in own.histogram.tolist()] for weight, own in counts.items()},
    )


def training_columns(log: tuple[LogRow, ...]) -> dict[str, list[Any]]:
    """The log as a table."""
    found: dict[str, list[Any]] = {"step": [row.step for row in log], "total": [row.total for row in log]}
    for name in log[0].losses:
        found[f"loss/{name}"] = [row.losses[name] for row in log]
    for weight in log[0].active:
        found[f"active/{weight}"] = [row.active[weight] for row in log]
    return found


def _unfaithful(decomposition: Decomposition, target: Any, weight: str) -> float:
    delta, matrix = decomposition.delta(target, weight), target.matrix(weight)
    return float(delta.square().sum() / matrix.float().square().sum())


def _recovered(job: Job, decomposition: Decomposition) -> tuple[Recovered, ...]:
    from radiograph.decompose import make
    from radiograph.decompose.metrics import importance_matrix, recovered
    from radiograph.decompose.training import started, untrained

    truth = job.truth()
    if not truth or job.toy is None:
        return ()
    features = job.toy.recipe.features
    settings = job.settings
    before = make(
        job.target, *started(job.target, job.data.batch(0, max(settings.batch, 64)), settings), squash=settings.squash
    )
    matrices = importance_matrix(decomposition, job.target, features)
    start = importance_matrix(before, job.target, features)
    _write_matrices(job, {"trained": matrices, "start": start})
    found = recovered(
        job.target,
        matrices,
        decomposition.factors,
        truth,
        at_start=(start, before.factors),
        random=lambda number: untrained(job.target, settings, number),
        draws=DRAWS,
    )
    return tuple(
        Recovered(
            address=own.weight,
            parts=own.parts,
            fewest=own.fewest,
            pattern=own.pattern,
            live=own.live,
            errors=own.errors,
            errors_loose=own.errors_loose,
            exact=own.exact,
            live_start=own.live_start,
            errors_start=own.errors_start,
            **(asdict(own.columns) if own.columns is not None else {}),
            **{n: getattr(own, n) for n in ("mmcs_start", "ml2r_start", "mmcs_random", "ml2r_random")},
        )
        for own in found
    )


def _write_matrices(job: Job, several: Mapping[str, Mapping[str, Any]]) -> None:
    columns: dict[str, list[Any]] = {n: [] for n in ("when", "weight", "feature", "component", "importance")}
    for when, matrices in several.items():
        for weight, matrix in matrices.items():
            for feature, row in enumerate(matrix.double().tolist()):
                columns["when"] += [when] * len(row)
                columns["weight"] += [weight] * len(row)
                columns["feature"] += [feature] * len(row)
                columns["component"] += range(len(row))
                columns["importance"] += row
    job.ctx.output.table("recovery", columns)
