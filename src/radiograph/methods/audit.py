"""May I accept this fine-tune? Compares a candidate with its reference and gives one of five verdicts.

1. hash both models; refuse unless they read text alike (same tokenizer); equal models must differ by exactly 0
2. weights: which matrices changed, how much, at what rank
3. behaviour: both answer the suite; checks, flips, KL per prompt and on a neutral bank
4. capability panel: was a task lost? (paired exact tests, Holm over tasks; perplexity on neutral text)
5. dictionary: every check of the guard must pass, then per-prompt feature shifts under each score method, the share
   outside the dictionary, random dictionaries as control, labels (direct, proxy, none)
6. activation lens; search for triggers; witnesses (inputs on which it reproducibly differs); training rows
7. the candidate among benign fine-tunes: p of each detector, combined p, stratum, support
8. the verdict, from two axes: targeted (needs a calibration on benign fine-tunes; a degraded candidate unlike all of
   them is compared with degraded models) and degraded (the panel; of a targeted candidate without the losses that a
   witness explains)

Without a calibration a changed candidate is `inconclusive` or `degraded`: no p-value is invented, and `no-evidence` is
given to equal models alone. Units: KL in nats per token; features in units of the dictionary's activation.
Refuses when: the tokenisers differ; the dictionary is of another model, site or width; the calibration was measured in
another way; a value is not finite.
Exit codes: 0 no-evidence · 2 degraded, targeted-change · 3 bad input, a dictionary of another model · 4 inconclusive.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field

from radiograph.core import Config as Base
from radiograph.core import Context, DictionaryRef, ExplanationsRef, FilePath, ModelRef, Refusal, SuiteRef
from radiograph.evidence import Audit, Axes, CalibratedAudit, GuardCheck, RefusalRecord

if TYPE_CHECKING:
    from radiograph.detectors import Measurement, Pool
    from radiograph.models import Pair

TOLERANCE = 1e-4


class Config(Base):
    """What to compare, on which prompts, in which dictionary."""

    reference: ModelRef
    """The model before: folder, hub id or bundled:NAME, optionally +ADAPTER."""
    candidate: ModelRef
    """The model after; REFERENCE+ADAPTER loads the base weights once."""
    calibration: str = "auto"
    """auto (the shipped or newest one of this reference), a run of `calibrate`, calibration:bundled, or none."""
    suite: SuiteRef | None = None
    """Suite file. Bundled models have one of their own (world:suite)."""
    neutral: FilePath | None = None
    """Neutral texts, one a line. Otherwise the suite's neutral bank, else bundled sentences."""
    dictionary: DictionaryRef | None = None
    """Dictionary folder, or `none`. bundled:base has its own (dictionary:bundled)."""
    explanations: ExplanationsRef = "auto"
    """auto (shipped labels), none, or cache:FILE#MODEL/SOURCE."""
    train_data: FilePath | None = None
    """Training rows (JSON Lines) to rank by how much the candidate learned them."""
    effort: Literal["none", "quick", "standard", "full"] | None = None
    """Search for triggers: at most 10⁶, 10⁷, 10⁸ tokens, or none. [default: the calibration's, else quick]"""
    infix: bool = False
    """Also search insertions in the middle of prompts."""
    score_method: Literal["abs_diff_topk", "abs_diff_topk_drift_corrected", "neutral_drift", "leave_group_out"] = (
        "abs_diff_topk"
    )
    """Which feature score is the headline; all are computed, none stands in for another."""
    k: int = Field(default=50, ge=1)
    """Features summed per prompt."""
    aggregate: Literal["mean", "max"] = "mean"
    """Over prompts."""
    reduce: Literal["skip_first", "content"] = "skip_first"
    """Tokens that count: all but the first, or message contents alone."""
    alpha: float = Field(default=0.05, gt=0, le=0.5)
    """False-alarm rate at which calibrated p-values decide."""
    threshold: float | None = None
    """Printed beside the score; decides nothing."""
    chat: Literal["template", "plain"] = "template"
    """How messages become text: the tokenizer's template, or `role: content` lines."""
    system: Literal["separate", "merge"] = "separate"
    """Merge system texts into the first user turn, for templates that reject them."""
    title: str = ""
    """Heading of the report."""


def run(config: Config, ctx: Context) -> Audit:
    """Measure, decide, write the bundle's files."""
    from radiograph.detectors import examine, judged, kind_of
    from radiograph.methods._audit import parts, place
    from radiograph.methods._audit.decide import decided
    from radiograph.methods._audit.plan import dictionary_name, plan
    from radiograph.methods._audit.versions import versions

    pair: Pair = ctx.pair(config.reference, config.candidate)
    pair.check_tokenizers()
    stored = ctx.calibration(config.calibration, pair.reference.identity.tensors_sha256)
    own = None if stored is None else stored.record.binding
    made, dictionary = plan(config, ctx, own)
    missing: list[RefusalRecord] = []
    identity = pair.reference.identity
    if stored is not None:
        binding = made.binding(identity.tensors_sha256, identity.tokenizer_sha256 or "")
        stored = _bound(config, stored, binding, pair.candidate.identity.tensors_sha256, missing)
    measurement = made.measurement(pair, dictionary, ctx.progress)
    name, labels = dictionary_name(config, own), None
    checks: tuple[GuardCheck, ...] = ()
    if dictionary is not None:
        with ctx.measure("guard"):
            labels = parts.open_labels(config.explanations, name, ctx, dictionary)
            checks = parts.guard(measurement, dictionary)
    found: dict[str, Any] = {
        part: parts.part(ctx, part, lambda p=part: getattr(measurement, p), missing) for part in _MEASURED
    }
    if found["panel"] is not None:
        found["panel"] = measurement.explained_panel
    with ctx.measure("detectors"):
        examined = examine(measurement)
    scores = tuple(examined.scores.values())
    calibrated, pool = None, None
    if stored is not None:
        with ctx.measure("calibration"):
            pool = place.pool_for(stored, measurement, examined, kind_of(measurement))
            calibrated = judged(pool, stored.name, stored.sha256, stored.record.misses)
            scores = place.scored(scores, calibrated, pool)
            if found["witnesses"] is not None:
                found["witnesses"] = place.witnessed(found["witnesses"], pool)
    elif not any(r.code == "calibration_mismatch" for r in missing):
        missing.append(
            RefusalRecord(
                code="no_calibration",
                what="calibrated verdict",
                text="no population of benign fine-tunes",
                fix="radiograph calibrate REFERENCE --benign …",
            )
        )
    score, interp = parts.feature_evidence(name, ctx, measurement, scores, labels, checks)
    audit = decided(
        Audit(
            title=config.title or f"{ctx.label(config.candidate)} against {ctx.label(config.reference)}",
            reference=parts.model_record(pair.reference, ctx.label(config.reference)),
            candidate=parts.model_record(pair.candidate, ctx.label(config.candidate)),
            suite=made.record,
            verdict="inconclusive",
            axes=Axes(degraded="unknown", targeted="unknown"),
            reasons=(),
            identical=parts.identical(pair),
            alpha=config.alpha,
            threshold=config.threshold,
            not_measured=tuple(missing),
            calibration=calibrated,
            **_flat(calibrated),
            **{part: value for part, value in found.items() if part != "features"},
            score=score,
            interp_evidence=interp,
            versions=versions(),
        )
    )
    _write(ctx, audit, measurement, pool)
    return audit


def recompute(result: dict[str, Any], folder: Path) -> list[str]:
    """Derive scores, p, panel and verdict again from what the bundle stores; returns what does not follow.

    Raises:
        OtherVersions: other detectors or rules made it.
    """
    from radiograph.detectors import differences
    from radiograph.methods._audit.decide import decided, same_hashes
    from radiograph.methods._audit.place import shipped
    from radiograph.methods._audit.versions import check_versions
    from radiograph.store import Bundle

    bundle = Bundle(folder)
    audit = Audit.read(result)
    check_versions(audit.versions, "result.json")
    stored = None if audit.calibration is None else shipped(audit.calibration.sha256)
    own = None if stored is None else (stored.record, stored.summaries)
    problems = differences(audit, folder, bundle.manifest.seed, own)
    if audit.identical and not same_hashes(audit.reference, audit.candidate):
        problems.append("/identical: the models have other hashes")
    asked = bundle.manifest.config
    problems += [
        f"/{name} is {getattr(audit, name)}, the run was asked for {asked[name]}"
        for name in ("alpha", "threshold")
        if name in asked and asked[name] != getattr(audit, name)
    ]
    flat = _flat(audit.calibration)
    problems += [f"/{name}: not that of /calibration" for name, own in flat.items() if getattr(audit, name) != own]
    again = decided(audit)
    if (again.verdict, again.axes, again.reasons) != (audit.verdict, audit.axes, audit.reasons):
        problems.append(f"/verdict: stored {audit.verdict}, but the evidence gives {again.verdict}")
    for name, part in audit.projections().items():
        if bundle.document(name) != part:
            problems.append(f"{name} is not the part of result.json that it should be")
    return problems


_MEASURED = ("weights", "behaviour", "panel", "features", "lens", "triggers", "frames", "witnesses", "rows")


def _bound(config: Config, stored: Any, binding: Any, candidate_sha256: str, missing: list[RefusalRecord]) -> Any:
    """The calibration, if it was measured in the same way and without the candidate; else, if nobody asked for it by
    name, it is left out in the open.

    Raises:
        Refusal: `calibration_mismatch`, exit 3, for one that was asked for.
    """
    from radiograph.methods._audit.place import check_apart, check_binding

    try:
        check_binding(stored, binding)
        check_apart(stored, candidate_sha256)
    except Refusal as refusal:
        if config.calibration != "auto":
            raise
        missing.append(
            RefusalRecord(code=refusal.code, what="calibrated verdict", text=refusal.message, fix=refusal.fix)
        )
        return None
    return stored


def _flat(calibrated: CalibratedAudit | None) -> dict[str, Any]:
    """What stands at the top of the document too."""
    if calibrated is None:
        return {"p_combined": None, "n_calibration": 0, "n_families": 0, "resolution_floor": None, "support": None}
    return {
        "p_combined": calibrated.p_combined,
        "n_calibration": calibrated.n,
        "n_families": calibrated.n_families,
        "resolution_floor": calibrated.floor,
        "support": calibrated.support,
    }


def _write(ctx: Context, audit: Audit, measurement: Measurement, pool: Pool | None) -> None:
    from radiograph.detectors import pool_tables, tables

    for name, document in audit.projections().items():
        ctx.output.json(name, document)
    made = tables(measurement) | ({} if pool is None else pool_tables(pool))
    for name, table in made.items():
        ctx.output.table(name, table)
