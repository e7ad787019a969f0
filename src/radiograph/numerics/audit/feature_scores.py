"""How far did the features of a dictionary move between two models, prompt by prompt?

1. d_p = f^cand_p − f^ref_p, the difference of the pooled activations of prompt p (`pooling`), in float64.
2. Remove the drift that every prompt shares: c_p = d_p − drift.
   `abs_diff_topk`                  drift = 0
   `abs_diff_topk_drift_corrected`  the mean of d over the suite; one prompt is refused, below 16 a warning
   `neutral_drift`                  the mean of d over a neutral bank of ≥ 64 prompts outside the suite
   `leave_group_out`                the mean of d outside p's paraphrase group; needs two groups of two
3. Prompt score = Σ |c_p,j| over the k largest |c_p,j|, ties to the lower index, k cut to the number of features.
   Aggregate = mean, or max, over prompts.
4. In reference units: difference / the feature's standard deviation in the reference over neutral and suite tokens;
   silent features take the median of live ones.

The suite mean holds p itself, so a spike on one of five prompts writes −1/5 of itself onto the other four, and leaving
single prompts out ranks exactly as it does: only a drift measured outside the suite, or outside the group, keeps a
spike whole. A method that cannot run returns a Refusal; none falls back on another, and no missing score is a zero.
Units: activations of the dictionary, which are not comparable between features.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np

from radiograph.core import Refusal, UserError, nearest
from radiograph.core.shapes import Float, Float64, Int
from radiograph.numerics._finite import finite

ScoreMethod = Literal["abs_diff_topk", "abs_diff_topk_drift_corrected", "neutral_drift", "leave_group_out"]
Aggregate = Literal["mean", "max"]

MIN_NEUTRAL = 64
FEW_PROMPTS = 16


@dataclass(frozen=True, eq=False)
class NeutralDrift:
    """Mean difference of every feature over prompts outside the suite."""

    mean: Float[np.ndarray, " feature"]
    prompts: int


@dataclass(frozen=True, eq=False)
class FeatureScores:
    """Scores of a suite with the differences behind them."""

    requested: ScoreMethod
    executed: ScoreMethod
    aggregate: Aggregate
    score: float
    """Aggregate over prompts."""
    prompt_scores: Float64[np.ndarray, " prompt"]
    k: int
    """Features summed per prompt: the k asked for, or all there are."""
    top: Int[np.ndarray, "prompt k"]
    """Their indices, largest |corrected difference| first."""
    differences: Float64[np.ndarray, "prompt feature"]
    """d: candidate − reference."""
    corrected: Float64[np.ndarray, "prompt feature"]
    """c: differences without the drift."""
    warnings: tuple[str, ...]


def score_features(
    reference: Float[np.ndarray, "prompt feature"],
    candidate: Float[np.ndarray, "prompt feature"],
    *,
    method: str = "abs_diff_topk",
    k: int = 50,
    aggregate: str = "mean",
    groups: Sequence[str] | None = None,
    neutral: NeutralDrift | None = None,
) -> FeatureScores | Refusal:
    """Score pooled features of a suite; `groups` names the paraphrase group of each prompt.

    Returns:
        the scores, or a Refusal that says why this method cannot run: `no_prompts`, `one_prompt`, `no_neutral_bank`,
        `small_neutral_bank`, `no_groups`.

    Raises:
        UserError: unknown method or aggregate, k < 1, shapes that differ, a value that is not finite.
    """
    known = _known(method)
    how = _known_aggregate(aggregate)
    differences = _differences(reference, candidate)
    if k < 1 or differences.shape[1] == 0:
        raise UserError("top-k needs k ≥ 1 and a feature", got=f"k {k}, {differences.shape[1]} features")
    if len(differences) == 0:
        return Refusal("no_prompts", "there is no prompt to score")
    drift = _drift(known, differences, groups, neutral)
    if isinstance(drift, Refusal):
        return drift
    corrected = differences - drift
    top = top_by_magnitude(corrected, k)
    scores = np.abs(np.take_along_axis(corrected, top, axis=1)).sum(axis=1)
    few = known == "abs_diff_topk_drift_corrected" and len(scores) < FEW_PROMPTS
    return FeatureScores(
        requested=known,
        executed=known,
        aggregate=how,
        score=float(scores.mean() if how == "mean" else scores.max()),
        prompt_scores=scores,
        k=top.shape[1],
        top=top,
        differences=differences,
        corrected=corrected,
        warnings=("drift_from_few_prompts",) if few else (),
    )


def top_by_magnitude(values: Float[np.ndarray, "row feature"], k: int) -> Int[np.ndarray, "row k"]:
    """Indices of the k largest |values| of each row, largest first, ties to the lower index; all if there are fewer."""
    size = np.abs(values)
    k = min(k, values.shape[1])
    threshold = np.partition(size, values.shape[1] - k, axis=1)[:, values.shape[1] - k, None]
    above = size > threshold
    tied = size == threshold
    missing = k - above.sum(axis=1, keepdims=True)
    chosen = above | (tied & (np.cumsum(tied, axis=1, dtype=np.int32) <= missing))
    index = np.nonzero(chosen)[1].reshape(len(values), k)
    order = np.argsort(-np.take_along_axis(size, index, axis=1), axis=1, kind="stable")
    return np.take_along_axis(index, order, axis=1)


def reference_units(
    differences: Float[np.ndarray, "prompt feature"], reference_sd: Float[np.ndarray, " feature"]
) -> Float64[np.ndarray, "prompt feature"] | Refusal:
    """Differences in standard deviations of the reference activation; silent features take the median of live ones.

    Returns:
        the scaled differences, or a Refusal (`no_live_feature`).
    """
    sd = finite(reference_sd, "reference sd")
    live = sd > 0
    if not live.any():
        return Refusal("no_live_feature", "every feature is silent on the reference: there is no unit to scale by")
    return finite(differences, "differences") / np.where(live, sd, np.median(sd[live]))


def _differences(
    reference: Float[np.ndarray, "prompt feature"], candidate: Float[np.ndarray, "prompt feature"]
) -> Float64[np.ndarray, "prompt feature"]:
    if reference.shape != candidate.shape:
        raise UserError(
            "pooled features of the two models differ in shape", got=f"{reference.shape}, {candidate.shape}"
        )
    return finite(candidate, "candidate features") - finite(reference, "reference features")


def _drift(
    method: ScoreMethod,
    differences: Float64[np.ndarray, "prompt feature"],
    groups: Sequence[str] | None,
    neutral: NeutralDrift | None,
) -> Float64[np.ndarray, "#prompt feature"] | Refusal:
    """What each prompt shares with the others under this method."""
    if method == "abs_diff_topk":
        return np.zeros((1, differences.shape[1]))
    if method == "abs_diff_topk_drift_corrected":
        if len(differences) < 2:
            return Refusal("one_prompt", "one prompt has no drift to correct by: its corrected difference is zero")
        return differences.mean(axis=0, keepdims=True)
    if method == "neutral_drift":
        return _neutral(neutral, differences.shape[1])
    return _outside_group(differences, groups)


def _neutral(neutral: NeutralDrift | None, features: int) -> Float64[np.ndarray, "1 feature"] | Refusal:
    if neutral is None:
        return Refusal("no_neutral_bank", "neutral_drift needs a bank of neutral prompts")
    if neutral.prompts < MIN_NEUTRAL:
        return Refusal(
            "small_neutral_bank",
            "the neutral bank is too small to measure drift",
            expected=f"≥ {MIN_NEUTRAL} prompts",
            got=str(neutral.prompts),
        )
    if neutral.mean.shape != (features,):
        raise UserError("the neutral drift has another number of features", got=f"{neutral.mean.shape}, {features}")
    return finite(neutral.mean, "neutral drift")[None]


def _outside_group(
    differences: Float64[np.ndarray, "prompt feature"], groups: Sequence[str] | None
) -> Float64[np.ndarray, "prompt feature"] | Refusal:
    """Mean over the prompts of all other groups."""
    if groups is None:
        return Refusal("no_groups", "leave_group_out needs paraphrase groups")
    if len(groups) != len(differences):
        raise UserError("one group per prompt", got=f"{len(groups)} groups, {len(differences)} prompts")
    _, which, sizes = np.unique(np.asarray(groups), return_inverse=True, return_counts=True)
    if int((sizes >= 2).sum()) < 2:
        return Refusal(
            "no_groups",
            "leave_group_out over single prompts ranks as the suite mean does",
            expected="≥ 2 groups of ≥ 2 prompts",
            got=f"{int((sizes >= 2).sum())} of {len(sizes)} groups",
        )
    inside = np.zeros((len(sizes), differences.shape[1]))
    np.add.at(inside, which, differences)
    outside = (differences.sum(axis=0) - inside) / (len(differences) - sizes)[:, None]
    return outside[which]


def _known(method: str) -> ScoreMethod:
    for name in get_args(ScoreMethod):
        if name == method:
            return name
    names: list[str] = list(get_args(ScoreMethod))
    raise UserError(
        "unknown score method",
        expected=", ".join(names),
        got=method,
        fix=f"did you mean {', '.join(nearest(method, names))}?" if nearest(method, names) else None,
        code="unknown_score_method",
    )


def _known_aggregate(aggregate: str) -> Aggregate:
    if aggregate not in ("mean", "max"):
        raise UserError("unknown aggregate", expected="mean, max", got=aggregate)
    return aggregate
