"""Measure benign and degraded models, one after the other or in several processes.

A candidate's file is named by the binding and its tensors: what is there is not measured again, whoever asks.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from radiograph.core import Context, FormatError, Refusal, UserError
from radiograph.evidence import Axis, Binding, CalibrationModel, document_sha256
from radiograph.methods._audit.benign import Benign, Kind
from radiograph.methods._audit.kept import dictionary_at, measure_missing, read_file, write_file
from radiograph.methods._audit.plan import Plan

SMALL_MODEL = 5_000_000
"""Parameters, as in `runtime`."""


@dataclass(frozen=True)
class Job:
    """One candidate to measure; can be sent to another process."""

    plan: Plan
    reference: str
    candidate: Benign
    path: Path
    device: str
    offline: bool

    @property
    def name(self) -> str:
        """As the user knows it."""
        return self.candidate.name


@dataclass(frozen=True)
class Measured:
    """What is kept of one candidate."""

    model: CalibrationModel
    flips: dict[str, float]
    summaries: dict[str, np.ndarray]
    seconds: float
    tokens: int
    degraded: Axis | None = None
    """Whether the capability panel says that it lost abilities."""


def measure_all(
    plan: Plan,
    reference: str,
    models: Sequence[Benign],
    binding: Binding,
    ctx: Context,
    workers: int = 1,
    kind: Kind = "benign",
) -> list[Measured]:
    """Every model, in order; those measured before are read."""
    folder = state_folder(ctx, binding)
    paths = [folder / f"{document_sha256([binding.model_dump(), m.tensors_sha256, m.kind])[:24]}.json" for m in models]
    jobs = [
        Job(plan, reference, model, path, ctx.device, ctx.offline) for model, path in zip(models, paths, strict=True)
    ]
    measure_missing(jobs, measure_one, ctx, workers, f"{kind} models")
    found = [read(path, model) for path, model in zip(paths, models, strict=True)]
    return list(map(_whole, found)) if kind == "benign" else found


def _whole(measured: Measured) -> Measured:
    """What every audit will ask of a benign model: without its coordinates no candidate could be placed among them.

    Raises:
        UserError: a coordinate could not be measured.
    """
    from radiograph.detectors import COORDINATES

    known = {*measured.model.nuisance, "adapter"}
    missing = [name for name in COORDINATES if name not in known]
    if missing:
        raise UserError(
            f"benign model {measured.model.id} is no fine-tune that can be compared: no {', '.join(missing)}",
            expected="the reference's shapes and tokenizer, and neutral texts",
            fix="leave it out, or pass --neutral FILE",
            code="not_comparable",
        )
    return measured


def state_folder(ctx: Context, binding: Binding) -> Path:
    """Where measurements of one binding lie: a cache, outside every bundle."""
    folder = ctx.place(f".radiograph/calibrate/{document_sha256(binding)[:16]}")
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def measure_one(job: Job) -> float:
    """Measure a candidate and write its file; returns the seconds it took."""
    from threadpoolctl import threadpool_limits

    from radiograph import models, organisms
    from radiograph.detectors import examine

    began = time.perf_counter()
    pair = models.load_pair(
        job.reference,
        job.candidate.reference,
        device=job.device,
        offline=job.offline,
        resolve=organisms.bundled_path,
    )
    try:
        pair.check_tokenizers()
    except Refusal as error:
        raise UserError(
            f"{job.name} reads text otherwise than the reference: {error.message}",
            fix="leave it out",
            code=error.code,
        ) from error
    # As an audit runs: products of small models are too small to share out among threads.
    small = sum(p.numel() for p in pair.reference.parameters().values()) < SMALL_MODEL
    with threadpool_limits(1 if small else None):
        measurement = job.plan.measurement(pair, dictionary_at(job.plan.dictionary, job.plan.dictionary_sha256))
        found = examine(measurement)
    seconds = time.perf_counter() - began
    sha256 = pair.candidate.identity.tensors_sha256
    try:
        degraded = measurement.panel.axis
    except Refusal:
        degraded = None
    document = {
        "model": found.model(job.name, job.candidate.family, job.candidate.kind, sha256).model_dump(),
        "flips": found.flips,
        "degraded": degraded,
        "seconds": seconds,
        "tokens": found.tokens,
    }
    write_file(job.path, document, found.summaries)
    return seconds


def read(path: Path, model: Benign) -> Measured:
    """One file; name and family are those asked for now."""
    document, summaries = read_file(path)
    try:
        kept = CalibrationModel.model_validate(document["model"])
        return Measured(
            model=kept.model_copy(update={"id": model.name, "family": model.family}),
            flips=document["flips"],
            summaries=summaries,
            seconds=document["seconds"],
            tokens=document["tokens"],
            degraded=document.get("degraded"),
        )
    except (KeyError, ValueError) as error:
        raise FormatError(f"{path.name} holds no scores", where=path.name, got=str(error), fix="delete it") from error
