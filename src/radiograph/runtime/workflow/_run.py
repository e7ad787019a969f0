"""Run the steps of a workflow, in rounds, into one bundle."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from radiograph.core import Silent, UserError, inputs_of
from radiograph.core.work.cluster import Workers, dealt
from radiograph.core.work.process import spread
from radiograph.evidence import StepRecord
from radiograph.runtime._catalogue import find
from radiograph.runtime._context import RunContext
from radiograph.runtime._execute import Settings, StepOrder, portable, run_step_order
from radiograph.runtime._resolve import Resolved, resolve
from radiograph.runtime.workflow._file import Step, Workflow, before, needs, ordered, read_workflow
from radiograph.runtime.workflow._former import check_former, take_over
from radiograph.runtime.workflow._names import environment, named, scope_of, substitute
from radiograph.runtime.workflow._result import PlannedInput, StepOutcome, WorkflowResult
from radiograph.store import Workspace, file_sha256, folder_sha256

_KINDS = ("file", "folder", "run", "suite")
"""Inputs that are paths, whatever they look like."""


def place_of(path: Path, variables: dict[str, Any]) -> str | None:
    """The folder that a workflow asks for, with its variables filled in; None: it says nothing.

    Raises:
        FormatError, UserError: as `run_workflow`.
    """
    workflow = read_workflow(path)
    if workflow.out is None:
        return None
    scope = scope_of(workflow, path.name, str(path.parent), variables)
    return str(substitute(workflow.out, scope, "out"))


def run_workflow(
    path: Path,
    context: RunContext,
    variables: dict[str, Any],
    *,
    dry_run: bool = False,
    resume: Path | None = None,
    workers: str = "1",
) -> WorkflowResult:
    """Read, resolve, validate, run.

    Raises:
        FormatError: not a workflow. UserError: an undefined name, an unknown verb or option, with the step.
    """
    workflow = read_workflow(path)
    scope = scope_of(workflow, path.name, str(path.parent), variables)
    rounds, waits = ordered(workflow), needs(workflow)
    inside = replace(context.workspace, confined=True)
    resolved = {step.name: _resolved(step, scope, sorted(before(step.name, waits))) for step in workflow.steps}
    for step in workflow.steps:
        for _, reference, _ in _references(step, resolved[step.name], scope):
            inside.confine(reference)
            inside.resolve(reference, must_exist=False)
    if dry_run:
        planned = tuple(_planned(step, resolved[step.name], scope, workflow.env, inside) for step in workflow.steps)
        return WorkflowResult(workflow=path.name, steps=planned)
    count = Workers.parse(workers)
    root = context.output.folder("steps").parent
    context = replace(
        context,
        workspace=replace(inside, open_run=root),
        secrets=environment(workflow, path.name),
    )
    run = _Run(workflow, context, count, {**scope, "run_dir": str(root)})
    if resume is not None:
        run.former = check_former(resume)
    for ready in rounds:
        run.round(ready, waits)
    return WorkflowResult(workflow=path.name, steps=tuple(run.outcomes[s.name] for s in workflow.steps))


def _with(step: Step) -> dict[str, Any]:
    return step.with_ if step.gate is None else {**step.with_, "require": step.gate}


def _resolved(step: Step, scope: dict[str, Any], earlier: Sequence[str]) -> Resolved:
    """With placeholders for what earlier steps will write, so that every mistake shows before work starts."""
    later = {f"steps.{n}.out": "." for n in earlier} | {"run_dir": "."}
    try:
        config = substitute(_with(step), {**scope, **later}, step.name)
        return resolve(find(step.verb), config, environment=False)
    except UserError as error:
        error.where = f"step {step.name}" + (f", {error.where}" if error.where else "")
        raise


def _texts(step: Step, scope: dict[str, Any]) -> dict[str, Any]:
    """A step's options; what earlier steps will write keeps its name."""
    later = {name: f"{{{name}}}" for name in named(step.with_) if name not in scope}
    return substitute(_with(step), {**scope, **later}, step.name)


def _references(step: Step, resolved: Resolved, scope: dict[str, Any]) -> Iterator[tuple[str, str, bool]]:
    """Option, reference and whether it has to be a path, of everything that a step reads and no other step writes."""
    texts = _texts(step, scope)
    for name, kind in inputs_of(type(resolved.config)).items():
        value = texts.get(name, texts.get(name.rstrip("_")))
        for one in [value] if isinstance(value, str) else value or ():
            if not named(str(one)):
                yield name, str(one), kind in _KINDS


def _planned(
    step: Step, resolved: Resolved, scope: dict[str, Any], env: Sequence[str], workspace: Workspace
) -> StepOutcome:
    """What a step would read: hashed where it is there, named where it is not."""
    found = tuple(i for own in _references(step, resolved, scope) for i in _looked_up(*own, workspace))
    secrets = {k: str(scope[k]) for k in env}
    config = portable(resolved.config, workspace, secrets)
    config |= {k: v for k, v in _texts(step, scope).items() if named(v)}
    return StepOutcome(name=step.name, verb=step.verb, status="planned", config=config, inputs=found)


def _looked_up(option: str, reference: str, is_path: bool, workspace: Workspace) -> Iterator[PlannedInput]:
    path = workspace.resolve(reference, must_exist=False)
    _, named, file = reference.partition("=")
    if named and file and not path.exists():  # NAME=PATH
        path = workspace.resolve(file, must_exist=False)
    if path.exists():
        sha256 = folder_sha256(path) if path.is_dir() else file_sha256(path)
        yield PlannedInput(option=option, ref=workspace.portable(reference), sha256=sha256, missing=False)
    elif is_path and ":" not in reference and (Path(reference).name != reference or Path(reference).suffix):
        yield PlannedInput(option=option, ref=reference, sha256=None, missing=True)  # a bare word may be a shipped name


@dataclass
class _Run:
    workflow: Workflow
    context: RunContext
    workers: Workers
    scope: dict[str, Any]
    former: Path | None = None
    outcomes: dict[str, StepOutcome] = field(default_factory=dict)
    ran: set[str] = field(default_factory=set)
    """Steps that ran here; what needs them runs too."""

    def round(self, ready: Sequence[Step], waits: dict[str, frozenset[str]]) -> None:
        """Run, take over or leave out the steps of a round."""
        orders: list[StepOrder] = []
        for step in ready:
            held = [self.outcomes[name] for name in waits[step.name]]
            if any(_stops(self._step(outcome.name), outcome) for outcome in held):
                self.outcomes[step.name] = StepOutcome(name=step.name, verb=step.verb, status="not_run")
                continue
            order = self._order(step)
            if order is not None and not self._taken_over(step, order, waits):
                orders.append(order)
        for order, (outcome, seconds) in self._results(orders):
            self.ran.add(order.name)
            self._note(order.name, outcome, seconds)

    def _step(self, name: str) -> Step:
        return next(step for step in self.workflow.steps if step.name == name)

    def _order(self, step: Step) -> StepOrder | None:
        number = self.workflow.steps.index(step) + 1
        verb = find(step.verb)
        settings: Settings = self.context.settings
        return StepOrder(
            name=step.name,
            verb=verb.key,
            config=substitute(_with(step), self.scope, step.name),
            folder=self.context.output.folder("steps"),
            bundle=f"{number}-{verb.key}",
            settings=replace(settings, workspace=self.context.workspace, secrets=self.context.secrets),
        )

    def _taken_over(self, step: Step, order: StepOrder, waits: dict[str, frozenset[str]]) -> bool:
        if self.former is None or before(step.name, waits) & self.ran:
            return False
        verb = find(order.verb)
        resolved = resolve(verb, order.config, environment=False)
        any_end = step.on_gate == "continue"
        bundle = take_over(self.former, order.bundle, verb, resolved, self.context, any_end=any_end)
        if bundle is None:
            return False
        manifest = bundle.manifest
        outcome = StepOutcome(
            name=step.name,
            verb=step.verb,
            status="reused",
            exit_code=manifest.exit_code,
            headline=str(bundle.result.get("headline", "")),
            run=f"steps/{order.bundle}",
        )
        self._note(step.name, outcome, 0.0)
        return True

    def _results(self, orders: Sequence[StepOrder]) -> Iterator[tuple[StepOrder, tuple[StepOutcome, float]]]:
        """As the steps end; in this process while only one can run."""
        if self.workers.count == 1 or len(orders) < 2:
            for order in orders:
                yield order, _do(order)
            return
        quiet = [replace(o, settings=replace(o.settings, progress=Silent())) for o in orders]
        made = dealt(_do, quiet, self.workers) if self.workers.ray else spread(_do, quiet, self.workers.count)
        with self.context.progress.task("running steps", total=len(orders)) as task:
            for place, result in made:
                task.advance()
                yield orders[place], result

    def _note(self, name: str, outcome: StepOutcome, seconds: float) -> None:
        self.outcomes[name] = outcome
        root = self.scope["run_dir"]
        if outcome.run is not None:
            self.scope[f"steps.{name}.out"] = str(Path(root) / outcome.run)
        self.context.steps.append(
            StepRecord(
                name=outcome.verb,
                status=outcome.status if outcome.status != "failed" else f"failed: {outcome.headline}",
                seconds=round(seconds, 3),
                run=outcome.run,
                exit_code=outcome.exit_code,
            )
        )


def _stops(step: Step, outcome: StepOutcome) -> bool:
    """Whether what needs this step cannot run."""
    if outcome.status in ("failed", "not_run"):
        return True
    return bool(outcome.exit_code) and step.on_gate == "stop"


def _do(order: StepOrder) -> tuple[StepOutcome, float]:
    """Run one step; bad input is an outcome, because the bundles of other steps are worth keeping."""
    began = time.perf_counter()
    try:
        headline, code = run_step_order(order)
    except UserError as error:
        outcome = StepOutcome(
            name=order.name, verb=order.verb, status="failed", exit_code=int(error.exit_code), headline=error.message
        )
    else:
        outcome = StepOutcome(
            name=order.name,
            verb=order.verb,
            status="done",
            exit_code=code,
            headline=headline,
            run=f"steps/{order.bundle}",
        )
    return outcome, time.perf_counter() - began
