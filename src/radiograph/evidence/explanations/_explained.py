"""Explanations of features: words, what they rest on, and who said them."""

from __future__ import annotations

from typing import ClassVar, Literal

from radiograph.core import ExitCode
from radiograph.evidence._record import Record, Result
from radiograph.evidence._statistics import Estimate

Part = Literal["learn", "check", "reserved"]


class HeldOut(Record):
    """A rule on tokens that it was not learned from."""

    precision: float | None
    """None: it named none of them."""
    recall: float | None
    f1: float | None
    low: float | None = None
    high: float | None = None
    n: int
    """Tokens."""
    fired: int
    groups: int
    chance: float
    """F1 of naming tokens at the rate at which the feature fires."""


class RuleRecord(Record):
    """At most four literals, joined from left to right."""

    text: str
    joins: tuple[Literal["", "or", "and", "and not"], ...]
    kinds: tuple[str, ...]
    values: tuple[str, ...]
    check: HeldOut

    def describes(self, least_f1: float) -> bool:
        """Whether its F1 on texts that did not teach it makes it an explanation."""
        return self.check.f1 is not None and self.check.f1 >= least_f1


class TokenShare(Record):
    """One token of those on which a feature fires."""

    token: str
    share: float
    n: int


class TokenStatistics(Record):
    """What fires a feature, counted over the texts that explain."""

    n: int
    texts: int
    tokens: tuple[TokenShare, ...]
    entropy: float
    """Bits, over the different tokens that fire it."""
    position: float
    """Median place in the text, from 0."""
    capitalised: float
    number: float
    punctuation: float
    word_start: float


class Gram(Record):
    """Tokens in a row that end where the feature fires more often than elsewhere."""

    text: str
    z: float
    n: int


class Pushed(Record):
    """A token whose logit the write direction raises or lowers."""

    token: str
    change: float


class ShownContext(Record):
    """A window of text as an explainer saw it."""

    role: Literal["top", "decile", "near_miss"]
    prompt_id: str
    tokens: tuple[str, ...]
    values: tuple[float, ...]


class FeatureExplanation(Record):
    """What one feature was called."""

    feature: int
    """Number in its dictionary or records."""
    feature_id: str
    threshold: float = 0.0
    """It fires above this value."""
    text: str | None
    """None: nothing was found, or the explainer failed; `why` says which."""
    fires_on: tuple[str, ...] = ()
    not_on: tuple[str, ...] = ()
    rule: RuleRecord | None = None
    """The best one; an explanation only where its F1 is large enough."""
    rule_said: str | None = None
    """A rule in words, by an explainer that learns none."""
    confidence: float | None = None
    """As the explainer claims; nothing measured."""
    why: str | None = None
    score: Estimate | None = None
    """Where the explainer measures one itself."""
    statistics: TokenStatistics | None = None
    grams: tuple[Gram, ...] = ()
    promoted: tuple[Pushed, ...] = ()
    suppressed: tuple[Pushed, ...] = ()
    contexts: tuple[ShownContext, ...] = ()
    prompt_sha256: str | None = None


class Exchange(Record):
    """What was asked of an endpoint."""

    model: str
    prompts: tuple[str, ...]
    """Versions of the prompts."""
    calls: int
    cached: int
    failed: int
    repaired: int
    prompt_tokens: int
    completion_tokens: int
    cost: float | None
    """None: unknown."""
    stopped: str | None = None
    """Why it ended early."""


class RoundTripRecord(Record):
    """Vectors, verbalized and reconstructed; a score of vectors, not of features."""

    cosine: float
    variance: float
    shuffled_cosine: float
    shuffled_variance: float
    p: float
    n: int


class ExplainFeatures(Result):
    """Explanations of the features of a dictionary or of records."""

    SCHEMA: ClassVar[str] = "radiograph.explain_features/1"

    explainer: str
    author: str
    source: str
    site: str | None
    dictionary_sha256: str | None
    decoder_sha256: str | None
    model: str | None
    above: float
    """A feature fires above this share of its largest value."""
    window: int = 32
    """Tokens of a context."""
    least_f1: float = 0.5
    """F1 on checked texts below which a rule describes nothing."""
    features: int
    asked: int
    explained: int
    failed: int
    """Features whose question failed; they have no explanation, and do not count as none found."""
    groups: dict[Part, int]
    tokens: dict[Part, int]
    explanations: tuple[FeatureExplanation, ...]
    """In the order of their numbers; contexts only of those that a page shows."""
    exchange: Exchange | None = None
    round_trip: RoundTripRecord | None = None
    round_trip_missing: str | None = None
    labels_sha256: str | None = None
    """Of `labels/labels.sqlite`; None where the decoder is not known."""
    notes: tuple[str, ...] = ()

    @property
    def headline(self) -> str:
        """How many features have words."""
        ended = f"; ended early: {self.exchange.stopped}" if self.exchange and self.exchange.stopped else ""
        lost = f", {self.failed} failed" if self.failed else ""
        return f"{self.explained} of {self.asked} features asked have words ({self.author}){lost}{ended}"

    @property
    def exit_code(self) -> ExitCode:
        """4 where the explainer ended early, or failed on all."""
        stopped = self.exchange is not None and self.exchange.stopped is not None
        nothing = self.asked > 0 and self.failed == self.asked
        return ExitCode.NOT_MEASURED if stopped or nothing else ExitCode.PASS
