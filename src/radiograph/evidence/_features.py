"""Which features moved, how that was judged, and what they are called."""

from __future__ import annotations

from typing import Literal

from radiograph.evidence._record import Record
from radiograph.evidence._statistics import DetectorScore, DetectorStatus, Estimate

LabelKind = Literal["direct", "proxy", "low_similarity", "none"]


class FeatureDiff(Record):
    """One feature on one prompt; activations are means over the prompt's tokens without the first."""

    feature_idx: int
    reference_activation: float
    candidate_activation: float
    diff: float
    direction: Literal["up", "down"]
    corrected_diff: float
    """The difference after the method's drift correction; what the feature was ranked by."""
    diff_sd: float | None
    """Corrected difference in standard deviations of the reference activation; None if no feature fires there."""
    z_benign: float | None = None


class PromptScore(Record):
    """One prompt's score and the features that make it."""

    id: str
    score: float
    n_tokens: int
    top_diffs: tuple[FeatureDiff, ...]


class Drift(Record):
    """What was subtracted, and from how many prompts it was estimated."""

    estimator: Literal["none", "suite_mean", "neutral_mean", "outside_group_mean"]
    n: int
    norm: float


class Specificity(Record):
    """Does the shift depend on the prompt?"""

    prompt_invariant_share: float | None
    gini: float | None
    effective_rank: float | None


class Stability(Record):
    """Agreement of top features between paraphrases of a group."""

    jaccard: Estimate | None
    spearman: Estimate | None
    reason: str | None = None


class RandomControl(Record):
    """The same score with random dictionaries: what activation distance alone would give."""

    scores: tuple[float, ...]
    share_outside: tuple[float, ...]
    l0: float


class MethodScore(Record):
    """One of the score methods, all computed side by side; the requested one is the headline."""

    method: str
    status: DetectorStatus
    reason: str | None = None
    aggregate: float | None = None


class Score(Record):
    """`score.json`."""

    score_method: str
    score_method_executed: str | None
    """Equal to the requested one, or None when it could not run; nothing falls back."""
    status: DetectorStatus
    reason: str | None = None
    reduce: str
    k: int
    aggregate: str
    drift: Drift | None = None
    prompt_scores: tuple[PromptScore, ...] = ()
    aggregate_score: float | None = None
    methods: tuple[MethodScore, ...] = ()
    detectors: tuple[DetectorScore, ...] = ()
    specificity: Specificity | None = None
    stability: Stability | None = None
    share_outside: Estimate | None = None
    random_control: RandomControl | None = None
    n_effective: int = 0
    """Distinct prompts; reruns of greedy decoding count once."""


class GuardCheck(Record):
    """One line of the feature-space guard."""

    check: str
    expected: str
    observed: str
    passed: bool


class DictionaryRecord(Record):
    """Which dictionary, and why it may speak."""

    ref: str
    sha256: str
    decoder_sha256: str
    site: str
    kind: str
    F: int
    d: int
    fvu: float | None = None
    l0: float | None = None
    ce_recovered: float | None = None
    checks: tuple[GuardCheck, ...] = ()


class Neighbour(Record):
    """An explained feature that points the same way."""

    feature_idx: int
    cosine: float
    explanation: str


class Example(Record):
    """A place where the feature fires, with what stands around it."""

    tokens: tuple[str, ...]
    values: tuple[float, ...]
    """The feature's activation on each token, under the model that fires harder there."""
    peak: int
    """Index of the strongest token."""
    model: Literal["reference", "candidate"]


class ExplainedFeature(Record):
    """A shifted feature with whatever is known of it."""

    feature_idx: int
    diff: float
    corrected_diff: float
    direction: Literal["up", "down"]
    density: float | None = None
    pos_logits: tuple[tuple[str, float], ...] = ()
    neg_logits: tuple[tuple[str, float], ...] = ()
    examples: tuple[Example, ...] = ()
    label_kind: LabelKind
    explanation: str | None = None
    type: str | None = None
    author: str | None = None
    score: float | None = None
    url: str | None = None
    proxy_explanation: str | None = None
    proxy_explanation_cosine: float | None = None
    neighbours: tuple[Neighbour, ...] = ()


class PromptFeatures(Record):
    """The leading features of one prompt, explained."""

    id: str
    features: tuple[ExplainedFeature, ...]


class Coverage(Record):
    """How many of the shown features have words, over distinct features."""

    shown: int
    distinct: int
    n_effective: int
    direct: int
    proxy: int
    low_similarity: int
    none: int
    never_asked: int = 0
    cosine_median: float | None = None
    cosine_min: float | None = None
    null_q95: float | None = None
    """95 % quantile of the best cosine that a random direction finds among the explained rows."""


class ExplanationSource(Record):
    """Where labels came from."""

    source: str
    mode: str
    snapshot_sha256: str | None = None


class InterpEvidence(Record):
    """`interp_evidence.json`."""

    status: DetectorStatus
    reason: str | None = None
    dictionary: DictionaryRecord | None = None
    explanations: ExplanationSource | None = None
    coverage: Coverage | None = None
    per_prompt: tuple[PromptFeatures, ...] = ()
