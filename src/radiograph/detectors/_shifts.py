"""Feature shifts of a suite under every score method: what `score.json` says, from pooled activations alone.

1. score the suite by each method; the requested one is the headline, none stands in for another
2. the share of the shift outside the dictionary; specificity; agreement between paraphrases
Needs no torch: an audit fills `FeatureShifts` from activations, `verify` from the tables of a bundle.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal, get_args

import numpy as np

from radiograph.core import Refusal, derive
from radiograph.core.shapes import Bool, Float64, Int
from radiograph.evidence import (
    DetectorScore,
    Drift,
    Estimate,
    FeatureDiff,
    MethodScore,
    PromptScore,
    RandomControl,
    Score,
    Specificity,
    Stability,
)
from radiograph.numerics import (
    FeatureScores,
    Interval,
    NeutralDrift,
    bootstrap,
    reference_units,
    score_features,
    specificity,
    stability,
    weighted_mean,
)
from radiograph.numerics.audit.feature_scores import ScoreMethod

Reduce = Literal["skip_first", "content"]
METHODS: tuple[str, ...] = get_args(ScoreMethod)
TOP_DIFFS = 10
"""Features listed for each of the prompts that shift most."""
FEW_DIFFS = 3
"""Features listed for every other prompt; all of them stand in `tables/feature_shift.parquet`."""
LEADING_PROMPTS = 100
_ESTIMATORS = {
    "abs_diff_topk": "none",
    "abs_diff_topk_drift_corrected": "suite_mean",
    "neutral_drift": "neutral_mean",
    "leave_group_out": "outside_group_mean",
}


@dataclass(frozen=True)
class FeatureSettings:
    """How shifts are scored."""

    method: str = "abs_diff_topk"
    k: int = 50
    aggregate: str = "mean"
    reduce: Reduce = "skip_first"
    controls: int = 8


@dataclass(frozen=True, eq=False)
class FeatureShifts:
    """Pooled features of both models over the suite, and what scores need beside them."""

    settings: FeatureSettings
    ids: tuple[str, ...]
    groups: tuple[str, ...]
    """Paraphrase group of each prompt; its own id if it has none."""
    reference: Float64[np.ndarray, "prompt feature"]
    candidate: Float64[np.ndarray, "prompt feature"]
    n_tokens: Int[np.ndarray, " prompt"]
    missed: Float64[np.ndarray, " prompt"]
    """Squared norm of the activation shift that the dictionary does not carry."""
    moved: Float64[np.ndarray, " prompt"]
    """Squared norm of the activation shift."""
    neutral: NeutralDrift | None
    sd: Float64[np.ndarray, " feature"]
    """Standard deviation of the reference's token activations over neutral and suite tokens."""
    density: Float64[np.ndarray, " feature"]
    """Share of those tokens on which each feature fires in the reference."""
    control: RandomControl
    distinct: Int[np.ndarray, " prompt"]
    """A number for each prompt, equal where the token ids are: asking again adds no evidence."""
    seed: int
    _scored: dict[str, FeatureScores | Refusal] = field(default_factory=dict, init=False, repr=False)

    @property
    def n_effective(self) -> int:
        """Distinct prompts."""
        return len(set(self.distinct.tolist()))

    def scored(self, name: str) -> FeatureScores | Refusal:
        """Scores of one method, or why it cannot run; computed once."""
        if name not in self._scored:
            self._scored[name] = score_features(
                self.reference,
                self.candidate,
                method=name,
                k=self.settings.k,
                aggregate=self.settings.aggregate,
                groups=self.groups,
                neutral=self.neutral,
            )
        return self._scored[name]

    @property
    def requested(self) -> FeatureScores:
        """Scores of the requested method. Raises its Refusal if it could not run."""
        return self.method(self.settings.method)

    def method(self, name: str) -> FeatureScores:
        """Scores of one method. Raises its Refusal if it could not run."""
        scores = self.scored(name)
        if isinstance(scores, Refusal):
            raise scores
        return scores

    def estimate(self, name: str) -> Estimate:
        """The aggregate of a method over prompts, with a bootstrap interval where it is a mean."""
        scores = self.method(name)
        values = scores.prompt_scores
        interval = self._interval(values, np.ones_like(values), "score", name) if scores.aggregate == "mean" else None
        return Estimate(
            value=scores.score,
            low=interval.low if interval else None,
            high=interval.high if interval else None,
            n=self.n_effective,
            unit="activation",
            method="bootstrap over prompts" if interval else "",
            null=0.0,
        )

    def in_sd(self, scores: FeatureScores) -> Float64[np.ndarray, "prompt feature"]:
        """Corrected differences in standard deviations of the reference activation."""
        scaled = reference_units(scores.corrected, self.sd)
        if isinstance(scaled, Refusal):
            raise scaled
        return scaled

    @property
    def share_outside(self) -> Estimate | None:
        """Σ missed / Σ moved over prompts with a shift, as it is, also above 1; None where nothing moved."""
        some = self.moved > 0
        if not some.any():
            return None
        interval = self._interval(self.missed[some] / self.moved[some], self.moved[some], "outside", among=some)
        return Estimate(
            value=float(self.missed.sum()) / float(self.moved.sum()),
            low=interval.low if interval else None,
            high=interval.high if interval else None,
            n=len(set(self.distinct[some].tolist())),
            unit="share of the squared shift",
            method="bootstrap over prompts" if interval else "",
        )

    def _interval(
        self,
        values: Float64[np.ndarray, " row"],
        weights: Float64[np.ndarray, " row"],
        *purpose: str,
        among: Bool[np.ndarray, " prompt"] | None = None,
    ) -> Interval | None:
        """Of a weighted mean over prompts; a prompt that is asked several times is one unit."""
        units = self.distinct if among is None else self.distinct[among]
        if len(set(units.tolist())) < 2:
            return None
        seed = derive(self.seed, *purpose)
        return bootstrap(weighted_mean(values, weights), len(values), seed=seed, clusters=units).interval()


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


def score_record(shifts: FeatureShifts, detectors: Sequence[DetectorScore] = ()) -> Score:
    """Every method's aggregate, the requested one in full."""
    settings = shifts.settings
    methods = tuple(_method(shifts, name) for name in METHODS)
    try:
        scores = shifts.requested
    except Refusal as refusal:
        silent = silent_score(settings, f"{refusal.code}: {refusal.message}", detectors)
        return silent.model_copy(update={"methods": methods})
    scaled = _scaled(shifts, scores)
    leading = set(np.argsort(-scores.prompt_scores, kind="stable")[:LEADING_PROMPTS].tolist())
    listed = [scores.top[row, : TOP_DIFFS if row in leading else FEW_DIFFS] for row in range(len(scores.top))]
    return Score(
        score_method=scores.requested,
        score_method_executed=scores.executed,
        status="measured",
        reduce=settings.reduce,
        k=scores.k,
        aggregate=scores.aggregate,
        drift=_drift(shifts, scores),
        prompt_scores=tuple(
            PromptScore(
                id=name,
                score=float(scores.prompt_scores[row]),
                n_tokens=int(shifts.n_tokens[row]),
                top_diffs=tuple(_diff(shifts, scores, scaled, row, f) for f in listed[row]),
            )
            for row, name in enumerate(shifts.ids)
        ),
        aggregate_score=scores.score,
        methods=methods,
        detectors=tuple(detectors),
        specificity=_specificity(scores),
        stability=_stability(scores, shifts.groups),
        share_outside=shifts.share_outside,
        random_control=shifts.control,
        n_effective=shifts.n_effective,
    )


def _method(shifts: FeatureShifts, name: str) -> MethodScore:
    scores = shifts.scored(name)
    if isinstance(scores, Refusal):
        return MethodScore(method=name, status="not_measured", reason=f"{scores.code}: {scores.message}")
    return MethodScore(method=name, status="measured", aggregate=scores.score)


def _drift(shifts: FeatureShifts, scores: FeatureScores) -> Drift:
    removed = (scores.differences - scores.corrected).mean(axis=0)
    calm = shifts.neutral if scores.executed == "neutral_drift" else None
    n = len(scores.differences) if calm is None else calm.prompts
    return Drift(estimator=_ESTIMATORS[scores.executed], n=n, norm=float(np.linalg.norm(removed)))  # type: ignore[arg-type]


def _scaled(shifts: FeatureShifts, scores: FeatureScores) -> Float64[np.ndarray, "prompt feature"] | None:
    try:
        return shifts.in_sd(scores)
    except Refusal:
        return None


def _diff(
    shifts: FeatureShifts,
    scores: FeatureScores,
    scaled: Float64[np.ndarray, "prompt feature"] | None,
    row: int,
    feature: int,
) -> FeatureDiff:
    diff = float(scores.differences[row, feature])
    return FeatureDiff(
        feature_idx=int(feature),
        reference_activation=float(shifts.reference[row, feature]),
        candidate_activation=float(shifts.candidate[row, feature]),
        diff=diff,
        direction="up" if diff >= 0 else "down",
        corrected_diff=float(scores.corrected[row, feature]),
        diff_sd=None if scaled is None else float(scaled[row, feature]),
    )


def _specificity(scores: FeatureScores) -> Specificity | None:
    found = specificity(scores.differences, scores.corrected)
    if isinstance(found, Refusal):
        return None
    return Specificity(
        prompt_invariant_share=found.invariant_share, gini=found.gini, effective_rank=found.effective_rank
    )


def _stability(scores: FeatureScores, groups: Sequence[str]) -> Stability:
    found = stability(scores.corrected, scores.top, list(groups))
    if isinstance(found, Refusal):
        return Stability(jaccard=None, spearman=None, reason=f"{found.code}: {found.message}")
    rank = None if found.spearman is None else Estimate(value=found.spearman, n=found.pairs, unit="Spearman")
    return Stability(jaccard=Estimate(value=found.jaccard, n=found.pairs, unit="Jaccard"), spearman=rank)
