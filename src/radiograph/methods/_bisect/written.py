"""From runs to steps and the answer; what `verify` derives again; the keys of soup-cli."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from radiograph.core import Refusal
from radiograph.evidence import RefusalRecord
from radiograph.evidence.reportcard.bisection import Bisection, BisectRun, BisectStep, Monotone
from radiograph.numerics.bisection import (
    Phase,
    Plan,
    Seen,
    Threshold,
    conclude,
    decide,
    least,
    next_ask,
    read_threshold,
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


def problems(result: dict[str, Any], folder: Path) -> list[str]:
    """Differences between the result and what its runs say."""
    import json

    found = Bisection.read(result)
    if found.outcome == "PLANNED":
        return []
    wrong: list[str] = []
    for run in found.runs:
        kept = folder / f"{run.log.removesuffix('.log')}.json"
        if not kept.is_file() or json.loads(kept.read_bytes()) != run.model_dump(mode="json"):
            wrong.append(f"the run of {run.checkpoint}, attempt {run.attempt}, is not the one in {kept.name}")
    threshold = None if found.metric is None else read_threshold(found.broken_if.removeprefix(f"{found.metric} "))
    plan = Plan(len(found.checkpoints), found.check, found.scan, found.order)
    place = {name: i for i, name in enumerate(found.checkpoints)}
    content = {run.checkpoint: run.sha256 for run in found.runs}
    seen: dict[int, Seen] = {}
    for one in found.steps:
        asked = next_ask(plan, seen)
        if asked is None or (asked.index, asked.phase) != (place[one.checkpoint], one.phase):
            return [*wrong, f"the search would not have looked at {one.checkpoint}"]
        # Of equal contents each may have been run: the runs of a content stand together, in their order.
        own = content.get(one.same_as or one.checkpoint)
        runs = [r for r in found.runs if r.sha256 == own][: one.attempts]
        said = standing(runs, threshold, found.repeats, found.confidence) or "flaky"
        if said != one.outcome or sum(r.outcome == "broken" for r in runs) != one.broken:
            wrong.append(f"{one.checkpoint} is {said} by its runs, not {one.outcome}")
        if one.outcome == "error":
            break
        seen[asked.index] = Seen(one.outcome, one.phase, one.round)
    if found.outcome == "EVAL_ERROR":
        return wrong if found.steps[-1].outcome == "error" else [*wrong, "no run ended in an error"]
    if next_ask(plan, seen) is not None:
        wrong.append("the search is not over")
    answer = conclude(plan, seen)
    names = [None if i is None else found.checkpoints[i] for i in (answer.last_good, answer.first_broken)]
    if (answer.outcome, *names) != (found.outcome, found.last_good, found.first_broken):
        wrong.append(f"the steps say {answer.outcome} ({names[0]}, {names[1]}), not {found.outcome}")
    return wrong
