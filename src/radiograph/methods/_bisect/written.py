"""From runs to steps and the answer; the keys of soup-cli."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal

from radiograph.core import Refusal
from radiograph.evidence import RefusalRecord
from radiograph.evidence.reportcard.bisection import Bisection, BisectRun, BisectStep, Monotone
from radiograph.numerics.bisection import (
    Phase,
    Plan,
    Threshold,
    conclude,
    decide,
    least,
    student,
)
from radiograph.numerics.proportions import wilson

if TYPE_CHECKING:
    from radiograph.methods._bisect.evaluation import Evaluation
    from radiograph.methods._bisect.options import Config
    from radiograph.methods._bisect.search import History

Standing = Literal["good", "broken", "skip", "error"]


def standing(
    runs: Sequence[BisectRun], threshold: Threshold | None, repeats: int, confidence: float
) -> Standing | None:
    """What the runs of a checkpoint say together; None: not decided."""
    for run in runs:
        if run.outcome in ("skip", "error"):
            return "error" if run.outcome == "error" else "skip"
    values: list[Any] = [run.metric if threshold else run.outcome == "broken" for run in runs]
    return decide(values, repeats, confidence, threshold)


def reread(run: BisectRun, threshold: Threshold | None) -> BisectRun:
    """A run of an earlier bundle under the threshold of now."""
    if threshold is None or run.metric is None:
        return run
    return run.model_copy(update={"outcome": "broken" if threshold.broken(run.metric) else "good"})


def step(
    name: str,
    runs: Sequence[BisectRun],
    threshold: Threshold | None,
    config: Config,
    phase: Phase,
    rounds: int,
    same_as: str | None,
) -> BisectStep:
    """One look, from all runs of its content."""
    found = standing(runs, threshold, config.repeats, config.confidence)
    metrics = [run.metric for run in runs if run.metric is not None]
    broken = sum(run.outcome == "broken" for run in runs)
    interval = None
    if len(runs) > 1:
        if threshold is None:
            low, high = wilson(broken, len(runs), config.confidence)
            interval = (low, high)
        elif len(metrics) > 1:
            interval = student(metrics, config.confidence)
    return BisectStep(
        checkpoint=name,
        outcome=found or "flaky",
        metric=sum(metrics) / len(metrics) if metrics else None,
        interval=interval,
        attempts=len(runs),
        broken=broken,
        phase=phase,
        round=rounds,
        same_as=same_as,
    )


def bisection(history: History, plan: Plan) -> Bisection:
    """The result."""
    evaluation: Evaluation = history.evaluation
    config, names = history.config, [c.name for c in history.checkpoints]
    found = conclude(plan, history.seen)
    last = history.steps[-1].outcome if history.steps else None
    outcome = "PLANNED" if config.plan_only else "EVAL_ERROR" if last == "error" else found.outcome
    answered = outcome not in ("PLANNED", "EVAL_ERROR")
    skipped = [names[i] for i, s in sorted(history.seen.items()) if s.verdict in ("skip", "flaky")]
    return Bisection(
        outcome=outcome,
        last_good=names[found.last_good] if answered and found.last_good is not None else None,
        first_broken=names[found.first_broken] if answered and found.first_broken is not None else None,
        evaluations=len({s.checkpoint for s in history.steps}),
        expected=plan.n if plan.scan else least(plan.n),
        skipped=tuple(skipped),
        monotone=Monotone(checked=len(found.checked), contradictions=tuple(names[i] for i in found.contradictions)),
        checkpoints=tuple(names),
        argv=evaluation.argv,
        broken_if=evaluation.words,
        metric=config.metric,
        check=config.check,
        scan=config.scan,
        repeats=config.repeats,
        confidence=config.confidence,
        order=tuple(plan.order),
        steps=tuple(history.steps),
        runs=tuple(history.runs),
        not_measured=_gaps(outcome, history, skipped),
    )


def _gaps(outcome: str, history: History, skipped: Sequence[str]) -> tuple[RefusalRecord, ...]:
    if outcome == "EVAL_ERROR":
        run = history.runs[-1]
        return (
            RefusalRecord(
                code="evaluation_error",
                what=run.checkpoint,
                text=f"{run.reason}; a crash is not a broken checkpoint",
                fix=f"read {run.log}; let the evaluation exit 125 where it cannot say",
            ),
        )
    if outcome == "NOT_MONOTONE":
        text = "good and broken are out of order: there is no single first broken checkpoint"
        return (RefusalRecord(code="not_monotone", what="first_broken", text=text, fix="--scan shows every one"),)
    if outcome == "INCONCLUSIVE":
        text = f"only checkpoints that cannot say are left: {', '.join(skipped)}"
        return (RefusalRecord(code="only_skips", what="first_broken", text=text, fix="raise --repeats, or mend them"),)
    if outcome == "FIRST_IS_BROKEN":
        text = "it broke before the history begins"
        return (RefusalRecord(code="first_is_broken", what="last_good", text=text, fix="add older checkpoints"),)
    return ()


def soup(result: Bisection) -> dict[str, Any]:
    """The keys of soup-cli.

    Raises:
        Refusal: an outcome other than BROKEN_AT and ALL_OK.
    """
    if result.outcome not in ("BROKEN_AT", "ALL_OK"):
        raise Refusal(result.outcome.lower(), f"verdict has no word for {result.outcome}: {result.headline}")
    steps = {s.checkpoint: s for s in result.steps if s.outcome in ("good", "broken")}
    return {
        "verdict": result.outcome,
        "first_broken": result.first_broken,
        "probes": len(steps),
        "steps": [{"checkpoint": s.checkpoint, "ok": s.outcome == "good"} for s in steps.values()],
    }
