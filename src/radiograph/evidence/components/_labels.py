"""`radiograph.component-labels/1`: what components were called, by whom, at what price, and what it is worth."""

from __future__ import annotations

from typing import ClassVar, Literal

from radiograph.core import ExitCode
from radiograph.evidence._record import Record, Result
from radiograph.evidence.explanations import Exchange, FeatureScore, ScorerSummary

Strategy = Literal["compact", "dual", "graph"]


class ComponentLabel(Record):
    """One component."""

    component: str
    firings: int
    label: str | None
    """None: nobody found words, `why` says why."""
    confidence: str | None = None
    """As the writer claims; nothing measured."""
    reasoning: str = ""
    why: str | None = None
    rule_f1: float | None = None
    """Of a rule, on recorded tokens that did not teach it; `rule_chance` is that of naming tokens at the rate."""
    rule_chance: float | None = None
    rule_n: int | None = None


class Intruders(Record):
    """Five texts, four of one component: which does not belong? Says nothing of labels."""

    right: int
    n: int
    """Answers."""
    failed: int
    components: int
    too_few: int
    """Components with under four texts."""
    chance: float
    value: float | None
    """Mean over components of the share of right answers."""
    low: float | None = None
    high: float | None = None


class ComponentLabels(Result):
    """Labels, their cost and their scores. `tables/labels.parquet` holds every phase with its prompt."""

    SCHEMA: ClassVar[str] = "radiograph.component-labels/1"

    harvest: str
    harvest_seal: str
    attributions: str | None
    attributions_seal: str | None
    decomposition_sha256: str
    model: str
    strategy: Strategy
    writer: str
    author: str
    asked: int
    """Components with enough firings, after --limit."""
    labelled: int
    unclear: int
    """Labels that say that nothing fits."""
    failed: int
    """Questions that were put and not answered."""
    too_few: int
    """Components that fired, and too seldom to be labelled."""
    left_out: int
    """By --limit."""
    skipped: tuple[str, ...]
    """Graph: components without a label from one of the two passes."""
    phases: dict[str, int]
    """Labels of each phase."""
    labels: tuple[ComponentLabel, ...]
    """The most frequent components first."""
    scores: tuple[FeatureScore, ...] = ()
    summaries: tuple[ScorerSummary, ...] = ()
    intruders: Intruders | None = None
    exchange: Exchange | None = None
    stopped: str | None = None
    """Why it ended early; what was said stands."""
    labels_sha256: str | None = None
    """Of `labels/labels.sqlite`."""
    notes: tuple[str, ...] = ()

    @property
    def words(self) -> dict[str, str]:
        """Labels that say something, by component."""
        return {one.component: one.label for one in self.labels if one.label and one.label.strip().lower() != "unclear"}

    @property
    def headline(self) -> str:
        """How many labels, and what they are worth."""
        text = f"{self.labelled:,} of {self.asked:,} components labelled"
        for summary in self.summaries:
            if summary.own is None:
                text += f"; {summary.scorer} not measured: {summary.code}"
            else:
                other = "" if summary.other is None else f", another's label {summary.other.value:.2f}"
                text += f"; {summary.scorer} {summary.own.value:.2f} (chance {summary.chance or 0:.2f}{other})"
        if self.intruders is not None and self.intruders.value is None:
            text += "; intruder not measured"
        return text + (f"; stopped: {self.stopped}" if self.stopped else "")

    @property
    def exit_code(self) -> ExitCode:
        """No label, a run that ended early, or a score that was asked for and has no value: not measured."""
        unscored = any(summary.own is None for summary in self.summaries)
        unscored |= self.intruders is not None and self.intruders.value is None
        return ExitCode.NOT_MEASURED if self.stopped or unscored or not self.labelled else ExitCode.PASS

    @property
    def lines(self) -> tuple[str, ...]:
        """What a reader should not overlook."""
        return self.notes
