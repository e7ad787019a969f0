"""What a workflow leaves: each step, what became of it, and where its bundle lies."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

from radiograph.core import ExitCode
from radiograph.evidence import Record, Result

_WORST = (ExitCode.BAD_INPUT, ExitCode.GATE_FAILED, ExitCode.NOT_MEASURED)


class PlannedInput(Record):
    """A file or folder that a planned step would read."""

    option: str
    ref: str
    sha256: str | None
    """None: it is not there, or an earlier step will write it."""
    missing: bool


class StepOutcome(Record):
    """What became of a step."""

    name: str
    verb: str
    status: Literal["done", "reused", "failed", "not_run", "planned"]
    exit_code: int | None = None
    headline: str = ""
    """Of its result; for a step that failed, the error."""
    run: str | None = None
    config: dict[str, Any] | None = None
    """Resolved, in a dry run; what earlier steps will write keeps its name."""
    inputs: tuple[PlannedInput, ...] = ()


class WorkflowResult(Result):
    """What `run` did."""

    SCHEMA: ClassVar[str] = "radiograph.workflow_result/1"

    workflow: str
    steps: tuple[StepOutcome, ...]

    @property
    def headline(self) -> str:
        """How many steps did what."""
        if self.planned:
            missing = sum(i.missing for s in self.steps for i in s.inputs)
            return f"{self.workflow}: {len(self.steps)} steps planned, {missing} inputs missing"
        done = sum(s.status == "done" for s in self.steps)
        reused = sum(s.status == "reused" for s in self.steps)
        failed = next(
            (f"; {s.name} ended with exit {s.exit_code}: {s.headline}" for s in self.steps if s.exit_code), ""
        )
        taken = f", {reused} taken over" if reused else ""
        return f"{self.workflow}: {done} of {len(self.steps)} steps ran{taken}{failed}"

    @property
    def planned(self) -> bool:
        """A dry run."""
        return all(s.status == "planned" for s in self.steps)

    @property
    def lines(self) -> tuple[str, ...]:
        """Of a dry run the inputs, of others what each step says."""
        if not self.planned:
            return tuple(
                f"{s.name} ({s.verb}): {s.status}{f', {s.headline}' if s.headline else ''}" for s in self.steps
            )
        found: list[str] = []
        for step in self.steps:
            found.append(f"{step.name}: {step.verb}")
            for one in step.inputs:
                what = "missing" if one.missing else f"sha256 {one.sha256[:12]}" if one.sha256 else "from a step"
                found.append(f"  {one.option} {one.ref}: {what}")
        return tuple(found)

    @property
    def exit_code(self) -> ExitCode:
        """The worst of the steps': bad input, a failed gate, nothing measured. 3 for a plan that lacks an input."""
        codes = {s.exit_code for s in self.steps}
        if any(i.missing for s in self.steps for i in s.inputs):
            return ExitCode.BAD_INPUT
        return next((code for code in _WORST if int(code) in codes), ExitCode.PASS)
