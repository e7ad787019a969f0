"""Train a sparse dictionary on activations that `harvest` left.

1. read rows of one or several sources, scaled to variance = width; start from random unit directions and the
   geometric median
2. minimise the share of variance missed, under a limit on active features: topk (Gao et al. 2024), batchtopk and
   matryoshka (Bussmann et al. 2024, 2025), jumprelu and gated (Rajamanoharan et al. 2024), relu; as an autoencoder,
   a transcoder, or a crosscoder over models and layers (Lindsey et al. 2024)
3. measure on `validation` rows, which share no prompt group with those of training: FVU, L0, dead and dense features,
   beside a random dictionary of the same size and sparsity; with a model, what splicing costs, and a record on neutral
   texts, without which `audit` does not accept a dictionary
4. write the dictionary (`dictionary/` in the bundle), bound to the models' hashes

Units: FVU is a share of the variance, CE in nats per token. The same activations, options, seed, threads and workers
give the same bytes; so does a run that was killed and resumed. Refuses when: a source is missing, constant or not
finite, or sizes do not fit. A dictionary worse than the mean (FVU >= 1) is not kept, and exits 2. Runs on CPUs.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field

from radiograph.core import Config as Base
from radiograph.core import Context, DictionaryRef, FolderPath, ModelRef, RunPath
from radiograph.core.sizes import Count
from radiograph.methods.dictionary._job import Job, prepare
from radiograph.methods.dictionary._measured import measure
from radiograph.methods.dictionary._trained import (
    CautionRecord,
    CurvePoint,
    DictionaryTraining,
    Sibling,
    TargetQuality,
    TrainedModel,
)

if TYPE_CHECKING:
    from radiograph.dictionaries import Dictionary, Quality
    from radiograph.dictionaries.training import LogRow

CURVE_POINTS = 100


class Config(Base):
    """On which activations, what, and for how long."""

    activations: FolderPath
    """A run of `harvest`, or its folder of activations."""
    preset: Literal["minimal", "production"] = "minimal"
    """What is not given below: minimal is topk, 4 x width, k 16, batch 1024, 1M rows; production is batchtopk, 16 x
    width, k 32, batch 4096, every row once, averaged weights."""
    kind: Literal["sae", "transcoder", "crosscoder"] = "sae"
    """What is read and written: one site, one site and another, several sources."""
    activation: Literal["topk", "batchtopk", "jumprelu", "relu", "gated"] | None = None
    """What limits the active features; batchtopk ends as jumprelu."""
    input: str | None = None
    """Source that is read, [ROLE/]SITE; needed where there are several."""
    target: str | None = None
    """Source that a transcoder writes."""
    sources: tuple[str, ...] = ()
    """Sources of a crosscoder; by default all of them. A plain site means that of every model."""
    skip: bool = False
    """Give a transcoder a dense path from input to target."""
    matryoshka: str | None = None
    """Widths at which the first features must reconstruct alone, the last all of them: 256,1024,4096."""
    size: Count | None = None
    """Number of features."""
    expansion: int | None = Field(default=None, ge=1)
    """The same as a multiple of the width that is read."""
    k: int | None = Field(default=None, ge=1)
    """Active features a row: at most (topk), on average (batchtopk)."""
    l0: float | None = Field(default=None, gt=0)
    """Mean active features that jumprelu is held to."""
    sparsity: float | None = Field(default=None, gt=0)
    """Weight of the sparsity term of jumprelu, relu and gated."""
    tokens: str | int | None = None
    """Rows trained on, repeats included, as 500k or 50M; `all` is every training row once."""
    batch: Count | None = None
    """Rows a step, all workers together."""
    learning_rate: float | None = Field(default=None, gt=0)
    """Peak learning rate; by default 2e-4 x sqrt(16384 / features), in preset minimal 1e-3."""
    dead_after: Count | None = None
    """Silent rows after which a feature is dead."""
    auxiliary: float | None = Field(default=None, ge=0)
    """Weight of the loss that revives dead features (topk, batchtopk)."""
    resample: bool = False
    """Start dead features again from rows with a large error (relu, gated)."""
    k_anneal: float | None = Field(default=None, ge=0, lt=1)
    """Share of the run over which k falls from four times its value."""
    ema: float | None = Field(default=None, ge=0, lt=1)
    """Decay of the running average of the weights that is kept; 0 keeps the last ones."""
    precision: Literal["fp32", "fp64"] = "fp32"
    """Type of the arithmetic."""
    init_from: DictionaryRef | None = None
    """Go on from a dictionary of the same kind, sources and size."""
    require_rows: bool = False
    """Exit 2 if there are fewer than ten training rows a feature, instead of a caution."""
    seeds: int = Field(default=1, ge=1, le=8)
    """Dictionaries to train, with consecutive seeds; the first is compared with the others."""
    model: ModelRef | None = None
    """The model that was harvested: measures what an audit checks, and with data what splicing costs."""
    data: tuple[str, ...] = ()
    """The texts that were harvested; those of the validation split are spliced."""
    workers: str = "1"
    """1, N processes here, or ray[:N]; each takes its part of every batch."""
    resume: RunPath | None = None
    """An unfinished run (.partial) of the same training, to go on from its last checkpoint."""
    checkpoint_minutes: float = Field(default=10.0, ge=0)
    """Minutes between checkpoints."""
    keep_checkpoints: bool = False
    """Keep them in the finished run."""
    track: str | None = None
    """Mirror the log to tensorboard, wandb or trackio; all write to a local folder."""
    track_to: FolderPath = "tracking"
    """That folder, in the workspace."""


def run(config: Config, ctx: Context) -> DictionaryTraining:
    """Train, measure, save."""
    from radiograph import dictionaries
    from radiograph.dictionaries.training import WorseThanMean, columns

    job = prepare(config, ctx)
    if ctx.device != "cpu":
        ctx.progress.say(f"the dictionary is trained on the CPU; {ctx.device} runs the model alone")
    model = ctx.model(config.model, "model") if config.model else None
    job.require(model)
    with ctx.measure("train", tokens=job.rows):
        try:
            trained = job.train()
        except WorseThanMean as failure:
            ctx.output.table("training", columns(failure.log))
            job.close()
            assert failure.quality is not None
            return _result(job, failure.quality, failure.log, sha256=None)
    ctx.output.table("training", columns(trained.log))
    with ctx.measure("evaluate"):
        measured = measure(job, trained.dictionary, model)
    dictionary = measured.dictionary
    dictionaries.save(dictionary, ctx.output.folder("dictionary"))
    siblings = tuple(_sibling(job, dictionary, number) for number in range(1, config.seeds))
    job.close()
    assert dictionary.metadata.quality is not None
    return _result(
        job,
        dictionary.metadata.quality,
        trained.log,
        sha256=dictionary.hash,
        fvu_random=measured.fvu_random,
        targets=tuple(
            TargetQuality(source=source, width=width, fvu=fvu)
            for source, width, fvu in zip(dictionary.targets, dictionary.target_widths, trained.target_fvu, strict=True)
        ),
        ce_recovered_zero=measured.recovered_zero,
        ce_recovered_mean=measured.recovered_mean,
        delta_ce=dictionary.metadata.quality.delta_ce,
        ce_not_measured=measured.missing,
        cautions=tuple(CautionRecord(code=c.code, text=c.text) for c in trained.cautions),
        siblings=siblings,
    )


def _result(job: Job, quality: Quality, log: tuple[LogRow, ...], **rest: Any) -> DictionaryTraining:
    where, settings, index = job.places, job.settings, job.activations.index
    return DictionaryTraining(
        kind=where.kind,
        activation=settings.activation,
        models=tuple(
            TrainedModel(role=m.role, reference=m.reference, tensors_sha256=m.sha256)
            for m in index.models
            if m.role in where.roles
        ),
        sites=where.sites,
        size=settings.features(where.input_widths[0]),
        width=sum(where.input_widths),
        skip=settings.skip,
        prefixes=settings.matryoshka,
        active=settings.active or None,
        sparsity=settings.strength or None,
        preset=settings.preset,
        seed=settings.seed,
        begun_with=job.begin_with.hash if job.begin_with is not None else None,
        precision=settings.precision,
        workers=job.workers.count,
        training_rows=job.activations.count("train"),
        rows=job.rows,
        steps=job.rows // settings.batch,
        batch=settings.batch,
        learning_rate=settings.rate(settings.features(where.input_widths[0])),
        dead_after=settings.patience(job.activations.count("train")),
        index_sha256=index.sha256,
        split_salt=index.split_salt,
        fvu=quality.fvu,
        l0=quality.l0,
        dead=quality.dead,
        dense=quality.dense,
        n=quality.n_rows,
        curve=_curve(log),
        **{"fvu_random": None, "targets": (), **rest},
    )


def _curve(log: tuple[LogRow, ...]) -> tuple[CurvePoint, ...]:
    """Every validation, and as many other steps as a figure can show."""
    stride = max(1, len(log) // CURVE_POINTS)
    names = CurvePoint.model_fields
    return tuple(
        CurvePoint.model_validate({name: getattr(row, name) for name in names})
        for number, row in enumerate(log)
        if number % stride == 0 or row.fvu is not None
    )


def _sibling(job: Job, first: Dictionary, number: int) -> Sibling:
    """Another seed, saved beside the first and compared with it."""
    from radiograph import dictionaries
    from radiograph.numerics.dictionaries.agreement import seed_agreement

    trained = job.train(number)
    other, quality = trained.dictionary, trained.dictionary.metadata.quality
    folder = f"dictionary-seed-{job.settings.seed + number}"
    dictionaries.save(other, job.ctx.output.folder(folder))
    tensors = (t.float().cpu().numpy() for d in (first, other) for t in (d.decoder, d.encoder))
    agreement = seed_agreement(*tensors, seed=job.settings.seed)
    assert quality is not None
    return Sibling(
        seed=job.settings.seed + number,
        folder=folder,
        sha256=other.hash,
        fvu=quality.fvu,
        l0=quality.l0,
        n=agreement.n,
        shared=agreement.shared / agreement.n,
        shared_null=agreement.null_shared / agreement.n,
    )
