"""Scores of explanations on texts that nobody who explained has seen."""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field

from radiograph.core import ExitCode
from radiograph.evidence._record import Record, Result
from radiograph.evidence.explanations._explained import Exchange

SCORERS: dict[str, str] = {
    "detection": "balanced accuracy",
    "fuzzing": "balanced accuracy",
    "simulation_top": "correlation",
    "simulation_random": "correlation",
    "rule": "F1",
}
"""What each of ours is measured in; those of other packages say it in their summary."""


class Limits(Record):
    """A mean over features, with percentile limits over features drawn with replacement."""

    value: float
    low: float | None
    high: float | None
    n: int


class JudgeRecord(Record):
    """Who judged."""

    name: str
    """`none` for the rule."""
    seeds: tuple[int, ...]


class ScorerSummary(Record):
    """One scorer over all features."""

    scorer: str
    unit: str
    judge: str
    chance: float | None
    """None: it differs by feature, and is the median `chance` of the features."""
    chance_median: float | None = None
    own: Limits | None
    other: Limits | None
    """The explanation of another feature, on the same contexts."""
    empty: Limits | None
    """No explanation, on the same contexts."""
    lift: Limits | None
    """Own less other, feature by feature."""
    questions: int
    failed: int
    code: str | None = None
    """Why nothing was measured."""


class FeatureScore(Record):
    """One scorer on one feature."""

    feature: int
    feature_id: str
    scorer: str
    value: float | None
    low: float | None = None
    high: float | None = None
    n: int
    """Contexts, or tokens, over all seeds."""
    spread: float | None = None
    """Standard deviation over seeds."""
    other: float | None = None
    empty: float | None = None
    lift: float | None = None
    chance: float
    precision: float | None = None
    recall: float | None = None
    windows: float | None = None
    """Of a rule: balanced accuracy of windows, a window being called firing where the rule names a token of it."""
    failed: int = 0
    code: str | None = None
    """Why it was not measured."""


class Proxies(Record):
    """Cheap signs of a good explanation. They are proxies: no grade reads them."""

    feature: int
    entropy: float | None
    """Bits, of the tokens that fire it."""
    similarity: float | None
    """Mean cosine of the words of its strongest windows."""
    logits: float | None
    """Share of promoted tokens among the tokens that follow where it fires."""


class ExplainScore(Result):
    """Scores of all explanations of a run."""

    SCHEMA: ClassVar[str] = "radiograph.explain_score/1"

    run: str
    explainer: str
    author: str
    judge: JudgeRecord
    groups: int
    """Reserved groups; none of them was seen by an explainer."""
    tokens: int
    explained: int
    scored: int
    summaries: tuple[ScorerSummary, ...]
    scores: tuple[FeatureScore, ...]
    proxies: tuple[Proxies, ...] = ()
    proxy_correlations: dict[str, float | None] = Field(default_factory=dict)
    """Spearman's ρ of each proxy with detection (without it, with the rule), over features."""
    proxy_against: str | None = None
    exchange: Exchange | None = None
    notes: tuple[str, ...] = ()

    @property
    def headline(self) -> str:
        """The lift of each scorer that measured something."""
        told = [
            f"{_said(s.scorer)} {s.own.value:.2f}, {'no lift' if s.lift is None else f'lift {s.lift.value:+.2f}'}"
            for s in self.summaries
            if s.own is not None
        ]
        missing = [f"{_said(s.scorer)} not measured ({s.code})" for s in self.summaries if s.own is None]
        return "; ".join([*told, *missing, f"{self.scored} of {self.explained} explanations"])

    @property
    def exit_code(self) -> ExitCode:
        """4 where a scorer measured nothing, or the budget ended it."""
        stopped = self.exchange is not None and self.exchange.stopped is not None
        missing = any(s.own is None for s in self.summaries)
        return ExitCode.NOT_MEASURED if stopped or missing else ExitCode.PASS


def _said(scorer: str) -> str:
    return scorer.replace("simulation_", "simulation on ").replace("on top", "on strongest") + (
        " windows" if scorer.startswith("simulation") else ""
    )
