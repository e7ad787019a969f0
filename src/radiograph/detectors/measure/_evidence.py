"""Feature measurements as the records of a bundle: `score.json` and `interp_evidence.json`."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Float64

from radiograph.core import Refusal, derive
from radiograph.detectors.measure._banks import Banks
from radiograph.detectors.measure._contexts import Effects, feature_examples, logit_effects
from radiograph.detectors.measure._features import METHODS, FeatureMeasurement, FeatureSettings
from radiograph.evidence import (
    Coverage,
    DetectorScore,
    Drift,
    Estimate,
    Example,
    ExplainedFeature,
    FeatureDiff,
    MethodScore,
    PromptFeatures,
    PromptScore,
    RandomControl,
    Score,
    Specificity,
    Stability,
)
from radiograph.explanations import Label, LabelSource, label_features
from radiograph.models import Pair
from radiograph.numerics import FeatureScores, specificity, stability

TOP_DIFFS = 10
EXPLAINED = 3
"""Features explained per prompt."""
EXPLAINED_PROMPTS = 40
"""Prompts whose features are explained: those with the largest scores."""
_ESTIMATORS = {
    "abs_diff_topk": "none",
    "abs_diff_topk_drift_corrected": "suite_mean",
    "neutral_drift": "neutral_mean",
    "leave_group_out": "outside_group_mean",
}


def silent_score(settings: FeatureSettings, reason: str, detectors: Sequence[DetectorScore] = ()) -> Score:
    """The score of a run that could not measure features: a reason, and no number."""
    return Score(
        score_method=settings.method,
        score_method_executed=None,
        status="not_measured",
        reason=reason,
        reduce=settings.reduce,
        k=settings.k,
        aggregate=settings.aggregate,
        detectors=tuple(detectors),
    )


def score_record(measured: FeatureMeasurement, banks: Banks, detectors: Sequence[DetectorScore]) -> Score:
    """Every method's aggregate, the requested one in full."""
    settings = measured.settings
    methods = tuple(_method(measured, name) for name in METHODS)
    try:
        scores = measured.requested
    except Refusal as refusal:
        silent = silent_score(settings, f"{refusal.code}: {refusal.message}", detectors)
        return silent.model_copy(update={"methods": methods})
    scaled = _scaled(measured, scores)
    return Score(
        score_method=scores.requested,
        score_method_executed=scores.executed,
        status="measured",
        reduce=settings.reduce,
        k=scores.k,
        aggregate=scores.aggregate,
        drift=_drift(measured, scores),
        prompt_scores=tuple(
            PromptScore(
                id=prompt.id,
                score=float(scores.prompt_scores[row]),
                n_tokens=int(measured.suite.n_tokens[row]),
                top_diffs=tuple(_diff(measured, scores, scaled, row, f) for f in scores.top[row, :TOP_DIFFS]),
            )
            for row, prompt in enumerate(banks.prompts)
        ),
        aggregate_score=scores.score,
        methods=methods,
        detectors=tuple(detectors),
        specificity=_specificity(scores),
        stability=_stability(scores, banks),
        share_outside=None if isinstance(measured.share_outside, Refusal) else measured.share_outside,
        random_control=RandomControl(
            scores=measured.control_scores, share_outside=measured.control_outside, l0=measured.l0
        ),
        n_effective=len({r.ids for r in banks.rendered}),
    )


def explain_prompts(
    measured: FeatureMeasurement, pair: Pair, banks: Banks, labels: LabelSource, seed: int
) -> tuple[tuple[PromptFeatures, ...], Coverage]:
    """The leading features of the prompts that shift most, with labels, logit effects and examples."""
    scores = measured.requested
    order = np.argsort(-scores.prompt_scores, kind="stable")[:EXPLAINED_PROMPTS]
    tops = {int(p): [int(f) for f in scores.top[p, :EXPLAINED] if scores.corrected[p, f] != 0] for p in order}
    shown = [f for row in tops.values() for f in row]
    decoder = measured.dictionary.decoder.detach().cpu().double().numpy()
    named = label_features(shown, decoder, labels, seed=derive(seed, "labels"))
    distinct = sorted(set(shown))
    effects = logit_effects(pair.reference, torch.from_numpy(decoder[distinct]).float())
    found = dict(zip(distinct, effects, strict=True))
    examples = feature_examples(pair, measured.dictionary, distinct, [*banks.rendered, *banks.neutral])
    rows = tuple(
        PromptFeatures(
            id=banks.prompts[row].id,
            features=tuple(
                _explained(measured, scores, row, f, named.of[f], found[f], examples.get(f, ())) for f in features
            ),
        )
        for row, features in tops.items()
    )
    return rows, named.coverage(shown)


def _method(measured: FeatureMeasurement, name: str) -> MethodScore:
    scores = measured.scores[name]
    if isinstance(scores, Refusal):
        return MethodScore(method=name, status="not_measured", reason=f"{scores.code}: {scores.message}")
    return MethodScore(method=name, status="measured", aggregate=scores.score)


def _drift(measured: FeatureMeasurement, scores: FeatureScores) -> Drift:
    removed = (scores.differences - scores.corrected).mean(axis=0)
    n = measured.neutral_prompts if scores.executed == "neutral_drift" else len(scores.differences)
    return Drift(estimator=_ESTIMATORS[scores.executed], n=n, norm=float(np.linalg.norm(removed)))  # type: ignore[arg-type]


def _scaled(measured: FeatureMeasurement, scores: FeatureScores) -> Float64[np.ndarray, "prompt feature"]:
    try:
        return measured.in_sd(scores)
    except Refusal:
        return np.zeros_like(scores.corrected)


def _diff(
    measured: FeatureMeasurement,
    scores: FeatureScores,
    scaled: Float64[np.ndarray, "prompt feature"],
    row: int,
    feature: int,
) -> FeatureDiff:
    diff = float(scores.differences[row, feature])
    return FeatureDiff(
        feature_idx=int(feature),
        reference_activation=float(measured.suite.reference[row, feature]),
        candidate_activation=float(measured.suite.candidate[row, feature]),
        diff=diff,
        direction="up" if diff >= 0 else "down",
        corrected_diff=float(scores.corrected[row, feature]),
        diff_sd=float(scaled[row, feature]),
    )


def _specificity(scores: FeatureScores) -> Specificity | None:
    found = specificity(scores.differences, scores.corrected)
    if isinstance(found, Refusal):
        return None
    return Specificity(
        prompt_invariant_share=found.invariant_share, gini=found.gini, effective_rank=found.effective_rank
    )


def _stability(scores: FeatureScores, banks: Banks) -> Stability:
    found = stability(scores.corrected, scores.top, [p.group or p.id for p in banks.prompts])
    if isinstance(found, Refusal):
        return Stability(jaccard=None, spearman=None, reason=f"{found.code}: {found.message}")
    rank = None if found.spearman is None else Estimate(value=found.spearman, n=found.pairs, unit="Spearman")
    return Stability(jaccard=Estimate(value=found.jaccard, n=found.pairs, unit="Jaccard"), spearman=rank)


def _explained(
    measured: FeatureMeasurement,
    scores: FeatureScores,
    row: int,
    feature: int,
    label: Label,
    effects: Effects,
    examples: Sequence[Example],
) -> ExplainedFeature:
    diff = float(scores.differences[row, feature])
    own, proxy = label.explanation, label.proxy
    return ExplainedFeature(
        feature_idx=feature,
        diff=diff,
        corrected_diff=float(scores.corrected[row, feature]),
        direction="up" if diff >= 0 else "down",
        density=float(measured.density[feature]),
        pos_logits=effects[0],
        neg_logits=effects[1],
        examples=tuple(examples),
        label_kind=label.kind,
        explanation=own.text if own else None,
        type=own.type if own else None,
        author=own.author if own else None,
        score=own.score if own else None,
        proxy_explanation=proxy.text if proxy else None,
        proxy_explanation_cosine=label.cosine,
        neighbours=label.neighbours,
    )
