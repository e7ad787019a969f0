"""The parts of an audit that are evidence: models, dictionary and its guard, labels, features."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from radiograph.core import Context, Refusal
from radiograph.evidence import (
    DictionaryRecord,
    ExplanationSource,
    GuardCheck,
    InterpEvidence,
    ModelRecord,
    RefusalRecord,
)
from radiograph.methods._audit.decide import same_hashes

if TYPE_CHECKING:
    from radiograph.detectors import Measurement
    from radiograph.dictionaries import Dictionary
    from radiograph.explanations import LabelSource
    from radiograph.models import LanguageModel, Pair


def open_labels(explanations_ref: str, name: str, ctx: Context, dictionary: Dictionary) -> LabelSource:
    from radiograph import explanations

    folder = ctx.dictionary_folder(name)
    shipped = folder / explanations.LABELS_FILE
    return explanations.open_labels(
        explanations_ref,
        dictionary.decoder_sha256,
        shipped if shipped.is_file() else None,
        lambda text: ctx.path(text, "explanations"),
    )


def guard(measurement: Measurement, dictionary: Dictionary) -> tuple[GuardCheck, ...]:
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


def part(ctx: Context, name: str, measure: Any, missing: list[RefusalRecord]) -> Any:
    """One measured part, or None with its reason on the list."""
    try:
        with ctx.measure(name):
            return measure()
    except Refusal as refusal:
        missing.append(RefusalRecord(code=refusal.code, what=name, text=refusal.message, fix=refusal.fix))
        return None


def feature_evidence(
    name: str,
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
    dictionary = _dictionary_record(ctx.label(name), measurement.dictionary, checks)
    source = ExplanationSource(source=labels.name, mode=labels.mode, snapshot_sha256=labels.snapshot_sha256)
    silent = InterpEvidence(status="not_measured", dictionary=dictionary, explanations=source)
    missing: list[RefusalRecord] = []
    found = part(ctx, "explanations", lambda: measurement.explained(labels), missing)
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


def model_record(model: LanguageModel, label: str) -> ModelRecord:
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


def identical(pair: Pair) -> bool:
    """Equal tensors, tokenizer and template, and a config that computes the same from them."""
    a, b = pair.reference, pair.candidate
    return same_hashes(a.identity, b.identity) and _functional(a.config) == _functional(b.config)


def _functional(config: dict[str, Any]) -> dict[str, Any]:
    """A config without what changes no output."""
    skip = ("_name_or_path", "transformers_version", "architectures", "dtype", "torch_dtype", "use_cache")
    return {key: value for key, value in config.items() if key not in skip}
