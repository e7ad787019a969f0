"""`radiograph.features_effects/1`: what moving features does, dose by dose, beside its controls; and the plan of it."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

from pydantic import Field

from radiograph.core import ExitCode
from radiograph.evidence._record import Document, Record, Result
from radiograph.evidence.criterion import CriterionLabeller
from radiograph.evidence.features import GRADES, Requirement, at_least

NONE_ACCEPTABLE = "none_acceptable"
Bounds = tuple[float, float]
WORDS = {
    "validated": "validated",
    "beyond_controls": "beyond controls, not validated",
    "effect": "with an effect not beyond controls",
    "no_effect": "without effect",
    "untested": "not measured",
}


class LimitsRecord(Record):
    """What a dose may cost."""

    kl: float
    """Nats per token of neutral text, mean."""
    ppl: float
    """Perplexity over that of the untouched model."""
    negative: float
    """|Δ outcome| on negatives and near misses over |E|."""


class DoseRow(Record):
    """One feature under one condition, on one half."""

    half: Literal["discover", "confirm"]
    verb: str
    dose: float | None
    unit: str | None
    raw: float | None
    norm_fraction: float | None
    """Length of the push over the mean norm of the site."""
    effect: float
    """Directed: positive where the feature promotes the outcome, whichever way it was moved."""
    interval: Bounds | None
    change: float
    """Outcome under the condition less that of the untouched model."""
    groups: int
    kl: float | None
    ppl: float | None
    negative: float | None
    """Mean |Δ outcome| on negatives and near misses."""
    band: float | None
    """What 95 % of the controls of the worst family stay below, |Δ|, at this dose; None: no controls at it."""
    reasons: tuple[str, ...]
    """Why the dose is not acceptable."""
    chosen: bool


class ControlRow(Record):
    """The effect beside one family of controls."""

    family: str
    n: int
    p: float | None
    """(1 + #{|c| ≥ |E|})/(1 + n); None under 19."""
    band: float | None
    largest: float | None


class Continuations(Record):
    """What the model goes on to say under the graded condition, and untouched."""

    texts: int
    distinct2: float | None
    """Share of pairs of tokens that differ, mean over texts; None: none has two tokens."""
    distinct2_untouched: float | None
    length: float
    """Tokens, mean; a continuation ends where the model ends it, or at --new-tokens."""
    length_untouched: float


class GuardRow(Record):
    """A suite under the graded condition."""

    suite: str
    n: int
    """Prompts whose answers can be scored."""
    untouched: float
    """Share that pass."""
    lost: int
    gained: int
    drop: float
    """(lost − gained)/n."""
    interval: Bounds
    """Newcombe."""


class FeatureEffect(Record):
    """What one feature does to one outcome."""

    feature: str
    label: str | None = None
    grade: str
    codes: tuple[str, ...]
    failing: tuple[str, ...]
    """Conditions of `validated` that are not met."""
    contradicted: bool | None
    """Its sign is opposite to that of the association; None: no association is known."""
    verb: str | None
    dose: float | None
    """Chosen on discover; where none was acceptable, the one it is graded at."""
    unit: str | None
    raw: float | None
    norm_fraction: float | None
    acceptable: bool | None
    effect: float | None
    """On confirm."""
    interval: Bounds | None
    p: float | None
    p_signs: float | None
    q: float | None
    in_sd: float | None
    """Effect over the standard deviation of the untouched outcome."""
    groups: int
    discover: float | None
    discover_interval: Bounds | None
    negative: float | None
    kl: float | None
    kl_q95: float | None
    ppl: float | None
    score: float | None
    """Strong causal score."""
    slope: float | None
    slope_interval: Bounds | None
    monotonicity: float | None
    shape: str | None
    placebo_exact: bool | None
    controls: tuple[ControlRow, ...]
    doses: tuple[DoseRow, ...]
    said: Continuations | None = None
    """None: nothing was continued."""
    guards: tuple[GuardRow, ...] = ()


class OrderedCondition(Record):
    """One condition of one feature."""

    id: str
    """Hash of model, feature and write: the same wherever it runs."""
    verb: str
    dose: float | None
    unit: str | None
    raw: float | None
    norm_fraction: float | None


class OrderedFeature(Record):
    """One feature to test: what a shard takes whole."""

    id: str
    feature: str
    label: str | None = None
    association: float | None = None
    """With the criterion, signed, as `inspect` found it on discover; None: not known."""
    conditions: tuple[OrderedCondition, ...]
    controls: dict[str, int]
    """Family to number."""


class InterventionOrder(Document):
    """Everything that is to be done, before anything is: `order.json`."""

    SCHEMA: ClassVar[str] = "radiograph.intervention_order/1"

    model: str
    model_sha256: str
    criterion: str
    criterion_id: str
    outcome: str
    outcome_unit: str
    targets: tuple[str, ...]
    foils: tuple[str, ...]
    positions: str
    prompts: dict[str, int]
    """`discover.positive`, `confirm.near_miss`, …"""
    prompts_sha256: str
    neutral: int
    """Neutral texts."""
    neutral_tokens: int
    limits: LimitsRecord
    control_doses: Literal["chosen", "all"]
    forwards: int
    """Rows that pass through the model: prompts and neutral texts, times conditions and controls."""
    seed: int
    features: tuple[OrderedFeature, ...]
    codes: tuple[str, ...] = ()
    """Codes that every feature carries, by its source."""
    cut: int = 0
    """Prompts that lost their beginning, because the context would not hold them and what follows."""
    judge: CriterionLabeller | None = None
    """Who says which continuations meet the criterion, and how far it agrees with the labels of the rows."""
    options: dict[str, Any] = Field(default_factory=dict)
    """The options that make this order; paths as they may be written down."""


class Effects(Result):
    """What moving each feature does."""

    SCHEMA: ClassVar[str] = "radiograph.features_effects/1"

    order: InterventionOrder
    order_sha256: str
    shard: str | None = None
    """`i/n` where this is a part that waits to be merged."""
    features: tuple[FeatureEffect, ...] = ()
    planned: bool = False
    """Nothing was run."""
    required: str | None = None
    notes: tuple[str, ...] = ()

    @property
    def acceptable(self) -> tuple[FeatureEffect, ...]:
        """Features with an acceptable dose."""
        return tuple(f for f in self.features if f.acceptable)

    @property
    def unmeasured(self) -> bool:
        """No dose is acceptable, and of some nothing but the cost is missing."""
        missing = (d for f in self.features for d in f.doses if d.half == "discover" and d.reasons)
        return not self.acceptable and any(all(why.endswith("_missing") for why in d.reasons) for d in missing)

    @property
    def without(self) -> str:
        """What is said first where no dose is acceptable."""
        if self.acceptable or not self.features:
            return ""
        if self.unmeasured:
            return "not measured: side effects, so that no dose can be accepted; "
        return f"{NONE_ACCEPTABLE}: no dose moves the outcome within the limits; "

    @property
    def best(self) -> FeatureEffect | None:
        """The highest grade, then the largest score, then the smallest q."""

        def key(f: FeatureEffect) -> tuple[float, float, float]:
            return GRADES["causal"].index(f.grade), f.score or 0.0, -(1.0 if f.q is None else f.q)

        return max(self.features, key=key, default=None)

    @property
    def headline(self) -> str:
        """How many features of each grade, and the best of them with its numbers."""
        if self.planned:
            return (
                f"{len(self.order.features)} features, {sum(len(f.conditions) for f in self.order.features)} conditions"
                f", {self.order.forwards} forward rows; nothing was run"
            )
        counts = {g: sum(f.grade == g for f in self.features) for g in reversed(GRADES["causal"])}
        said = ", ".join(f"{n} {WORDS[grade]}" for grade, n in counts.items() if n)
        best = self.best
        return (
            self.without
            + f"{said} of {len(self.features)} tested"
            + ("" if best is None else f"; {_line(best, self.order)}")
        )

    @property
    def exit_code(self) -> ExitCode:
        """2: no dose of any feature is acceptable, or what was required is not met. 4: not measured."""
        if self.planned or not self.features:
            return ExitCode.PASS if self.planned else ExitCode.NOT_MEASURED
        measured = [f for f in self.features if f.grade != GRADES["causal"][0]]
        if not measured:
            return ExitCode.NOT_MEASURED
        if self.shard is not None:
            return ExitCode.PASS
        if self.required is not None:
            least = Requirement.parse(self.required).grade
            if not any(at_least("causal", f.grade, least) for f in measured):
                return ExitCode.GATE_FAILED
        if self.unmeasured:
            return ExitCode.NOT_MEASURED
        return ExitCode.PASS if self.acceptable else ExitCode.GATE_FAILED


class ContrastFacts(Record):
    """One fitted direction."""

    name: str
    site: str
    method: Literal["mean_difference", "whitened", "logistic"]
    paired: bool
    rows: tuple[int, int]
    """Positives and others that it was fitted on."""
    auroc: float
    """Of the projection, on groups that it was not fitted on."""
    auroc_interval: Bounds | None
    split_half: float | None
    """Cosine of the directions fitted on two halves of the groups."""
    norm: float
    """Length of the fitted vector before it was made a unit."""
    share: float
    """The same over the mean norm of the site."""
    cosine_length: float | None
    """With the direction along which the length of a prompt grows."""
    cosine_targets: float | None
    """With the mean unembedding of the targets less that of all tokens."""
    bound: float | None
    """On discover, the bound of |E| nearest 0 at the dose chosen there; None: no acceptable dose."""
    chosen: bool


class Steering(Result):
    """A direction between two classes of prompts, and what pushing along it does."""

    SCHEMA: ClassVar[str] = "radiograph.features_steering/1"

    fitted: tuple[ContrastFacts, ...]
    effects: Effects
    written: str | None
    """The file of the direction; None: not validated, nothing written."""

    @property
    def chosen(self) -> ContrastFacts:
        """The direction that was tested on confirm."""
        return next(f for f in self.fitted if f.chosen)

    @property
    def headline(self) -> str:
        """The direction, and what it does."""
        if self.effects.planned:
            return self.effects.headline
        own = self.chosen
        (only,) = self.effects.features
        kept = f"written to {self.written}" if self.written else "no vector written"
        return f"{self.effects.without}{_line(only, self.effects.order)}; held-out AUROC {own.auroc:.3f}; {kept}"

    @property
    def exit_code(self) -> ExitCode:
        """As the effects."""
        return self.effects.exit_code


def _line(f: FeatureEffect, order: InterventionOrder) -> str:
    if f.effect is None:
        return f.feature
    unit = f" {order.outcome_unit}"
    interval = f" [{f.interval[0]:.3g}, {f.interval[1]:.3g}]" if f.interval else ""
    at = f" at {f.dose:g} {f.unit}" if f.dose is not None else ""
    cost = f", KL {f.kl:.2g}" if f.kl is not None else ""
    q = f", q {f.q:.2g}" if f.q is not None else ""
    return f"{f.feature} {f.grade}: {f.effect:+.3g}{unit}{interval}{at}, {f.groups} groups{q}{cost}"
