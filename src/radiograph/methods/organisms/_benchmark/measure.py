"""Measure every organism once.

A file is named by a hash of everything that decides the scores: protocol, binding, the candidate's tensors and kind. It
tells nothing of what the organism is, and holds no weights.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import numpy as np

from radiograph.core import Context, FormatError, Refusal, UserError, derive
from radiograph.evidence import ModelKind, document_sha256
from radiograph.evidence.benchmark import Lead, Scored
from radiograph.methods._audit.kept import dictionary_at, measure_missing, read_file, write_file
from radiograph.methods._audit.plan import Plan

if TYPE_CHECKING:
    from radiograph.detectors import Measurement
    from radiograph.evidence.benchmark._scored import LeadSource

Found = TypeVar("Found")
INSERTIONS = 20
WORDS = 5
RANDOM = 8


@dataclass(frozen=True)
class Job:
    """One candidate; can be sent to another process."""

    name: str
    reference: str
    candidate: str
    kind: ModelKind
    tensors_sha256: str
    """What it must have; empty: anything."""
    path: Path
    plan: Plan
    protocol_sha256: str
    binding_sha256: str
    device: str
    offline: bool


@dataclass(frozen=True)
class Kept:
    """Scores of one candidate, and what fitted detectors keep of it."""

    scored: Scored
    summaries: dict[str, np.ndarray]


def score_path(folder: Path, protocol_sha256: str, binding_sha256: str, tensors_sha256: str, kind: str) -> Path:
    """Where a candidate's scores lie."""
    key = document_sha256([protocol_sha256, binding_sha256, tensors_sha256, kind])
    return folder / f"{key[:24]}.json"


def measure_all(jobs: Sequence[Job], ctx: Context, workers: int, what: str) -> list[Kept]:
    """Every candidate in order; those measured before are read."""
    measure_missing(jobs, measure_one, ctx, workers, what)
    return [read(job.path) for job in jobs]


def measure_one(job: Job) -> float:
    """Measure a candidate and write its file; returns the seconds it took.

    Raises:
        FormatError: the candidate is not the one that its truth tells of.
    """
    from threadpoolctl import threadpool_limits

    from radiograph import models, organisms

    began = time.perf_counter()
    with threadpool_limits(1):
        pair = models.load_pair(
            job.reference, job.candidate, device=job.device, offline=job.offline, resolve=organisms.bundled_path
        )
        own = pair.candidate.identity.tensors_sha256
        if job.tensors_sha256 not in ("", own):
            raise FormatError(
                f"{job.name} is not the model that its truth tells of",
                expected=f"tensors {job.tensors_sha256[:16]}",
                got=f"tensors {own[:16]}",
                code="model_changed",
            )
        pair.check_tokenizers()
        kept = _scored(job, job.plan.measurement(pair, dictionary_at(job.plan.dictionary, job.plan.dictionary_sha256)))
    seconds = time.perf_counter() - began
    write(job.path, kept)
    return seconds


def _scored(job: Job, measurement: Measurement) -> Kept:
    from radiograph.detectors import examine, score_record
    from radiograph.methods._audit.parts import identical

    notes: dict[str, str] = {}

    def part(name: str, measure: Callable[[], Found]) -> Found | None:
        try:
            return measure()
        except UserError:
            raise
        except Refusal as refusal:
            notes[name] = f"{refusal.code}: {refusal.message}"
            return None

    record = part("features", lambda: score_record(measurement.features))
    found = examine(measurement, record)
    panel = part("panel", lambda: measurement.explained_panel)
    search = part("triggers", lambda: measurement.triggers)
    witnesses = part("witnesses", lambda: measurement.witnesses)
    leads = part("leads", lambda: _leads(measurement))
    share = None if record is None or record.share_outside is None else record.share_outside.value
    scored = Scored(
        protocol_sha256=job.protocol_sha256,
        binding_sha256=job.binding_sha256,
        model=found.model(job.name, "", job.kind, measurement.pair.candidate.identity.tensors_sha256),
        flips=found.flips,
        silent={
            name: score.reason or "no reason given"
            for name, score in found.scores.items()
            if score.status == "not_measured" and name not in found.summaries
        },
        identical=identical(measurement.pair),
        share_outside=0.0 if share is None and record is not None and record.aggregate_score == 0 else share,
        panel=panel,
        witnesses=() if witnesses is None else witnesses.found,
        looked_at=() if witnesses is None else witnesses.looked_at,
        insertions=() if search is None else search.insertions[:INSERTIONS],
        stages=() if search is None else search.stages,
        leads=tuple(leads or ()),
        tokens=_tokens(measurement),
        notes=notes,
    )
    return Kept(scored, found.summaries)


def _tokens(measurement: Measurement) -> dict[str, int]:
    """Of each part that was measured, once."""
    spent: dict[str, int] = {}
    for part in ("behaviour", "neutral", "features", "lens", "triggers", "frames", "witnesses"):
        with suppress(Refusal):
            spent[part] = measurement.tokens(part)
    return spent


def _leads(measurement: Measurement) -> list[Lead]:
    """The five first words of dictionary and lens, each beside random directions that were read in the same way."""
    import torch

    from radiograph.detectors.measure._contexts import logit_effects

    model = measurement.pair.reference
    luck = np.random.default_rng(derive(measurement.seed, "leads"))

    def words(directions: np.ndarray, first: int) -> list[tuple[str, ...]]:
        effects = logit_effects(model, torch.from_numpy(np.ascontiguousarray(directions)).float())
        return [tuple(text.strip() for text, _ in up[:first]) for up, _ in effects]

    def named(source: LeadSource, directions: np.ndarray) -> Lead:
        return Lead(source=source, words=tuple(w for own in words(directions, 1) for w in own))

    found: list[Lead] = []
    with suppress(Refusal):
        shifts = measurement.shifts
        relative = np.linalg.norm(shifts.delta, axis=-1) / np.maximum(shifts.norm, 1e-12)
        site, position = np.unravel_index(int(relative.argmax()), relative.shape)
        found.append(Lead(source="lens", words=words(shifts.delta[site, position][None], WORDS)[0]))
        found += [
            Lead(source="random direction", words=own)
            for own in words(luck.normal(size=(RANDOM, shifts.delta.shape[-1])), WORDS)
        ]
    with suppress(Refusal):
        moved = measurement.features.requested.differences
        leading = np.argsort(-np.abs(moved).mean(axis=0), kind="stable")[:WORDS]
        dictionary = measurement.dictionary
        assert dictionary is not None
        decoder = dictionary.decoder.detach().cpu().double().numpy()
        sign = np.sign(moved[:, leading].mean(axis=0))[:, None]
        found.append(named("dictionary", decoder[leading] * sign))
        found += [named("random dictionary", luck.normal(size=(WORDS, decoder.shape[1]))) for _ in range(RANDOM)]
    return found


def write(path: Path, kept: Kept) -> None:
    """One file, whole or not at all."""
    write_file(path, {"scored": kept.scored.model_dump(mode="json")}, kept.summaries)


def read(path: Path) -> Kept:
    """One file.

    Raises:
        FormatError: it is none.
    """
    document, summaries = read_file(path)
    if "scored" not in document:
        raise FormatError(f"{path.name} holds no scores", where=path.name, fix="delete it")
    return Kept(Scored.read(document["scored"], path.name), summaries)
