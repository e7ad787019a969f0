"""`radiograph.diagnose/1`: a report card of behaviour, mode by mode."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

from radiograph.core import ExitCode
from radiograph.evidence import RefusalRecord, Result
from radiograph.evidence._record import Record

Mode = Literal["forgetting", "refusal", "format", "mode_collapse", "memorisation", "contamination", "citation"]
Band = Literal["OK", "MINOR", "MAJOR", "INCONCLUSIVE"]
WORST: tuple[Band, ...] = ("OK", "MINOR", "INCONCLUSIVE", "MAJOR")


class Beside(Record):
    """A number that stands beside a score and decides nothing."""

    name: str
    value: float
    low: float | None = None
    high: float | None = None
    p: float | None = None
    n: int | None = None


class Example(Record):
    """An item that speaks for the score's being low."""

    id: str
    prompt: str
    reference: str
    candidate: str


class ModeScore(Record):
    """One mode. Without a measurement there is a reason and no number."""

    mode: Mode
    requested: bool
    status: Literal["measured", "not_measured", "supplied"]
    band: Band | None = None
    score: float | None = None
    low: float | None = None
    high: float | None = None
    n: int = 0
    """Items."""
    groups: int = 0
    """Drawn together: what the interval counts."""
    data_sha256: str | None = None
    what: str = ""
    """Of what the score is, in words."""
    beside: tuple[Beside, ...] = ()
    examples: tuple[Example, ...] = ()
    evidence: Any = None
    """Of a supplied one, as it was supplied."""
    refusal: RefusalRecord | None = None


class Attached(Record):
    """What another run found, put on the card as it stands there."""

    verb: str
    run: str
    seal: str
    headline: str
    exit_code: int
    band: str | None


class ReportCard(Result):
    """What `diagnose` found."""

    SCHEMA: ClassVar[str] = "radiograph.diagnose/1"

    reference: str
    candidate: str
    overall: Band | None
    """The worst band that was measured."""
    measured: int
    modes: tuple[ModeScore, ...]
    dropped: int
    """Items left out because they are nearly a training row."""
    attached: tuple[Attached, ...]
    extras: dict[str, Any]
    """Of the evidence that was supplied."""
    allow_not_measured: bool
    seed: int
    notes: tuple[str, ...]

    @property
    def headline(self) -> str:
        """The worst band, how much was measured, and what is bad."""
        count = f"{self.measured} of {len(self.modes)} measured"
        if self.failed:
            count += f"; attached and MAJOR: {', '.join(one.verb for one in self.failed)}"
        if self.overall is None:
            return f"NOT-MEASURED: {count}"
        said = [f"{m.mode} {m.score:.2f} ({m.low:.2f} to {m.high:.2f}, n = {m.n})" for m in self._worst()]
        return f"{self.overall}: {', '.join(said)}; {count}"

    @property
    def failed(self) -> tuple[Attached, ...]:
        """Attached runs whose own gate failed; they do not count as modes."""
        return tuple(one for one in self.attached if one.exit_code == int(ExitCode.GATE_FAILED))

    def _worst(self) -> list[ModeScore]:
        found = [m for m in self.modes if m.status == "measured" and m.band == self.overall]
        return sorted(found, key=lambda m: m.score or 0.0)[:3]

    @property
    def exit_code(self) -> ExitCode:
        """2 if a measured mode is MAJOR, 4 if a requested one cannot be said, or none was measured; else 0."""
        if any(m.status == "measured" and m.band == "MAJOR" for m in self.modes):
            return ExitCode.GATE_FAILED
        if self.measured == 0:
            return ExitCode.NOT_MEASURED
        unsaid = any(m.requested and (m.status != "measured" or m.band == "INCONCLUSIVE") for m in self.modes)
        return ExitCode.NOT_MEASURED if unsaid and not self.allow_not_measured else ExitCode.PASS
