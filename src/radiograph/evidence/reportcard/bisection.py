"""`radiograph.bisect/1`: which checkpoint of a history is the first broken one."""

from __future__ import annotations

from typing import ClassVar, Literal

from radiograph.core import ExitCode
from radiograph.evidence import RefusalRecord, Result
from radiograph.evidence._record import Record

Outcome = Literal["BROKEN_AT", "ALL_OK", "FIRST_IS_BROKEN", "INCONCLUSIVE", "NOT_MONOTONE", "EVAL_ERROR", "PLANNED"]
_EXIT = {
    "BROKEN_AT": ExitCode.GATE_FAILED,
    "ALL_OK": ExitCode.PASS,
    "PLANNED": ExitCode.PASS,
}


class BisectRun(Record):
    """One run of the evaluation."""

    checkpoint: str
    sha256: str
    """Of the checkpoint's content."""
    argv_sha256: str
    """Of the arguments, with {ckpt} in its place."""
    attempt: int
    """1 for the first run of this checkpoint."""
    outcome: Literal["good", "broken", "skip", "error"]
    """What this run alone says."""
    exit_code: int | None
    """Negative for a signal; None: the deadline."""
    metric: float | None
    log: str
    """The file of the bundle that keeps what it wrote."""
    reason: str = ""


class BisectStep(Record):
    """One checkpoint that was looked at."""

    checkpoint: str
    outcome: Literal["good", "broken", "skip", "flaky", "error"]
    metric: float | None
    """Mean over its runs."""
    interval: tuple[float, float] | None
    """Of the share of broken runs, or of the mean metric; None for a single run."""
    attempts: int
    broken: int
    """Runs that said broken."""
    phase: Literal["search", "check", "scan"]
    round: int
    """Rounds of repeats until here."""
    same_as: str | None
    """The checkpoint of equal content whose runs were taken over."""


class Monotone(Record):
    """Are good and broken in order?"""

    checked: int
    """Checkpoints looked at only to see that."""
    contradictions: tuple[str, ...]
    """Good ones after a broken one."""


class Bisection(Result):
    """What `bisect` found."""

    SCHEMA: ClassVar[str] = "radiograph.bisect/1"

    outcome: Outcome
    last_good: str | None
    first_broken: str | None
    evaluations: int
    """Checkpoints looked at."""
    expected: int
    """Looks that a search without skips takes, before checks."""
    skipped: tuple[str, ...]
    """Those that could not say."""
    monotone: Monotone
    checkpoints: tuple[str, ...]
    """Oldest first."""
    argv: tuple[str, ...]
    """What was run, with {ckpt} for the checkpoint."""
    broken_if: str
    """What counts as broken, in words."""
    metric: str | None
    check: int
    scan: bool
    repeats: int
    confidence: float
    order: tuple[int, ...]
    """In which checks are drawn."""
    steps: tuple[BisectStep, ...]
    """As they were looked at; a flaky one again in each round."""
    runs: tuple[BisectRun, ...]
    not_measured: tuple[RefusalRecord, ...]

    @property
    def headline(self) -> str:
        """Where it broke, or why that cannot be said."""
        looked = f"{self.evaluations} of {len(self.checkpoints)} checkpoints looked at"
        if self.outcome == "PLANNED":
            return f"plan: about {self.expected} of {len(self.checkpoints)} checkpoints, before checks; nothing was run"
        if self.outcome == "BROKEN_AT":
            says = f"broke at {self.first_broken}; the last good one is {self.last_good}"
        elif self.outcome == "ALL_OK":
            says = f"the newest checkpoint, {self.last_good}, is good"
        elif self.outcome == "FIRST_IS_BROKEN":
            says = f"the oldest checkpoint, {self.first_broken}, is broken already"
        elif self.outcome == "NOT_MONOTONE":
            says = f"not monotone: {', '.join(self.monotone.contradictions)} good after {self._broken()} was broken"
        elif self.outcome == "EVAL_ERROR":
            says = f"the evaluation of {self.steps[-1].checkpoint} went wrong: {self.runs[-1].reason}"
        else:
            says = f"cannot say: {self._between()}"
        return f"{self.outcome}: {says} ({looked}; {self.monotone.checked} of them checks)"

    def _broken(self) -> str | None:
        """The oldest one that was found broken, if only by a check."""
        found = {step.checkpoint for step in self.steps if step.outcome == "broken"}
        return self.first_broken or next((name for name in self.checkpoints if name in found), None)

    def _between(self) -> str:
        if self.last_good is None and self.first_broken is None:
            return "no checkpoint could be evaluated"
        if self.last_good is None:
            return f"nothing before {self.first_broken}, which is broken, could be evaluated"
        if self.first_broken is None:
            return f"nothing after {self.last_good}, which is good, could be evaluated"
        return f"it broke after {self.last_good} and not after {self.first_broken}; those between could not say"

    @property
    def exit_code(self) -> ExitCode:
        """0 all good, 2 broken at a known place, else 4."""
        return _EXIT.get(self.outcome, ExitCode.NOT_MEASURED)
