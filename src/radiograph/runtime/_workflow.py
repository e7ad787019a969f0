"""Workflows: verbs as steps of a file (YAML, TOML or JSON), run in order.

    schema: radiograph.workflow/1
    vars: {model: "bundled:base", top: 20}
    steps:
      - {name: diff, verb: weights.diff, with: {reference: "{model}", candidate: "{model}"}, on_gate: continue}

1. `{name}` and `${name}` in texts are replaced from `vars`, `--var`, the listed `env`, and the predefined `config_dir`,
   `run_dir`, `steps.NAME.out`; `{{` is a brace; a value that is nothing but `"{top}"` keeps its type.
2. Everything is resolved and validated before the first step runs: undefined names, unknown verbs and options are
   errors that name the step.
3. What the file names must lie inside the workspace, or inside the run itself.
4. A step that fails its gate (exit 2) or measures nothing (exit 4) stops the workflow unless it says
   `on_gate: continue`.
"""

from __future__ import annotations

import os
import re
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar, Literal

from pydantic import Field, ValidationError

from radiograph.core import Config, ExitCode, FormatError, UserError, nearest
from radiograph.core.limits import WORKFLOW_STEPS
from radiograph.evidence import Record, Result
from radiograph.runtime._catalogue import find
from radiograph.runtime._context import RunContext
from radiograph.runtime._resolve import read_mapping, resolve

_NAME = re.compile(r"\{\{|\}\}|\$?\{([A-Za-z_][\w.\-]*)\}")


class Step(Config):
    """One step of a workflow."""

    name: str = Field(pattern=r"^[A-Za-z0-9_-]{1,80}$")
    verb: str
    with_: dict[str, Any] = Field(default_factory=dict, alias="with")
    on_gate: Literal["stop", "continue"] = "stop"


class Workflow(Config):
    """A workflow file."""

    schema_: Literal["radiograph.workflow/1"] = Field(alias="schema")
    vars: dict[str, Any] = Field(default_factory=dict)
    env: tuple[str, ...] = ()
    steps: tuple[Step, ...] = Field(min_length=1, max_length=WORKFLOW_STEPS)


class StepOutcome(Record):
    """What became of a step."""

    name: str
    verb: str
    status: Literal["done", "not_run", "planned"]
    exit_code: int | None = None
    headline: str = ""
    run: str | None = None


class WorkflowResult(Result):
    """What `run` did."""

    SCHEMA: ClassVar[str] = "radiograph.workflow_result/1"

    workflow: str
    steps: tuple[StepOutcome, ...]

    @property
    def headline(self) -> str:
        """How many steps did what."""
        done = sum(s.status == "done" for s in self.steps)
        failed = next(
            (f"; {s.name} ended with exit {s.exit_code}: {s.headline}" for s in self.steps if s.exit_code), ""
        )
        return f"{self.workflow}: {done} of {len(self.steps)} steps ran{failed}"

    @property
    def exit_code(self) -> ExitCode:
        """The worst of the steps': a failed gate before an unmeasured one."""
        codes = {s.exit_code for s in self.steps}
        for code in (ExitCode.GATE_FAILED, ExitCode.NOT_MEASURED):
            if int(code) in codes:
                return code
        return ExitCode.PASS


def run_workflow(
    path: Path, context: RunContext, variables: dict[str, Any], *, dry_run: bool = False
) -> WorkflowResult:
    """Read, resolve, validate, run.

    Raises:
        FormatError: not a workflow. UserError: an undefined name, an unknown verb or option, with the step.
    """
    workflow = read_workflow(path)
    scope = _scope(workflow, path, variables)
    for step in workflow.steps:
        _validate(step, scope, [s.name for s in workflow.steps])
    if dry_run:
        planned = tuple(StepOutcome(name=s.name, verb=s.verb, status="planned") for s in workflow.steps)
        return WorkflowResult(workflow=path.name, steps=planned)
    root = context.output.folder("steps").parent
    scope["run_dir"] = str(root)
    context = replace(context, workspace=replace(context.workspace, confined=True, open_run=root))
    outcomes: list[StepOutcome] = []
    stopped = False
    for step in workflow.steps:
        if stopped:
            outcomes.append(StepOutcome(name=step.name, verb=step.verb, status="not_run"))
            continue
        config = substitute(step.with_, scope, step.name)
        outcome = _run(step, config, context)
        outcomes.append(outcome)
        scope[f"steps.{step.name}.out"] = str(root / (outcome.run or ""))
        stopped = bool(outcome.exit_code) and step.on_gate == "stop"
    return WorkflowResult(workflow=path.name, steps=tuple(outcomes))


def read_workflow(path: Path) -> Workflow:
    """Parse and validate the file itself.

    Raises:
        FormatError: with the key that is wrong.
    """
    document = read_mapping(path)
    try:
        workflow = Workflow.model_validate(document)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(p) for p in first["loc"])
        raise FormatError(f"{path.name} is not a workflow", where=place, got=first["msg"]) from error
    names = [s.name for s in workflow.steps]
    double = {n for n in names if names.count(n) > 1}
    if double:
        raise FormatError(f"{path.name}: step names must be unique", got=", ".join(sorted(double)))
    for step in workflow.steps:
        try:
            verb = find(step.verb)
        except UserError as error:
            error.where = f"{path.name}: step {step.name}"
            raise
        if verb.key == "run" or verb.serves:
            raise UserError(f"`{step.verb}` cannot be a step", where=f"{path.name}: step {step.name}")
    return workflow


def substitute(value: Any, scope: dict[str, Any], where: str) -> Any:
    """Replace names in every text of a value.

    Raises:
        UserError: an undefined name; the nearest are named.
    """
    if isinstance(value, dict):
        return {k: substitute(v, scope, f"{where}.{k}") for k, v in value.items()}
    if isinstance(value, list):
        return [substitute(v, scope, f"{where}[{i}]") for i, v in enumerate(value)]
    if not isinstance(value, str):
        return value
    whole = _NAME.fullmatch(value)
    if whole and whole[1]:
        return _lookup(whole[1], scope, where)

    def one(match: re.Match[str]) -> str:
        if match[0] in ("{{", "}}"):
            return match[0][0]
        return str(_lookup(match[1], scope, where))

    return _NAME.sub(one, value)


def _lookup(name: str, scope: dict[str, Any], where: str) -> Any:
    if name not in scope:
        close = nearest(name, list(scope))
        raise UserError(
            f"{{{name}}} is not defined",
            where=where,
            expected="one of " + ", ".join(scope),
            fix=f"did you mean {', '.join(close)}?" if close else "add it under vars, or pass --var NAME=VALUE",
            code="undefined_variable",
        )
    return scope[name]


def _scope(workflow: Workflow, path: Path, variables: dict[str, Any]) -> dict[str, Any]:
    unknown = set(variables) - set(workflow.vars)
    if unknown:
        raise UserError(
            f"--var {sorted(unknown)[0]} is not a variable of {path.name}",
            expected="one of " + ", ".join(workflow.vars),
        )
    scope: dict[str, Any] = {"config_dir": str(path.parent)}
    for name in workflow.env:
        if name not in os.environ:
            raise UserError(f"environment variable {name} is not set", where=f"{path.name}: env")
        scope[name] = os.environ[name]
    for key, value in {**workflow.vars, **variables}.items():
        scope[key] = substitute(value, scope, f"vars.{key}")
    return scope


def _validate(step: Step, scope: dict[str, Any], names: list[str]) -> None:
    """Resolve with placeholders for what earlier steps will write, so that every mistake shows before work starts."""
    later = {f"steps.{n}.out": "." for n in names[: names.index(step.name)]} | {"run_dir": "."}
    try:
        resolve(find(step.verb), substitute(step.with_, {**scope, **later}, step.name), environment=False)
    except UserError as error:
        error.where = f"step {step.name}" + (f", {error.where}" if error.where else "")
        raise


def _run(step: Step, config: dict[str, Any], context: RunContext) -> StepOutcome:
    done = context.step(find(step.verb).key, **config)
    return StepOutcome(
        name=step.name,
        verb=step.verb,
        status="done",
        exit_code=int(done.exit_code),
        headline=done.result.headline,
        run=done.path,
    )
