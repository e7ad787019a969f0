"""One feature and one kind of evidence: a statistic with its n, interval, null, p and q, a grade, and codes."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import model_validator

from radiograph.evidence._record import Record
from radiograph.evidence.features._grades import CODES, GRADES, Kind

Interval = tuple[float, float]


class StatisticN(Record):
    """What was counted."""

    units: int
    """Cells of a group and a label; groups of a causal test."""
    groups: int
    active: int | None = None
    """Units in which the feature fired."""


class Statistic(Record):
    """An estimate, how sure it is, and what it is compared with."""

    name: Literal["auroc", "pairs", "spearman", "effect"]
    """AUROC; share of pairs with the positive larger; Spearman's ρ; mean directed effect in units of the outcome."""
    estimate: float
    interval: Interval | None = None
    """95 %."""
    method: str | None = None
    """How the interval was made."""
    n: StatisticN
    null: str
    """What chance may exchange."""
    p: float | None = None
    q: float | None = None
    family: int | None = None
    """Features among which q is adjusted."""


class Discovered(Record):
    """The same on the half that chose it. Never evidence by itself."""

    estimate: float
    z: float


class EffectSize(Record):
    """Sizes that do not go by rank."""

    r: float | None = None
    g: float | None = None


class Rate(Record):
    """A share with Wilson's limits."""

    estimate: float
    interval: Interval | None = None
    n: int


class Stability(Record):
    """Would other halves have found it?"""

    selection: float
    """Share of random halves in which it is among the K strongest, or the stronger half of fewer than 2K."""
    agreement: float
    """Share of splits in which both halves have one sign."""
    intraclass: float | None = None
    """Share of its variance between, not within, paraphrases."""


class Power(Record):
    """What could have been seen."""

    detectable: float
    """Smallest effect found with probability .8, as a distance from the null."""
    units_needed: int | None = None
    """In a half, to find the effect as estimated."""


class Finding(Record):
    """What one kind of evidence says of one feature."""

    kind: Kind
    feature: str
    criterion: str
    grade: str
    codes: tuple[str, ...] = ()
    outcome: str | None = None
    """Causal: what was to move."""
    contradicted: bool = False
    """Causal: the effect has the sign opposite to the association."""
    statistic: Statistic | None = None
    """None: not measured, a code says why."""
    discover: Discovered | None = None
    effect_size: EffectSize | None = None
    recall: Rate | None = None
    """Share of positives on which it fires."""
    false_firing: Rate | None = None
    lift: float | None = None
    near_miss: Statistic | None = None
    """AUROC of positives against near misses alone."""
    stability: Stability | None = None
    power: Power | None = None
    p_analytic: float | None = None
    p_permutation: float | None = None
    p_family: float | None = None
    """Of the largest |z| of all candidates."""
    strong_score: float | None = None
    """Causal: what is left of the effect beyond controls and what it does elsewhere; None without controls."""

    @model_validator(mode="after")
    def _closed(self) -> Self:
        if self.grade not in GRADES[self.kind]:
            raise ValueError(f"{self.grade!r} is no {self.kind} grade: {', '.join(GRADES[self.kind])}")
        unknown = [code for code in self.codes if code not in CODES]
        if unknown:
            raise ValueError(f"unknown code {unknown[0]!r}")
        if self.grade == GRADES[self.kind][0] and not self.codes:
            raise ValueError("what was not measured has a code that says why")
        return self
