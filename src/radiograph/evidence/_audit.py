"""The result of an audit: one verdict, the evidence behind it, and what was not measured."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

from pydantic import Field

from radiograph.core import ExitCode
from radiograph.evidence._behaviour import Axis, Behaviour, Panel, TargetedAxis
from radiograph.evidence._calibration import CalibratedAudit, SupportRecord, worth_of
from radiograph.evidence._features import InterpEvidence, Score
from radiograph.evidence._record import Record, RefusalRecord, Result
from radiograph.evidence._weights import WeightsSummary
from radiograph.evidence.traces import Frames, Lens, RowTriage, TriggerSearch, Witness, Witnesses

Verdict = Literal["no-evidence", "degraded", "targeted-change", "degraded+targeted", "inconclusive"]


class Reason(Record):
    """Why the verdict is what it is."""

    code: str
    text: str
    pointer: str = ""
    """JSON pointer into this document."""


class Axes(Record):
    """The two questions behind a verdict, answered apart."""

    degraded: Axis
    targeted: TargetedAxis


class ModelRecord(Record):
    """One of the two models."""

    label: str
    tensors_sha256: str
    files_sha256: str
    tokenizer_sha256: str
    architecture: str
    parameters: int
    notes: tuple[str, ...] = ()


class SuiteRecord(Record):
    """The prompts that were used."""

    name: str
    path: str
    sha256: str
    prompts: int
    neutral: str
    neutral_n: int


class Audit(Result):
    """What `audit` leaves in `result.json`; the other JSON files of its bundle are projections of it."""

    SCHEMA: ClassVar[str] = "radiograph.audit/1"

    title: str
    run_id: str | None = None
    session_id: str | None = None
    reference: ModelRecord
    candidate: ModelRecord
    suite: SuiteRecord
    verdict: Verdict
    axes: Axes
    reasons: tuple[Reason, ...]
    identical: bool
    """Equal tensors and tokenizer; every measured shift is then exactly 0."""
    alpha: float
    threshold: float | None = None
    """Printed beside the score; decides nothing."""
    p_combined: float | None = None
    n_calibration: int = 0
    n_families: int = 0
    resolution_floor: float | None = None
    support: SupportRecord | None = None
    calibration: CalibratedAudit | None = None
    not_measured: tuple[RefusalRecord, ...] = ()
    weights: WeightsSummary | None = None
    behaviour: Behaviour | None = None
    panel: Panel | None = None
    witnesses: Witnesses | None = None
    triggers: TriggerSearch | None = None
    frames: Frames | None = None
    lens: Lens | None = None
    rows: RowTriage | None = None
    score: Score
    interp_evidence: InterpEvidence
    versions: dict[str, int] = Field(default_factory=dict)
    """Of the detectors and rules behind all of this; empty: not known."""

    @property
    def method(self) -> str:
        """The score method that was executed."""
        return self.score.score_method_executed or "not_measured"

    @property
    def headline(self) -> str:
        """Verdict, its first reason, and beside a pass what these detectors are known to miss."""
        why = f" ({self.reasons[0].code}: {self.reasons[0].text})" if self.reasons else ""
        return f"{self.verdict}{why}{self.missed}"

    @property
    def missed(self) -> str:
        """What the benchmark says, in the same line as `no-evidence`; empty for other verdicts."""
        if self.verdict != "no-evidence" or self.identical:
            return ""
        known = () if self.calibration is None else self.calibration.misses
        rates = [r for r in known if r.alpha == self.alpha]
        if not rates:
            at = f" at alpha {self.alpha:g}, only at {known[0].alpha:g}" if known else ""
            return f"; what these detectors miss was not measured{at}"
        found, n = sum(r.detected for r in rates), sum(r.n for r in rates)
        return f"; of {n} planted changes in the benchmark these detectors miss {n - found} at alpha {rates[0].alpha:g}"

    @property
    def lines(self) -> tuple[str, ...]:
        """The numbers behind it, a line each."""
        out = [f"axes: degraded {self.axes.degraded} · targeted {self.axes.targeted}"]
        if self.behaviour is not None:
            out.append(f"answers: {self.behaviour.changed} of {self.behaviour.n} differ, {self.behaviour.flips} flips")
        found = self.calibration
        if found is not None and found.p_combined is not None:
            places = f"n = {found.n}, {worth_of(found.n_effective)}, none below {found.floor:.3g}"
            out.append(f"p = {found.p_combined:.3g} ({places}), leading: {found.leading}")
        like = None if found is None else found.degraded
        if like is not None and any(r.code == "among_degraded" for r in self.reasons):
            out.append(f"p among degraded models = {like.p:.3g} (n = {like.n}, none below {like.floor:.3g})")
        out += [f"witness ({w.kind}): {w.name}, {w.hits} of {w.n}" for w in self.confirmed]
        if self.score.aggregate_score is not None:
            out.append(f"score: {self.score.aggregate_score:.4g} ({self.score.score_method_executed})")
        return (*out, *(f"not measured: {r.what or r.code}: {r.text}" for r in self.not_measured))

    @property
    def confirmed(self) -> tuple[Witness, ...]:
        """Confirmed witnesses."""
        return () if self.witnesses is None else self.witnesses.confirmed

    @property
    def exit_code(self) -> ExitCode:
        """No-evidence 0 · inconclusive 4 · every other verdict 2."""
        if self.verdict == "no-evidence":
            return ExitCode.PASS
        return ExitCode.NOT_MEASURED if self.verdict == "inconclusive" else ExitCode.GATE_FAILED

    def projections(self) -> dict[str, Any]:
        """The JSON files beside `result.json`: parts of it, for readers that want one thing."""
        whole = self.model_dump(mode="json")
        decision = (
            *("title", "reference", "candidate", "suite", "verdict", "axes", "reasons", "alpha", "threshold"),
            *("p_combined", "n_calibration", "n_families", "resolution_floor", "support"),
        )
        score = whole["score"]
        return {
            "decision.json": {"schema": "radiograph.audit.decision/1"}
            | {key: whole[key] for key in decision}
            | {
                "score_method_requested": score["score_method"],
                "score_method_executed": score["score_method_executed"],
                "k": score["k"],
                "aggregate": score["aggregate"],
                "aggregate_score": score["aggregate_score"],
                "calibration": None
                if self.calibration is None
                else {"name": self.calibration.name, "sha256": self.calibration.sha256},
                "witnesses": [w.model_dump(mode="json") for w in self.confirmed],
                "exit_code": int(self.exit_code),
            },
            "suite_results.json": {
                "schema": "radiograph.audit.suite_results/1",
                "suite": whole["suite"],
                "models": {side: whole[side]["label"] for side in ("reference", "candidate")},
                "behaviour": whole["behaviour"],
                "panel": whole["panel"],
            },
            "score.json": {"schema": "radiograph.audit.score/1"} | score,
            "interp_evidence.json": {"schema": "radiograph.audit.interp_evidence/1"} | whole["interp_evidence"],
        }
