"""An order of findings of one kind: correlations and effects never stand in one list."""

from __future__ import annotations

from typing import Self

from pydantic import model_validator

from radiograph.evidence._record import Record
from radiograph.evidence.features._finding import Finding
from radiograph.evidence.features._grades import GRADES, Kind


class Ranking(Record):
    """Findings, best first. What was not measured, or not tested, has no rank."""

    kind: Kind
    findings: tuple[Finding, ...] = ()

    @model_validator(mode="after")
    def _pure(self) -> Self:
        for finding in self.findings:
            if finding.kind != self.kind:
                raise ValueError(f"a ranking of {self.kind} findings cannot hold a {finding.kind} one")
            if finding.grade == GRADES[self.kind][0]:
                raise ValueError(f"{finding.feature} is {finding.grade}: it has no rank")
        names = [(finding.feature, finding.outcome) for finding in self.findings]
        if len(set(names)) < len(names):
            raise ValueError("a feature stands in a ranking once for each outcome")
        return self

    def best(self) -> str | None:
        """The highest grade there is."""
        order = GRADES[self.kind]
        return max((finding.grade for finding in self.findings), key=order.index, default=None)
