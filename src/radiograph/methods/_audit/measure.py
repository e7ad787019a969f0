"""Measure many candidates, one after the other or in several processes, so that a killed run goes on.

Each candidate's scores are a small file in a folder of its own, named by a hash of everything that decides them (the
binding, the candidate's tensors): what is there is not measured again, whoever asks.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np

from radiograph.core import Context, Refusal, UserError
from radiograph.core.work.process import spread
from radiograph.evidence import Binding, CalibrationModel, canonical_json, document_sha256
from radiograph.methods._audit.benign import Benign
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


@dataclass(frozen=True)
class Measured:
    """What is kept of one candidate."""

    model: CalibrationModel
    flips: dict[str, float]
    summaries: dict[str, np.ndarray]
    seconds: float
    tokens: int


def measure_all(
    plan: Plan, reference: str, models: Sequence[Benign], binding: Binding, ctx: Context, workers: int = 1
) -> list[Measured]:
    """Every model, in order; those measured before are read."""
    folder = state_folder(ctx, binding)
    paths = [folder / f"{document_sha256([binding.model_dump(), m.tensors_sha256, m.kind])[:24]}.json" for m in models]
    jobs = [
        Job(plan, reference, model, path, ctx.device, ctx.offline)
        for model, path in zip(models, paths, strict=True)
        if not path.is_file()
    ]
    with ctx.progress.task("measuring benign models", total=len(models)) as task:
        task.advance(len(models) - len(jobs))
        began = time.perf_counter()
        for done, (place, seconds) in enumerate(spread(measure_one, jobs, workers), 1):
            rest = (time.perf_counter() - began) / done * (len(jobs) - done)
            task.advance()
            task.note(f"{jobs[place].candidate.name} {seconds:.0f} s, {rest / 60:.0f} min to go")
    return [_whole(read(path, model)) for path, model in zip(paths, models, strict=True)]


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
            f"benign model {job.candidate.name} reads text otherwise than the reference: {error.message}",
            fix="leave it out",
            code=error.code,
        ) from error
    # As an audit runs: products of small models are too small to share out among threads.
    small = sum(p.numel() for p in pair.reference.parameters().values()) < SMALL_MODEL
    with threadpool_limits(1 if small else None):
        found = examine(job.plan.measurement(pair, _dictionary(job.plan.dictionary, job.plan.dictionary_sha256)))
    seconds = time.perf_counter() - began
    sha256 = pair.candidate.identity.tensors_sha256
    document = {
        "model": found.model(job.candidate.name, job.candidate.family, job.candidate.kind, sha256).model_dump(),
        "flips": found.flips,
        "summaries": {
            name: {"shape": list(a.shape), "values": a.ravel().tolist()} for name, a in found.summaries.items()
        },
        "seconds": seconds,
        "tokens": found.tokens,
    }
    part = job.path.with_suffix(f".{os.getpid()}.partial")
    part.write_bytes(canonical_json(document))
    part.replace(job.path)
    return seconds


def read(path: Path, model: Benign) -> Measured:
    """One file; name and family are those asked for now."""
    document = json.loads(path.read_bytes())
    kept = CalibrationModel.model_validate(document["model"])
    return Measured(
        model=kept.model_copy(update={"id": model.name, "family": model.family}),
        flips=document["flips"],
        summaries={
            name: np.array(own["values"], dtype=np.float32).reshape(own["shape"])
            for name, own in document["summaries"].items()
        },
        seconds=document["seconds"],
        tokens=document["tokens"],
    )


@lru_cache(maxsize=1)
def _dictionary(folder: str | None, sha256: str | None):  # noqa: ANN202 - a Dictionary; the hash, because files change
    del sha256
    from radiograph import dictionaries

    return None if folder is None else dictionaries.load(Path(folder))
