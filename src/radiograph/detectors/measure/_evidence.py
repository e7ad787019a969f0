"""What the shifted features are: `interp_evidence.json`, for the prompts that shift most."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from radiograph.core import derive
from radiograph.detectors._shifts import FeatureShifts
from radiograph.detectors.measure._banks import Banks
from radiograph.detectors.measure._contexts import Effects, feature_examples, logit_effects
from radiograph.dictionaries import Dictionary
from radiograph.evidence import Coverage, Example, ExplainedFeature, PromptFeatures
from radiograph.explanations import Label, LabelSource, label_features
from radiograph.models import Pair
from radiograph.numerics import FeatureScores

EXPLAINED = 3
"""Features explained per prompt."""
EXPLAINED_PROMPTS = 40
"""Prompts whose features are explained: those with the largest scores."""


def explain_prompts(
    shifts: FeatureShifts, dictionary: Dictionary, pair: Pair, banks: Banks, labels: LabelSource
) -> tuple[tuple[PromptFeatures, ...], Coverage]:
    """The leading features of the prompts that shift most, with labels, logit effects and examples."""
    scores = shifts.requested
    order = np.argsort(-scores.prompt_scores, kind="stable")[:EXPLAINED_PROMPTS]
    tops = {int(p): [int(f) for f in scores.top[p, :EXPLAINED] if scores.corrected[p, f] != 0] for p in order}
    shown = [f for row in tops.values() for f in row]
    decoder = dictionary.decoder.detach().cpu().double().numpy()
    named = label_features(shown, decoder, labels, seed=derive(shifts.seed, "labels"))
    distinct = sorted(set(shown))
    effects = logit_effects(pair.reference, torch.from_numpy(decoder[distinct]).float())
    found = dict(zip(distinct, effects, strict=True))
    read = [*banks.rendered, *banks.neutral]
    examples = feature_examples(pair, dictionary, distinct, read, shifts.settings.reduce)
    rows = tuple(
        PromptFeatures(
            id=banks.prompts[row].id,
            features=tuple(
                _explained(shifts, scores, row, f, named.of[f], found[f], examples.get(f, ())) for f in features
            ),
        )
        for row, features in tops.items()
    )
    return rows, named.coverage(shown)


def _explained(
    shifts: FeatureShifts,
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
        density=float(shifts.density[feature]),
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
