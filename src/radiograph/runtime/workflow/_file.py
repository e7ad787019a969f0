"""A workflow file, read and validated; what interp-lab calls a run config is one too."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from pydantic import Field, ValidationError

from radiograph.core import Config, FormatError, UserError, nearest
from radiograph.core.limits import WORKFLOW_STEPS
from radiograph.runtime._catalogue import find
from radiograph.runtime._resolve import read_mapping
from radiograph.runtime.workflow._interp_lab import is_foreign, translated


class Step(Config):
    """One step of a workflow."""

    name: str = Field(pattern=r"^[A-Za-z0-9_-]{1,80}$")
    verb: str
    with_: dict[str, Any] = Field(default_factory=dict, alias="with")
    needs: tuple[str, ...] | None = None
    """Steps that have to be done before; None: every earlier one."""
    gate: str | None = None
    """What the verb is to require, as its own option `require`."""
    on_gate: Literal["stop", "continue"] = "stop"


class Workflow(Config):
    """A workflow file."""

    schema_: Literal["radiograph.workflow/1"] = Field(alias="schema")
    vars: dict[str, Any] = Field(default_factory=dict)
    env: tuple[str, ...] = ()
    """Environment variables that may be read; their values are stored nowhere."""
    out: str | None = None
    """Folder of the run where `--out` says nothing else."""
    steps: tuple[Step, ...] = Field(min_length=1, max_length=WORKFLOW_STEPS)


def read_workflow(path: Path) -> Workflow:
    """Parse and validate the file itself.

    Raises:
        FormatError: with the key that is wrong. UserError: an unknown verb, a step that cannot be one, needs that go
            in a circle or name no step.
    """
    document = read_mapping(path)
    if is_foreign(document):
        document = translated(document, path.name)
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
        where = f"{path.name}: step {step.name}"
        try:
            verb = find(step.verb)
        except UserError as error:
            error.where = where
            raise
        if verb.key == "run" or verb.serves:
            raise UserError(f"`{step.verb}` cannot be a step", where=where)
        if step.gate is not None and "require" not in verb.config.model_fields:
            raise UserError(f"`{step.verb}` has nothing to require, so no gate", where=where, fix="leave out `gate`")
        for needed in step.needs or ():
            if needed not in names:
                close = nearest(needed, names)
                raise UserError(
                    f"needs {needed!r}, which is no step",
                    where=where,
                    expected="one of " + ", ".join(names),
                    fix=f"did you mean {', '.join(close)}?" if close else None,
                )
    return workflow


def needs(workflow: Workflow) -> dict[str, frozenset[str]]:
    """What each step waits for: what it says, else every earlier step."""
    earlier: list[str] = []
    found: dict[str, frozenset[str]] = {}
    for step in workflow.steps:
        found[step.name] = frozenset(earlier if step.needs is None else step.needs)
        earlier.append(step.name)
    return found


def ordered(workflow: Workflow) -> list[list[Step]]:
    """Steps in rounds: each needs only steps of earlier rounds; as declared within a round.

    Raises:
        UserError: needs go in a circle.
    """
    waits = needs(workflow)
    left, done = list(workflow.steps), set[str]()
    rounds: list[list[Step]] = []
    while left:
        ready = [step for step in left if waits[step.name] <= done]
        if not ready:
            raise UserError(
                "the steps need each other in a circle",
                expected="an order in which every step comes after what it needs",
                got=", ".join(step.name for step in left),
                code="circle",
            )
        rounds.append(ready)
        done |= {step.name for step in ready}
        left = [step for step in left if step.name not in done]
    return rounds


def before(name: str, waits: dict[str, frozenset[str]]) -> set[str]:
    """Every step that is done before this one, also by way of others."""
    found: set[str] = set()
    left = list(waits[name])
    while left:
        one = left.pop()
        if one not in found:
            found.add(one)
            left += waits[one]
    return found
