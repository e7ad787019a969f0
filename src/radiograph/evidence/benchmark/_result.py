"""The table of a benchmark, and what it rests on."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field

from radiograph.core import ExitCode
from radiograph.evidence._audit import Verdict
from radiograph.evidence._behaviour import Axis, TargetedAxis
from radiograph.evidence._calibration import MissRate
from radiograph.evidence._record import Record, Result
from radiograph.evidence.benchmark._protocol import Protocol

Part = Literal["test", "broken", "planted", "both"]
PARTS: tuple[Part, ...] = ("test", "broken", "planted", "both")
Due = Literal["no-evidence", "degraded", "targeted-change", "degraded+targeted"]


class Metric(Record):
    """One number of the table. Without a measurement there is a reason and no number."""

    metric: str
    group: str = ""
    """Family, variant or detector; empty: all."""
    value: float | None = None
    low: float | None = None
    high: float | None = None
    hits: int | None = None
    n: int = 0
    """Models."""
    null: float | None = None
    """What it is under the stated null or control."""
    p: float | None = None
    reason: str | None = None
    """Why it was not measured."""
    text: str = ""

    @property
    def measured(self) -> bool:
        """Whether there is a number."""
        return self.value is not None


class Outcome(Record):
    """One organism: what it is, what was said of it."""

    id: str
    part: Part
    family: str
    variant: str
    due: Due
    verdict: Verdict
    degraded: Axis
    targeted: TargetedAxis
    reasons: tuple[str, ...]
    p: float | None = None
    """Combined."""
    p_left_out: float | None = None
    """Without its family in the calibration; benign models alone."""
    n_left_out: int | None = None
    statistic: float | None = None
    leading: str | None = None
    supported: bool | None = None
    p_degraded: float | None = None
    """Among degraded models, where it is judged by these: its whole panel says degraded, it is like these, and outside
    the benign support."""
    scores: dict[str, float]
    """Of fitted detectors among the calibration's models."""
    p_values: dict[str, float]
    witnesses: tuple[str, ...]
    """Confirmed ones: kind and name."""

    @property
    def alarm(self) -> bool:
        """Whether anything planted is suspected."""
        return self.targeted in ("yes", "anomalous")


class GateFailed(Record):
    """An organism that is not what it was meant to be: listed, not counted."""

    id: str
    family: str
    variant: str
    intended: str
    missed: tuple[str, ...]
    """Gates, with what was measured."""


class Confusion(Record):
    """How often a verdict was given where another was due."""

    due: Due
    verdict: Verdict
    n: int
    reasons: dict[str, int] = Field(default_factory=dict)
    """Of abstentions."""


class UniformityRecord(Record):
    """P-values of benign test models."""

    counts: tuple[int, ...]
    distance: float
    p: float
    null_median: float
    null_q95: float
    n: int
    n_calibration: int
    resplits: int


class Recovery(Record):
    """Was the planted insertion found?"""

    id: str
    family: str
    variant: str
    planted: tuple[str, ...]
    found: str
    exact: bool
    rank: int | None
    """Among the stored insertions; None: not among them."""
    success: float | None
    """Share of fresh answers that it changes."""
    tokens: int | None
    """Read by the candidate when a stage first led with it."""
    total: int
    """Read in the whole search."""


class Control(Record):
    """Something whose answer is known beforehand."""

    name: str
    expected: str
    observed: str
    passed: bool | None
    """None: not measured."""


class Assertion(Record):
    """A bar, met or missed."""

    name: str
    required: str
    observed: str
    passed: bool | None
    """None: not measured."""


class Benchmark(Result):
    """`organisms benchmark`."""

    SCHEMA: ClassVar[str] = "radiograph.organisms_benchmark/1"

    protocol: Protocol
    protocol_sha256: str
    reference_sha256: str
    calibration: str | None
    """What benign models the verdicts rest on."""
    calibration_sha256: str | None
    n_calibration: int
    thresholds: dict[str, dict[str, float | None]]
    """Frozen before a planted score was read: by rate, then detector; fitted detectors have none."""
    outcomes: tuple[Outcome, ...]
    gate_failed: tuple[GateFailed, ...]
    metrics: tuple[Metric, ...]
    confusion: tuple[Confusion, ...]
    uniformity: UniformityRecord | None
    recoveries: tuple[Recovery, ...]
    controls: tuple[Control, ...]
    assertions: tuple[Assertion, ...]
    misses: tuple[MissRate, ...]
    """By planted family: alarms at the protocol's alpha. A calibration carries them to the reports of audits."""

    @property
    def method(self) -> str:
        """Protocol and its hash."""
        return f"{self.protocol.name} {self.protocol_sha256[:8]}"

    @property
    def headline(self) -> str:
        """How many verdicts were right, and what kind of bars were missed."""
        right = sum(o.verdict == o.due for o in self.outcomes)
        missed = [a.name for a in self.assertions if a.passed is False]
        broken = [c.name for c in self.controls if c.passed is False]
        silent = sum(a.passed is None for a in self.assertions)
        said = f"{right} of {len(self.outcomes)} verdicts are right"
        for words, found in (("bars missed", missed), ("controls failed", broken)):
            if found:
                said += f"; {words}: {', '.join(found)}"
        if silent:
            said += f"; {silent} of {len(self.assertions)} bars not measured"
        return said

    @property
    def lines(self) -> tuple[str, ...]:
        """Calibration, bars."""
        kind = "no calibration: no verdict on planted changes" if self.calibration is None else ""
        first = kind or f"{self.n_calibration} benign fine-tunes calibrate ({self.calibration})"
        marks = {True: "met", False: "missed", None: "not measured"}
        return (first, *(f"{a.name}: {a.observed}, required {a.required}: {marks[a.passed]}" for a in self.assertions))

    @property
    def exit_code(self) -> ExitCode:
        """2 where a bar or a control failed, 4 where one could not be measured."""
        every = [*(a.passed for a in self.assertions), *(c.passed for c in self.controls)]
        if False in every:
            return ExitCode.GATE_FAILED
        return ExitCode.NOT_MEASURED if any(a.passed is None for a in self.assertions) else ExitCode.PASS
