"""What do harmless fine-tunes of this reference score? The distribution that turns a distance into a p-value.

1. find the benign models, or train them (`--make N --data FILE`): adapters on the user's own trusted rows, each with a
   recipe of its own; refuse one that equals the reference or another, and fewer than nine
2. measure each as an audit measures a candidate: same prompts, texts, dictionary, settings, seed; a killed run goes on
3. freeze the detectors that every benign model has; keep scores, what kind of change each model is, and what fitted
   detectors need of it; never weights
4. how many models the families are worth: n/(1 + (m̄ − 1)·ρ), ρ the intraclass correlation of combined scores
5. `--degraded MODEL…`: models that lost abilities and hide nothing, measured likewise. Those that the panel calls
   degraded and that lie outside the support of the benign ones are kept: an audit compares a broken candidate with
   them, instead of saying that it cannot tell
6. `--misses RUN`: take along what a benchmark under this very calibration missed, so that audits say it
An audit that was measured in another way is refused (`calibration_mismatch`). No p is ever below 1/(n + 1).

Source: Vovk, Gammerman, Shafer 2005 (conformal p-values). Units: those of the detectors.
Refuses when: a benign model is the reference or a copy of another; fewer than 9; tokenizers or shapes differ; the
dictionary is not one of this reference; a value is not finite; rows from which nothing can be learned; a benchmark
that judged by another calibration. Exit codes: 0 done · 3 bad input.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field

from radiograph.core import Config as Base
from radiograph.core import (
    Context,
    DictionaryRef,
    FilePath,
    FolderPath,
    ModelRef,
    Refusal,
    RunPath,
    SuiteRef,
    UserError,
)
from radiograph.evidence import Calibration, MissRate
from radiograph.evidence.benchmark import Benchmark

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from radiograph.evidence import CalibrationModel
    from radiograph.methods._audit.benign import Benign
    from radiograph.methods._audit.measure import Measured
    from radiograph.methods._audit.plan import Plan
    from radiograph.store.calibration import StoredCalibration


class Config(Base):
    """Which models, measured how."""

    reference: ModelRef
    """The model that all are fine-tunes of."""
    benign: tuple[ModelRef, ...] = ()
    """Benign fine-tunes: models, a folder of models, or a file with one a line (and its family)."""
    degraded: tuple[ModelRef, ...] = ()
    """Broken models that hide nothing (in the same forms as --benign): what degraded candidates are compared with."""
    make: int = Field(default=0, ge=0, le=1000)
    """Train this many benign adapters first, each on a part of --data, with rate, steps and rank of its own."""
    data: FilePath | None = None
    """Rows that you trust, JSON Lines: {"messages"}, {"prompt", "completion"} or {"text"}. For --make."""
    suite: SuiteRef | None = None
    """Suite file. Bundled models have one of their own (world:suite)."""
    neutral: FilePath | None = None
    """Neutral texts, one a line. Otherwise the suite's neutral bank, else bundled sentences."""
    dictionary: DictionaryRef | None = None
    """Dictionary folder, or `none`. bundled:base has its own (dictionary:bundled)."""
    train_data: FilePath | None = None
    """Training rows (JSON Lines) that every model is asked about; freezes data.loss_drop."""
    effort: Literal["none", "quick", "standard", "full"] = "quick"
    """Search for triggers: at most 10⁶, 10⁷, 10⁸ tokens a model, or none."""
    infix: bool = False
    """Also search insertions in the middle of prompts."""
    detectors: tuple[str, ...] = ()
    """Detectors that count. [default: all that every benign model has]"""
    combine: Literal["max", "fisher"] = "max"
    """How detectors become one p: `max` finds one that sticks out far, `fisher` many that move a little."""
    score_method: Literal["abs_diff_topk", "abs_diff_topk_drift_corrected", "neutral_drift", "leave_group_out"] = (
        "abs_diff_topk"
    )
    """Which feature score is the headline."""
    k: int = Field(default=50, ge=1)
    """Features summed per prompt."""
    aggregate: Literal["mean", "max"] = "mean"
    """Over prompts."""
    reduce: Literal["skip_first", "content"] = "skip_first"
    """Tokens that count: all but the first, or message contents alone."""
    chat: Literal["template", "plain"] = "template"
    """How messages become text: the tokenizer's template, or `role: content` lines."""
    system: Literal["separate", "merge"] = "separate"
    """Merge system texts into the first user turn, for templates that reject them."""
    workers: int = Field(default=1, ge=1, le=256)
    """Processes that share the models."""
    misses: RunPath | None = None
    """A run of `organisms benchmark` under this calibration: audits say beside `no-evidence` what it missed."""
    ship: FolderPath | None = None
    """Also write it, compact, into this folder: how the one that comes with the package is made."""


def run(config: Config, ctx: Context) -> Calibration:
    """Find, check, measure, freeze."""
    from radiograph.detectors import detectors
    from radiograph.methods._audit.benign import check, find
    from radiograph.methods._audit.make import make
    from radiograph.methods._audit.measure import measure_all
    from radiograph.methods._audit.parts import guard
    from radiograph.methods._audit.plan import plan

    known = detectors()
    if unknown := [name for name in config.detectors if name not in known]:
        raise UserError(
            f"unknown detector {unknown[0]!r}", expected=", ".join(known), got=unknown[0], code="unknown_detector"
        )
    reference = ctx.stored(config.reference, "reference")
    models = [*find(config.benign, config.reference, ctx), *make(config, ctx)]
    models = _hashed(models, "benign", ctx)
    degraded = _hashed(find(config.degraded, config.reference, ctx, "degraded"), "degraded", ctx)
    check(models, reference.identity.tensors_sha256, degraded)
    made, dictionary = plan(config, ctx)
    if dictionary is not None:  # as every audit will, before hours are spent on it
        with ctx.measure("guard"):
            guard(made.measurement(ctx.pair(config.reference, config.reference), dictionary), dictionary)
    tokenizer = ctx.model(config.reference, "reference").identity.tokenizer_sha256 or ""
    binding = made.binding(reference.identity.tensors_sha256, tokenizer)
    with ctx.measure("models"):
        measured = measure_all(made, config.reference, models, binding, ctx, config.workers)
    with ctx.measure("degraded"):
        broken = measure_all(made, config.reference, degraded, binding, ctx, config.workers, "degraded")
    return _calibration(config, ctx, made, binding, measured, broken)


def _hashed(models: Sequence[Benign], role: str, ctx: Context) -> list[Benign]:
    """With the hash of each one's tensors."""
    return [
        replace(m, tensors_sha256=ctx.stored(m.reference, f"{role}{place + 1}").identity.tensors_sha256)
        for place, m in enumerate(models)
    ]


def _degraded(
    measured: Sequence[Measured], benign: Sequence[CalibrationModel]
) -> tuple[tuple[CalibrationModel, ...], dict[str, str]]:
    """The models that broken candidates are compared with, and why others are not.

    Raises:
        UserError: fewer than nine are left.
    """
    from radiograph.detectors import contrasts_of, unfit
    from radiograph.methods._audit.benign import MIN_MODELS

    reasons = {
        m.model.id: unfit(m.model, benign) if m.degraded == "yes" else f"degraded: {m.degraded or 'not measured'}"
        for m in measured
    }
    kept = tuple(contrasts_of(m.model) for m in measured if reasons[m.model.id] is None)
    left = {name: reason for name, reason in reasons.items() if reason is not None}
    if measured and len(kept) < MIN_MODELS:
        raise UserError(
            "too few degraded models that are unlike the benign ones",
            expected=f"≥ {MIN_MODELS}: 19 for p = .05, 99 for p = .01",
            where="--degraded",
            got=f"{len(kept)} of {len(measured)}; "
            + "; ".join(f"{name}: {why}" for name, why in list(left.items())[:3]),
            fix="give more, or leave --degraded out",
            code="too_few_models",
        )
    return kept, left


def _calibration(
    config: Config, ctx: Context, made: Plan, binding: Any, measured: Sequence[Measured], broken: Sequence[Measured]
) -> Calibration:
    import numpy as np

    from radiograph.detectors import Pool, detectors, independence, rules
    from radiograph.store.calibration import SUMMARIES, StoredCalibration, array_sha256, summaries_bytes, write_shipped

    sets = sorted({name for m in measured for name in m.flips})
    models = tuple(m.model.model_copy(update={"flips": tuple(m.flips.get(s) for s in sets)}) for m in measured)
    kept = [name for name in measured[0].summaries if all(name in m.summaries for m in measured)]
    summaries = {name: np.stack([m.summaries[name] for m in measured]) for name in kept}
    frozen = rules(models, summaries, config.score_method, config.detectors)
    kin = independence(Pool((*models, models[-1]), frozen, config.combine, summaries))
    fitted = {name: detectors()[name].pool for name in kept}
    degraded, left_out = _degraded(broken, models)
    calibration = Calibration(
        binding=binding,
        reference=ctx.label(config.reference),
        suite=made.record.path,
        rules=frozen,
        combination=config.combine,
        sets=tuple(sets),
        models=models,
        degraded=degraded,
        degraded_left_out=left_out,
        summaries={name: array_sha256(array) for name, array in summaries.items()},
        n_families=kin.families,
        n_effective=kin.n_effective,
        correlation=kin.correlation,
        fitted={
            name: tuple(map(float, score(summaries[name].astype(np.float64))))
            for name, score in fitted.items()
            if score is not None
        },
    )
    stored = StoredCalibration("shipped", calibration, summaries, "")
    if config.misses is not None:
        calibration = calibration.model_copy(update={"misses": missed(ctx.path(config.misses, "benchmark"), stored)})
        stored = replace(stored, record=calibration)
    ctx.output.data(SUMMARIES, summaries_bytes(summaries))
    if config.ship is not None:
        write_shipped(ctx.place(config.ship), stored)
    return calibration


def recompute(result: dict[str, Any], folder: Path) -> list[str]:
    """Do rules, families and fitted scores follow from the models, and may these models calibrate at all?"""
    from radiograph.detectors import Pool, detectors, independence, rules, unfit
    from radiograph.methods._audit.benign import Benign, check
    from radiograph.store import Bundle
    from radiograph.store.calibration import read_calibration

    stored = read_calibration(folder, folder.name)
    record, arrays = stored.record, stored.summaries
    problems: list[str] = []
    try:
        rows, broken = (
            [Benign(m.id, "", m.family, m.kind, m.tensors_sha256) for m in own]
            for own in (record.models, record.degraded)
        )
        check(rows, record.binding.reference_sha256, broken)
    except UserError as error:
        problems.append(f"/models: {error.message}")
    problems += [
        f"/degraded/{place}: {why}"
        for place, model in enumerate(record.degraded)
        if (why := unfit(model, record.models)) is not None
    ]
    wanted = Bundle(folder).manifest.config.get("detectors") or ()
    # Of detectors that have another version by now, nothing follows from what this one knows.
    alike = {name for name, own in detectors().items() if record.binding.versions.get(name) == own.version}
    given = {r.id: r for r in rules(record.models, arrays, record.binding.score_method, wanted) if r.id in alike}
    if given != {r.id: r for r in record.rules if r.id in alike}:
        problems.append("/rules do not follow from the models' scores and the detectors that were asked for")
    kin = independence(Pool((*record.models, record.models[-1]), record.rules, record.combination, arrays))
    again = {"n_families": kin.families, "n_effective": kin.n_effective, "correlation": kin.correlation}
    problems += [
        f"/{name} is {own}, the models give {value}"
        for name, value in again.items()
        if not _same(own := getattr(record, name), value)
    ]
    for name, kept in record.fitted.items():
        score = detectors()[name].pool if name in detectors() and name in arrays else None
        fitted = () if score is None else tuple(map(float, score(arrays[name].astype("float64"))))
        same = len(fitted) == len(kept) and all(
            math.isclose(a, b, rel_tol=1e-9, abs_tol=1e-12) for a, b in zip(kept, fitted, strict=True)
        )
        if not same:
            problems.append(f"/fitted/{name}: its array gives other scores")
    return problems


def missed(folder: Path, stored: StoredCalibration) -> tuple[MissRate, ...]:
    """What a benchmark says, if it judged by this calibration, as it is or as it ships.

    Raises:
        Refusal: `calibration_mismatch`, exit 3.
    """
    from radiograph.store import complete
    from radiograph.store.calibration import calibration_sha256, compact

    table, _ = complete(
        folder, Benchmark, what="holds no benchmark of detectors", made_by="radiograph organisms benchmark"
    )
    own = [calibration_sha256(record) for record in (stored.record, compact(stored)[0])]
    if table.calibration_sha256 not in own:
        raise Refusal(
            "calibration_mismatch",
            f"{folder.name} judged by another calibration",
            expected=" or ".join(sha256[:16] for sha256 in own),
            got=(table.calibration_sha256 or "none")[:16],
            fix="run organisms benchmark --calibration with this one",
            fixable=True,
        )
    return table.misses


def _same(stored: float | None, again: float | None) -> bool:
    if stored is None or again is None:
        return stored is again
    return math.isclose(stored, again, rel_tol=1e-9, abs_tol=1e-12)
