"""`radiograph.inspection/1`: the features of a model that go with a criterion, and how surely."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field

from radiograph.core import ExitCode
from radiograph.evidence._record import Record, RefusalRecord, Result
from radiograph.evidence.criterion import Criterion
from radiograph.evidence.features._cards import Card
from radiograph.evidence.features._grades import GRADES, Requirement, at_least
from radiograph.evidence.features._ranking import Ranking

Outcome = Literal["found", "none_adequate", "none_inconclusive", "not_measured", "compiled"]
Found = dict[str, int]
_LISTED = 3


class InspectionSource(Record):
    """Where features came from."""

    source: str
    """As it was given, without absolute paths."""
    kind: str
    features: int
    rows: int | None = None
    """Rows on which they were measured; None: no activations."""
    unlabelled: int = 0
    """Rows left out because nothing says whether they meet the criterion."""
    missing: int = 0
    """Rows of the criterion left out because they have no record."""
    pool: str | None = None
    """How a row's value was made of its tokens: `as_stored`, `token`, `max`, `mean`, `last`, `sum`."""
    citation: str | None = None
    """Whom to name, where the source says so."""
    model: str | None = None
    absent: str | None = None
    """What a missing entry means: `zero`, `below`, `missing`."""
    sites: tuple[str, ...] = ()
    records: str | None = None
    """Folder of the records inside this bundle, where they were made by this run."""
    sha256: str | None = None


class Design(Record):
    """What was compared with what."""

    name: Literal["between", "within", "mixed", "continuous"]
    units: tuple[int, int]
    """In discover, in confirm: cells of a group and a label, or pairs."""
    groups: tuple[int, int]
    positive: tuple[int, int]
    negative: tuple[int, int]
    dropped: int = 0
    """Groups that a paired design cannot use, cells of too few rows."""
    left: int = 0
    """Rows left out, so that cells that are compared have equally many."""
    near_miss: tuple[int, int] | None = None
    """Units of positives and of near misses on confirm."""
    near_miss_design: Literal["between", "within", "mixed", "continuous"] | None = None
    """How these are compared."""
    pool: str
    """How a row's value was made of its tokens; several ways where sources differ."""
    stratify: str | None = None
    null: str
    """What chance may exchange."""
    null_value: float
    """The estimate of a feature that has nothing to do with the labels."""


class Study(Record):
    """The held-out protocol: choices, counts, and what it could have seen."""

    design: Design
    candidates: int
    """K: features taken from discover to confirm."""
    q: float
    fdr: Literal["bh", "by"]
    permutations: int
    bootstrap: int
    tested: int
    """Features measured."""
    eligible: int
    few_active: int
    """Features too rarely active to be found, judged without labels."""
    sham: int
    """Features that the same steps confirmed on permuted labels."""
    rank_stability: float | None
    detectable: float
    """Smallest effect of a feature without ties found with probability .8, as a distance from the null."""
    smallest_effect: float
    """Of interest, as an AUROC."""
    units_needed: int
    """In a half, to find the smallest effect of interest in such a feature."""
    preselected: bool = False
    censored: bool = False


class Claim(Record):
    """What a source says of a feature by itself: quoted, never a statistic of this run."""

    feature: str
    source: str
    label: str | None = None
    text: str | None = None
    """The claim as JSON: effects, scores, ranks, whatever the source says."""
    codes: tuple[str, ...] = ("claimed_by_source",)


class SearchHit(Record):
    """A feature whose label holds words that were searched for."""

    feature: str
    label: str
    words: int
    """How many of them."""


class Inspection(Result):
    """`result.json` of `inspect`."""

    SCHEMA: ClassVar[str] = "radiograph.inspection/1"

    model: str
    criterion: Criterion | None
    """None where nothing labels a row of the sources."""
    outcome: Outcome
    sources: tuple[InspectionSource, ...] = ()
    study: Study | None = None
    grades: Found = Field(default_factory=dict)
    """How many features have each correlational grade."""
    causal_grades: Found = Field(default_factory=dict)
    correlational: Ranking = Ranking(kind="correlational")
    """The candidates."""
    causal: Ranking = Ranking(kind="causal")
    """The features that were tested by intervention."""
    cards: tuple[Card, ...] = ()
    claims: tuple[Claim, ...] = ()
    claims_left_out: int = 0
    search: tuple[SearchHit, ...] | None = None
    """Features by the words of their labels; None: not asked for. No statistic looks at it."""
    refusals: tuple[RefusalRecord, ...] = ()
    """Parts that were not measured."""
    require: Requirement | None = None
    notes: tuple[str, ...] = ()

    @property
    def met(self) -> bool | None:
        """Whether the requirement is met; None without one, or where the run cannot say."""
        if self.require is None:
            return None
        ranking = self.correlational if self.require.kind == "correlational" else self.causal
        best = ranking.best()
        if best is not None and at_least(self.require.kind, best, self.require.grade):
            return True
        if self.require.kind == "causal":
            return None if best is None else False
        return None if self.outcome in ("not_measured", "compiled", "none_inconclusive") else False

    @property
    def headline(self) -> str:
        """What was found, of how many, and what chance finds."""
        if self.outcome == "compiled" and self.criterion is not None:
            rows = self.criterion.rows
            return f"compiled: {rows.positive} positive, {rows.near_miss} near miss, {rows.negative} negative rows"
        if self.study is None:
            return f"not measured: {self.refusals[0].text if self.refusals else 'no activations'}"
        if self.outcome == "found":
            count = sum(n for grade, n in self.grades.items() if at_least("correlational", grade, "confirmed"))
            names = [f.feature for f in self.correlational.findings[:_LISTED]]
            more = f" and {count - len(names)} more" if count > len(names) else ""
            listed = ", ".join(names[: min(count, _LISTED)])
            sham = f"{self.study.sham} on sham labels"
            return f"{count} of {self.study.tested:,} features confirmed ({listed}{more}); {sham}{self._moved}"
        least = f"an AUROC of {self.study.smallest_effect:.2f}"
        if self.outcome == "none_adequate":
            return f"no finding among {self.study.tested:,} features, though {least} would have been found{self._moved}"
        if self.study.preselected:
            return f"nothing to confirm among {self.study.tested:,} features: the labels of all rows chose them"
        untested = sum(f.statistic is None or f.statistic.p is None for f in self.correlational.findings)
        if untested:
            return (
                f"no finding among {self.study.tested:,} features, and {untested} candidates have no p: "
                "they fire too rarely for one without permutations"
            )
        return (
            f"no finding among {self.study.tested:,} features, and {least} could have been missed: "
            f"{self.study.units_needed} units in a half are needed, {self.study.design.units[1]} were there"
        )

    @property
    def _moved(self) -> str:
        """What interventions add to the headline."""
        if not self.causal.findings:
            return ""
        features = len({finding.feature for finding in self.causal.findings})
        return f"; {features} moved, at best {str(self.causal.best()).replace('_', ' ')}"

    @property
    def lines(self) -> tuple[str, ...]:
        """What a reader should know."""
        return self.notes

    @property
    def exit_code(self) -> ExitCode:
        """The gate, if there is one; else 0 for a result, "no finding" included, 4 for what could not be said."""
        if self.outcome == "compiled":
            return ExitCode.PASS
        if self.require is not None:
            return {True: ExitCode.PASS, False: ExitCode.GATE_FAILED, None: ExitCode.NOT_MEASURED}[self.met]
        return ExitCode.PASS if self.outcome in ("found", "none_adequate") else ExitCode.NOT_MEASURED

    @property
    def order(self) -> tuple[str, ...]:
        """Correlational grades, low to high."""
        return GRADES["correlational"]
