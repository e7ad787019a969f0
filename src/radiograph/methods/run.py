"""Run a workflow file: verbs as steps, into one bundle.

1. read YAML, TOML or JSON, or a run config of interp-lab; fill in variables; check every step's verb and options
   before the first one runs. `--dry-run` stops here: resolved options, hashes of inputs, what is missing; it writes
   nothing
2. run the steps as declared, or when the steps that they `need` are done; each leaves its own bundle inside this one,
   and later steps name it as `{steps.NAME.out}`. `--workers` runs steps that do not need each other side by side
3. a step that fails its gate, measures nothing or meets bad input stops the steps that need it; `on_gate: continue`
   lets them run after the first two. Bundles of other steps are kept
4. with `--resume RUN` a step of that run is taken over where verb, options, inputs, seed and version are the same and
   its bundle verifies; what failed there runs again, and what needs it

Refuses when: a name is undefined, a verb or option is unknown, or a step is itself a workflow.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from radiograph.core import Config as Base
from radiograph.core import Context, FilePath, RunPath, UserError
from radiograph.evidence import Result

COMMANDS = ()


class Config(Base):
    """Which workflow, with which variables."""

    workflow: FilePath
    """A `radiograph.workflow/1` file, or a run config of interp-lab."""
    var: tuple[str, ...] = ()
    """NAME=VALUE: overrides a variable of the file. Repeatable."""
    dry_run: bool = False
    """Resolve and check everything, run and write nothing."""
    resume: RunPath | None = None
    """An earlier run of the workflow, finished or .partial, to take done steps from."""
    workers: str = "1"
    """Steps side by side, where they do not need each other: 1, N processes here, or ray[:N]."""


def run(config: Config, ctx: Context) -> Result:
    """Run the steps."""
    path = ctx.path(config.workflow, "workflow")
    resume = None if config.resume is None else ctx.locate(config.resume)
    given = _variables(config)
    return ctx.service("workflow")(path, ctx, given, dry_run=config.dry_run, resume=resume, workers=config.workers)


def leaves_bundle(config: Config) -> bool:
    """A dry run writes nothing."""
    return not config.dry_run


def place(config: Config, services: Mapping[str, Callable[..., Any]], workspace: Any) -> str | None:
    """The folder that the file asks for."""
    if config.dry_run:
        return None
    path: Path = workspace.resolve(config.workflow)
    return services["workflow_place"](path, _variables(config))


def _variables(config: Config) -> dict[str, str]:
    variables: dict[str, str] = {}
    for pair in config.var:
        key, equals, value = pair.partition("=")
        if not equals:
            raise UserError(f"--var {pair!r}", expected="NAME=VALUE")
        variables[key] = value
    return variables
