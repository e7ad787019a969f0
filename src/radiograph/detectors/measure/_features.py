"""Feature shifts of a suite under every score method, with the control that says whether features add anything.

1. encode both models on the neutral bank and on the suite (`_encoding`), with the dictionary and with random ones
2. score the suite by each method; the requested one is the headline, none stands in for another
3. the share of the shift outside the dictionary; specificity; agreement between paraphrases
4. the same score under random dictionaries of the same size and sparsity: what activation distance alone would give
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import get_args

import numpy as np
from jaxtyping import Float64

from radiograph.core import Progress, Refusal, Site, derive
from radiograph.detectors.measure._banks import Banks
from radiograph.detectors.measure._encoding import Pooled, Reduce, encode_pair, site_rows
from radiograph.dictionaries import Dictionary, random_control
from radiograph.evidence import Estimate
from radiograph.models import Pair
from radiograph.numerics import (
    FeatureScores,
    NeutralDrift,
    bootstrap,
    reference_units,
    score_features,
    weighted_mean,
)
from radiograph.numerics.audit.feature_scores import ScoreMethod

CONTROL_ROWS = 2048
"""Neutral rows on which random dictionaries get the real one's sparsity."""
METHODS: tuple[str, ...] = get_args(ScoreMethod)


@dataclass(frozen=True)
class FeatureSettings:
    """How shifts are scored."""

    method: str = "abs_diff_topk"
    k: int = 50
    aggregate: str = "mean"
    reduce: Reduce = "skip_first"
    controls: int = 8


@dataclass(frozen=True)
class FeatureMeasurement:
    """Everything measured in one dictionary's space."""

    dictionary: Dictionary
    settings: FeatureSettings
    suite: Pooled
    neutral: Pooled | None
    neutral_prompts: int
    scores: dict[str, FeatureScores | Refusal]
    sd: Float64[np.ndarray, " feature"]
    """Standard deviation of the reference's token activations over neutral and suite tokens."""
    density: Float64[np.ndarray, " feature"]
    """Share of those tokens on which each feature fires in the reference."""
    share_outside: Estimate | Refusal
    control_scores: tuple[float, ...]
    control_outside: tuple[float, ...]
    l0: float
    tokens: int
    """Tokens that both models read."""
    seed: int

    @property
    def requested(self) -> FeatureScores:
        """Scores of the requested method. Raises its Refusal if it could not run."""
        return self.method(self.settings.method)

    def method(self, name: str) -> FeatureScores:
        """Scores of one method. Raises its Refusal if it could not run."""
        scores = self.scores[name]
        if isinstance(scores, Refusal):
            raise scores
        return scores

    def estimate(self, name: str) -> Estimate:
        """The aggregate of a method over prompts, with a bootstrap interval where it is a mean."""
        scores = self.method(name)
        values = scores.prompt_scores
        interval = None
        if scores.aggregate == "mean" and len(values) > 1:
            interval = bootstrap(weighted_mean(values), len(values), seed=derive(self.seed, "score", name)).interval()
        return Estimate(
            value=scores.score,
            low=interval.low if interval else None,
            high=interval.high if interval else None,
            n=len(values),
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


def measure_features(
    pair: Pair, banks: Banks, dictionary: Dictionary, settings: FeatureSettings, seed: int, progress: Progress
) -> FeatureMeasurement:
    """Encode, score, control."""
    pair.check_tokenizers()
    with progress.task("encoding", total=2) as task:
        calm = banks.neutral or banks.rendered
        rows = site_rows(pair.reference, calm, Site.parse(dictionary.site), settings.reduce, CONTROL_ROWS)
        controls = [
            random_control(dictionary, rows, seed=derive(seed, "control", number))
            for number in range(settings.controls)
        ]
        codecs = [dictionary, *controls]
        neutral = encode_pair(pair, codecs, banks.neutral, settings.reduce) if banks.neutral else None
        task.advance()
        suite = encode_pair(pair, codecs, banks.rendered, settings.reduce)
        task.advance()
    groups = [p.group or p.id for p in banks.prompts]
    scores = {name: _score(suite[0], neutral[0] if neutral else None, name, settings, groups) for name in METHODS}
    random = [
        _score(s, n, settings.method, settings, groups)
        for s, n in zip(suite[1:], neutral[1:] if neutral else [None] * len(controls), strict=True)
    ]
    seen = [suite[0], *([neutral[0]] if neutral else [])]
    total = sum(int(p.n_tokens.sum()) for p in seen)
    mean = np.sum([p.sums for p in seen], axis=0) / total
    variance = np.sum([p.squares for p in seen], axis=0) / total - mean**2
    return FeatureMeasurement(
        dictionary=dictionary,
        settings=settings,
        suite=suite[0],
        neutral=neutral[0] if neutral else None,
        neutral_prompts=len(banks.neutral),
        scores=scores,
        sd=np.sqrt(np.maximum(variance, 0.0)),
        density=np.sum([p.active for p in seen], axis=0) / total,
        share_outside=_outside(suite[0], derive(seed, "outside")),
        control_scores=tuple(r.score for r in random if isinstance(r, FeatureScores)),
        control_outside=tuple(_ratio(p) for p in suite[1:]),
        l0=float(seen[0].active.sum() / seen[0].n_tokens.sum()),
        tokens=2 * sum(map(len, [*banks.tokens, *banks.neutral_tokens])),
        seed=seed,
    )


def _score(
    suite: Pooled, neutral: Pooled | None, method: str, settings: FeatureSettings, groups: Sequence[str]
) -> FeatureScores | Refusal:
    drift = None
    if neutral is not None:
        drift = NeutralDrift((neutral.candidate - neutral.reference).mean(axis=0), len(neutral.reference))
    return score_features(
        suite.reference,
        suite.candidate,
        method=method,
        k=settings.k,
        aggregate=settings.aggregate,
        groups=groups,
        neutral=drift,
    )


def _outside(pooled: Pooled, seed: int) -> Estimate | Refusal:
    moved = pooled.shift > 0
    if not moved.any():
        return Refusal("no_shift", "no activation moved at the dictionary's site")
    ratios, weights = pooled.missed[moved] / pooled.shift[moved], pooled.shift[moved]
    interval = None
    if len(ratios) > 1:
        interval = bootstrap(weighted_mean(ratios, weights), len(ratios), seed=seed).interval()
    return Estimate(
        value=_ratio(pooled),
        low=interval.low if interval else None,
        high=interval.high if interval else None,
        n=len(ratios),
        unit="share of the squared shift",
        method="bootstrap over prompts" if interval else "",
    )


def _ratio(pooled: Pooled) -> float:
    total = float(pooled.shift.sum())
    return float(pooled.missed.sum()) / total if total > 0 else 0.0
