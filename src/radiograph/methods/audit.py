"""May I accept this fine-tune? Compares a candidate with its reference and gives one of five verdicts.

1. hash both models; refuse unless they read text alike (same tokenizer); equal models must differ by exactly 0
2. weights: which matrices changed, how much, at what rank
3. behaviour: both answer the suite; checks, flips, KL per prompt and on a neutral bank
4. capability panel: was a task lost? (paired exact tests, Holm over tasks; perplexity on neutral text)
5. dictionary: every check of the guard must pass, then per-prompt feature shifts under each score method, the share
   outside the dictionary, random dictionaries as control, labels (direct, proxy, none)
6. the verdict, from two axes: degraded (the panel) and targeted (needs a calibration on benign fine-tunes)

Without a calibration a changed candidate is `inconclusive` or `degraded`: no p-value is invented, and `no-evidence` is
given to equal models alone. Units: KL in nats per token; features in units of the dictionary's activation.
Refuses when: the tokenisers differ; the dictionary is of another model, site or width; a value is not finite.
Exit codes: 0 no-evidence · 2 degraded, targeted-change · 3 bad input, a dictionary of another model · 4 inconclusive.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field

from radiograph.core import Config as Base
from radiograph.core import (
    Context,
    DictionaryRef,
    ExplanationsRef,
    FilePath,
    FormatError,
    ModelRef,
    Refusal,
    SuiteRef,
    UserError,
)
from radiograph.evidence import (
    Audit,
    Axes,
    DictionaryRecord,
    ExplanationSource,
    GuardCheck,
    InterpEvidence,
    ModelRecord,
    Reason,
    RefusalRecord,
    SuiteRecord,
)

if TYPE_CHECKING:
    from radiograph.detectors import Measurement
    from radiograph.dictionaries import Dictionary
    from radiograph.explanations import LabelSource
    from radiograph.models import LanguageModel, Pair
    from radiograph.numerics import Decision

TOLERANCE = 1e-4


class Config(Base):
    """What to compare, on which prompts, in which dictionary."""

    reference: ModelRef
    """The model before: folder, hub id or bundled:NAME, optionally +ADAPTER."""
    candidate: ModelRef
    """The model after; REFERENCE+ADAPTER loads the base weights once."""
    suite: SuiteRef | None = None
    """Suite file. Bundled models have one of their own (world:suite)."""
    neutral: FilePath | None = None
    """Neutral texts, one a line. Otherwise the suite's neutral bank, else bundled sentences."""
    dictionary: DictionaryRef | None = None
    """Dictionary folder, or `none`. bundled:base has its own (dictionary:bundled)."""
    explanations: ExplanationsRef = "auto"
    """auto (shipped labels), none, or cache:FILE#MODEL/SOURCE."""
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
    from radiograph.detectors import score_all

    pair: Pair = ctx.pair(config.reference, config.candidate)
    pair.check_tokenizers()
    measurement, suite = _prepare(config, ctx, pair)
    dictionary, labels = measurement.dictionary, None
    checks: tuple[GuardCheck, ...] = ()
    if dictionary is not None:
        with ctx.measure("guard"):
            labels = _open_labels(config, ctx, dictionary)
            checks = _guard(measurement, dictionary)
    missing: list[RefusalRecord] = []
    weights = _part(ctx, "weights", lambda: measurement.weights, missing)
    behaviour = _part(ctx, "behaviour", lambda: measurement.behaviour, missing)
    panel = _part(ctx, "panel", lambda: measurement.panel, missing)
    _part(ctx, "features", lambda: measurement.features, missing)
    with ctx.measure("detectors"):
        scores = score_all(measurement)
    score, interp = _feature_evidence(config, ctx, measurement, scores, labels, checks)
    missing += [
        RefusalRecord(code="no_calibration", what="calibrated verdict", text="no population of benign fine-tunes"),
        RefusalRecord(code="no_trigger_search", what="trigger search", text="not part of this run"),
    ]
    draft = Audit(
        title=config.title or f"{ctx.label(config.candidate)} against {ctx.label(config.reference)}",
        reference=_model(pair.reference, ctx.label(config.reference)),
        candidate=_model(pair.candidate, ctx.label(config.candidate)),
        suite=suite,
        verdict="inconclusive",
        axes=Axes(degraded="unknown", targeted="unknown"),
        reasons=(),
        identical=_identical(pair),
        alpha=config.alpha,
        threshold=config.threshold,
        not_measured=tuple(missing),
        weights=weights,
        behaviour=behaviour,
        panel=panel,
        score=score,
        interp_evidence=interp,
    )
    audit = _decided(draft)
    _write(ctx, audit, measurement)
    return audit


def recompute(result: dict[str, Any], folder: Path) -> list[str]:
    """Derive scores, panel and verdict again from what the bundle stores; returns what does not follow."""
    from radiograph.detectors import differences
    from radiograph.store import Bundle

    bundle = Bundle(folder)
    audit = Audit.read(result)
    problems = differences(audit, folder, bundle.manifest.seed)
    if audit.identical and not _same_hashes(audit.reference, audit.candidate):
        problems.append("/identical: the models have other hashes")
    again = _decided(audit)
    if (again.verdict, again.axes, again.reasons) != (audit.verdict, audit.axes, audit.reasons):
        problems.append(f"/verdict: stored {audit.verdict}, but the evidence gives {again.verdict}")
    for name, part in audit.projections().items():
        if bundle.document(name) != part:
            problems.append(f"{name} is not the part of result.json that it should be")
    return problems


def _prepare(config: Config, ctx: Context, pair: Pair) -> tuple[Measurement, SuiteRecord]:
    from radiograph import organisms
    from radiograph.detectors import FeatureSettings, Measurement, render
    from radiograph.store import suite_sha256

    bundled = config.reference.startswith("bundled:")
    name = config.suite or ("world:suite" if bundled else None)
    if name is None:
        raise UserError(
            "audit needs a suite of prompts",
            expected="--suite FILE",
            fix="write one: docs/guides/suites.md shows how",
            code="no_suite",
        )
    suite = ctx.suite(name)
    texts, source = _neutral(config, ctx, suite, bundled)
    asked = suite.model_copy(update={"prompts": tuple(p for p in suite.prompts if p.bank != "neutral")})
    banks = render(pair.reference, asked, texts, chat=config.chat, system=config.system)
    reference = _dictionary(config)
    dictionary: Dictionary | None = None if reference == "none" else ctx.dictionary(reference)
    measurement = Measurement(
        pair=pair,
        banks=banks,
        seed=ctx.seed,
        oracle=organisms.oracle,
        dictionary=dictionary,
        feature_settings=FeatureSettings(config.score_method, config.k, config.aggregate, config.reduce),
        progress=ctx.progress,
    )
    record = SuiteRecord(
        name=suite.suite_name,
        path=ctx.label(name),
        sha256=suite_sha256(suite),
        prompts=len(asked.prompts),
        neutral=source,
        neutral_n=len(banks.neutral),
    )
    return measurement, record


def _neutral(config: Config, ctx: Context, suite: Any, bundled: bool) -> tuple[list[str], str]:
    """The neutral texts and where they came from; prompts of the suite are left out of them."""
    from radiograph import organisms

    own = [p.messages[-1].content for p in suite.bank("neutral")]
    if config.neutral is not None:
        texts, source = _lines(ctx.path(config.neutral, "neutral")), ctx.label(config.neutral)
    elif own:
        texts, source = own, "suite"
    elif bundled:
        texts, source = organisms.neutral_texts("world"), "world:neutral"
    else:
        texts, source = organisms.neutral_texts("english"), "bundled English sentences"
    asked = {p.messages[-1].content for p in suite.prompts if p.bank != "neutral"}
    return [t for t in texts if t not in asked], source


def _lines(path: Path) -> list[str]:
    """Every line of a text file that holds something."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (UnicodeDecodeError, IsADirectoryError) as error:
        raise FormatError(f"{path.name} is no UTF-8 text", expected="one text a line", got=str(error)) from error
    return [line.strip() for line in lines if line.strip()]


def _open_labels(config: Config, ctx: Context, dictionary: Dictionary) -> LabelSource:
    from radiograph import explanations

    folder = ctx.dictionary_folder(_dictionary(config))
    shipped = folder / explanations.LABELS_FILE
    return explanations.open_labels(
        config.explanations,
        dictionary.decoder_sha256,
        shipped if shipped.is_file() else None,
        lambda text: ctx.path(text, "explanations"),
    )


def _dictionary(config: Config) -> str:
    return config.dictionary or ("dictionary:bundled" if config.reference == "bundled:base" else "none")


def _guard(measurement: Measurement, dictionary: Dictionary) -> tuple[GuardCheck, ...]:
    """Check the dictionary against the reference, before any score, on the texts that `dictionary train` records.

    Raises:
        Refusal: `dictionary_mismatch` (exit 3), both sides named.
    """
    from radiograph import dictionaries
    from radiograph.harvest import harvest, read
    from radiograph.organisms import standard_neutral

    model = measurement.pair.reference
    texts = read(standard_neutral(model.tokenizer))
    checks = dictionaries.check(
        dictionary,
        model_sha256=model.identity.tensors_sha256,
        widths={str(s): model.site_width(s) for kind in _KINDS for s in _sites(model, kind)},
        rows_at=lambda site: harvest(model, texts, [site]).rows(site),
    )
    dictionaries.require(checks)
    return tuple(GuardCheck(check=c.name, expected=c.expected, observed=c.observed, passed=c.passed) for c in checks)


_KINDS = ("resid_pre", "resid_mid", "resid_post", "attn_z", "attn_out", "mlp_in", "mlp_hidden", "mlp_out")


def _sites(model: LanguageModel, kind: str) -> list[Any]:
    try:
        return model.sites(f"{kind}.*")
    except Refusal:
        return []


def _part(ctx: Context, name: str, measure: Any, missing: list[RefusalRecord]) -> Any:
    """One measured part, or None with its reason on the list."""
    try:
        with ctx.measure(name):
            return measure()
    except Refusal as refusal:
        missing.append(RefusalRecord(code=refusal.code, what=name, text=refusal.message, fix=refusal.fix))
        return None


def _feature_evidence(
    config: Config,
    ctx: Context,
    measurement: Measurement,
    scores: Any,
    labels: LabelSource | None,
    checks: tuple[GuardCheck, ...],
) -> tuple[Any, InterpEvidence]:
    """What `score.json` and `interp_evidence.json` say. Explanations that fail leave the score as it is."""
    from radiograph.detectors import score_record, silent_score

    try:
        score = score_record(measurement.features, scores)
    except Refusal as refusal:
        assert measurement.feature_settings is not None
        score = silent_score(measurement.feature_settings, f"{refusal.code}: {refusal.message}", scores)
    if score.status == "not_measured" or labels is None:
        return score, InterpEvidence(status="not_measured", reason=score.reason)
    dictionary = _dictionary_record(ctx.label(_dictionary(config)), measurement.dictionary, checks)
    source = ExplanationSource(source=labels.name, mode=labels.mode, snapshot_sha256=labels.snapshot_sha256)
    silent = InterpEvidence(status="not_measured", dictionary=dictionary, explanations=source)
    missing: list[RefusalRecord] = []
    found = _part(ctx, "explanations", lambda: measurement.explained(labels), missing)
    if found is None:
        return score, silent.model_copy(update={"reason": f"{missing[0].code}: {missing[0].text}"})
    prompts, coverage = found
    return score, silent.model_copy(update={"status": "measured", "per_prompt": prompts, "coverage": coverage})


def _dictionary_record(ref: str, dictionary: Any, checks: tuple[GuardCheck, ...]) -> DictionaryRecord:
    quality = dictionary.metadata.quality
    return DictionaryRecord(
        ref=ref,
        sha256=dictionary.hash,
        decoder_sha256=dictionary.decoder_sha256,
        site=dictionary.site,
        kind=f"{dictionary.kind}, {dictionary.activation.name}",
        F=dictionary.size,
        d=dictionary.width,
        fvu=quality.fvu if quality else None,
        l0=quality.l0 if quality else None,
        ce_recovered=quality.ce_recovered_mean if quality else None,
        checks=checks,
    )


def _model(model: LanguageModel, label: str) -> ModelRecord:
    identity = model.identity
    return ModelRecord(
        label=label,
        tensors_sha256=identity.tensors_sha256,
        files_sha256=identity.files_sha256 or "",
        tokenizer_sha256=identity.tokenizer_sha256 or "",
        architecture=str(model.config.get("model_type")),
        parameters=sum(p.numel() for p in model.parameters().values()),
        notes=model.notes,
    )


def _identical(pair: Pair) -> bool:
    """Equal tensors, tokenizer and template, and a config that computes the same from them."""
    a, b = pair.reference, pair.candidate
    return _same_hashes(a.identity, b.identity) and _functional(a.config) == _functional(b.config)


def _same_hashes(a: Any, b: Any) -> bool:
    """Of tensors and tokenizer; an absent tokenizer hash is stored as an empty text."""
    tokenizers = a.tokenizer_sha256 or "", b.tokenizer_sha256 or ""
    return a.tensors_sha256 == b.tensors_sha256 and tokenizers[0] == tokenizers[1]


def _functional(config: dict[str, Any]) -> dict[str, Any]:
    """A config without what changes no output."""
    skip = ("_name_or_path", "transformers_version", "architectures", "dtype", "torch_dtype", "use_cache")
    return {key: value for key, value in config.items() if key not in skip}


def _decided(audit: Audit) -> Audit:
    """The verdict that the stored evidence gives; a pure function, so that `verify` runs the same one."""
    from radiograph.numerics import REASONS, Identity, TargetedEvidence, decide, targeted_axis

    targeted = targeted_axis(TargetedEvidence(alpha=audit.alpha, calibration=None))
    panel = audit.panel
    same = audit.identical
    decision: Decision = decide(
        panel.axis if panel else "unknown",
        targeted,
        Identity(tensors=same, tokenizer=same, template=same, shifts=_shifts(audit)),
        degraded_reason=panel.code if panel else None,
    )
    reasons = tuple(Reason(code=c, text=REASONS[c], pointer=_POINTERS.get(c, "")) for c in decision.reasons)
    return audit.model_copy(
        update={
            "verdict": decision.verdict,
            "axes": Axes(degraded=decision.degraded, targeted=decision.targeted),
            "reasons": reasons,
        }
    )


_POINTERS = {"panel_too_small": "/panel", "perplexity_missing": "/panel", "identical": "/identical"}


def _shifts(audit: Audit) -> dict[str, float | None]:
    """Every measured distance that must be 0 between equal models."""
    behaviour = audit.behaviour
    shifts: dict[str, float | None] = {
        "weights": audit.weights.relative_norm if audit.weights else None,
        "answers": float(behaviour.changed) if behaviour else None,
        "kl": max((i.kl_mean or 0.0) for i in behaviour.items) if behaviour else None,
        "kl_neutral": behaviour.kl_neutral.value if behaviour and behaviour.kl_neutral else None,
    }
    return shifts | {m.method: m.aggregate for m in audit.score.methods}


def _write(ctx: Context, audit: Audit, measurement: Measurement) -> None:
    from radiograph.detectors import tables

    for name, document in audit.projections().items():
        ctx.output.json(name, document)
    for name, table in tables(measurement).items():
        ctx.output.table(name, table)
