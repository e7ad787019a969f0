"""Write matrices of a model as sums of rank-one components, and learn which of them each token needs.

1. components V (reads), U (writes) of every chosen weight; what they leave, Δ = W − (VU)ᵀ, is one more part: all parts
   together are the model   2. an importance function judges from the target's own activations which components a
   position needs   3. training: few are needed (`minimality`), and the others may be masked at random, or by an
   adversary, without changing the output (`recon`, `adversarial_recon`, `persistent`)
4. measured on inputs that no step saw: components alive and per position, what is left of the target under six kinds of
   masks, the worst masks an adversary finds; for toys the known truth, each number beside its chance level
5. `--restarts N` keeps the run with the lowest held-out loss; truth never selects

Source: attribution-based and stochastic parameter decomposition (2025), adversarial parameter decomposition (2026).
Units: KL and cross-entropy in nats per position; intervals resample documents. The same options, seed and threads give
the same bytes; so does a run that was killed and resumed. Refuses when: a weight is unknown, chosen twice, quantised or
tied to another; a loss is not finite. Importance masks that are no better than zero masks exit 2.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field

from radiograph.core import Config as Base
from radiograph.core import Context, Input, ModelRef, RunPath
from radiograph.methods.decompose._train import conclude
from radiograph.methods.decompose._train.job import Job, prepare
from radiograph.methods.decompose._train.result import CurvePoint, DecompositionTraining, Restart

if TYPE_CHECKING:
    from radiograph.decompose import Decomposition
    from radiograph.decompose.training import Trained
    from radiograph.methods.decompose._train.measured import Measured

DataRef = Annotated[str, Input("file")]
CURVE_POINTS = 100


class Config(Base):
    """Which model, which of its weights, and how."""

    model: ModelRef
    """A language model, or a toy: bundled:tms-5-2, bundled:tms-10-5, bundled:tms-40-10, bundled:resid-mlp-1, …"""
    preset: str | None = None
    """What is not given below; by default that of the toy, or lm."""
    weights: tuple[str, ...] = ()
    """GLOB=C: weights to decompose and into how many components, as 'down.*=512'."""
    identity: tuple[str, ...] = ()
    """WEIGHT=C: an identity put in front of a weight and decomposed, as up.0=20."""
    tie: bool = False
    """Decompose both uses of one stored matrix, each by itself."""
    importance: str | None = None
    """scalar, vector, shared or global, with options as shared:hidden=64."""
    squash: str | None = None
    """leaky_hard, sigmoid, hard, leaky or swish_hard."""
    loss: tuple[str, ...] = ()
    """NAME:WEIGHT[,key=value]; replaces the losses of the preset."""
    start: Literal["data", "spread", "random"] | None = None
    """Where components begin: at inputs of the data (data), at inputs far from each other (spread), or at random."""
    restarts: int = Field(default=1, ge=1, le=32)
    """Trainings with consecutive seeds; the one with the lowest held-out loss is kept."""
    data: tuple[DataRef, ...] = ()
    """Texts for a language model: FILE.jsonl[.gz], FILE.parquet, FILE.txt, world:DOMAIN[:SPLIT]#N, hf:…"""
    length: int | None = Field(default=None, ge=2)
    """Most tokens of a row."""
    steps: int | None = Field(default=None, ge=1)
    """Steps of training."""
    batch: int | None = Field(default=None, ge=1)
    """Rows a step; of texts, about this many rows of `--length` tokens."""
    learning_rate: float | None = Field(default=None, gt=0)
    """Its peak."""
    schedule: Literal["flat_cosine", "cosine", "constant"] | None = None
    """How it falls: flat_cosine is flat for 60 % of the steps."""
    warmup_steps: int | None = Field(default=None, ge=0)
    """Steps on faithfulness alone, before."""
    clip_components: float | None = Field(default=None, ge=0)
    """Norm to which gradients of components are cut; 0 is off."""
    clip_nets: float | None = Field(default=None, ge=0)
    """Norm to which gradients of the importance function are cut; 0 is off."""
    eval_every: int | None = Field(default=None, ge=1)
    """Steps between evaluations on held-out rows, and between checkpoints."""
    precision: Literal["fp32", "bf16", "fp64"] | None = None
    """Type of the arithmetic."""
    stored: Literal["F16", "F32"] = "F32"
    """Type of the stored factors; Δ takes up the rounding."""
    threshold: float | None = Field(default=None, ge=0, lt=1)
    """Importance above which a component counts as firing; by default 0, of toys 0.1."""
    resume: RunPath | None = None
    """An unfinished run (.partial) of the same training, to go on from its last checkpoint."""
    keep_checkpoints: bool = False
    """Keep them in the finished run."""


def run(config: Config, ctx: Context) -> DecompositionTraining:
    """Train, keep the best, measure, save."""
    from radiograph import decompose
    from radiograph.methods.decompose._train.measured import measure, training_columns

    job = prepare(config, ctx)
    with ctx.measure("train", tokens=job.settings.steps * job.settings.batch):
        trained = [job.train(number) for number in range(config.restarts)]
    best = min(range(len(trained)), key=lambda number: trained[number].held_out)
    decomposition = _made(job, trained[best], best)
    ctx.output.table("training", training_columns(trained[best].log))
    with ctx.measure("evaluate"):
        measured = measure(job, decomposition)
    final = decompose.make(
        job.target,
        decomposition.factors,
        decomposition.importance,
        squash=job.settings.squash,
        trained=decomposition.document.trained,
        metrics=_summary(measured),
        stored=config.stored,
    )
    decompose.save(final, ctx.output.folder("decomposition"))
    job.close()
    return _result(job, final, measured, trained, best)


def recompute(result: dict[str, Any], folder: Path) -> list[str]:
    """What of the result does not follow from the tables."""
    return conclude.recompute(result, folder)


def _made(job: Job, trained: Trained, number: int) -> Decomposition:
    from radiograph.decompose import make
    from radiograph.evidence.decomposition import TrainedBy

    settings = job.settings
    return make(
        job.target,
        trained.factors,
        trained.importance,
        squash=settings.squash,
        trained=TrainedBy(
            how="decompose train",
            preset=job.preset,
            start=settings.start,
            steps=settings.steps,
            seed=settings.seed + number,
            losses=_losses(job),
            data=job.sources,
            settings=settings.model_dump(mode="json", exclude={"losses", "seed", "steps", "start"}),
        ),
        signs=trained.signs,
        stored=job.config.stored,
    )


def _losses(job: Job) -> dict[str, Any]:
    from radiograph.decompose.losses import parse

    return {loss.name: loss.record for loss in map(parse, job.settings.losses)}


def _summary(measured: Measured) -> dict[str, Any]:
    """What the decomposition's own document says of its quality."""
    return {
        "positions": measured.positions,
        "alive": sum(w.alive for w in measured.weights),
        "l0": sum(w.l0 for w in measured.weights),
        "distance": {m.condition: m.distance.value for m in measured.masks},
        "unrecovered": {m.condition: m.unrecovered.value for m in measured.masks if m.unrecovered is not None},
        "adversarial": measured.adversarial.value,
        "random": measured.adversarial.mean_random,
    }


def _result(
    job: Job, decomposition: Decomposition, measured: Measured, trained: list[Trained], best: int
) -> DecompositionTraining:
    from radiograph.methods.decompose._train.measured import DRAWS

    settings, log = job.settings, trained[best].log
    stride = max(1, len(log) // CURVE_POINTS)
    return DecompositionTraining(
        target=job.target.name,
        target_sha256=job.target.sha256,
        sha256=decomposition.sha256,
        preset=job.preset,
        importance=settings.importance,
        start=settings.start,
        steps=settings.steps,
        batch=settings.batch,
        losses=_losses(job),
        seed=settings.seed,
        components=decomposition.size,
        alive=sum(w.alive for w in measured.weights),
        l0=sum(w.l0 for w in measured.weights),
        threshold=job.threshold,
        positions=measured.positions,
        documents=measured.documents,
        weights=measured.weights,
        masks=measured.masks,
        adversarial=measured.adversarial,
        recovered=measured.recovered,
        random_decompositions=DRAWS if measured.recovered else 0,
        restarts=tuple(
            Restart(seed=settings.seed + n, held_out=own.held_out, kept=n == best) for n, own in enumerate(trained)
        ),
        curve=tuple(
            CurvePoint(step=row.step, total=row.total, losses=row.losses, active=sum(row.active.values()))
            for n, row in enumerate(log)
            if n % stride == 0 or n == len(log) - 1
        ),
        importance_beats_zero=conclude.beats_zero(measured.masks),
    )
