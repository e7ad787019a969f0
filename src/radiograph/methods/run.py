"""Run a workflow file: verbs as steps, in order, into one bundle.

1. read YAML, TOML or JSON; fill in variables; check every step's verb and options before the first one runs
2. run the steps; each leaves its own bundle inside this one, and later steps name it as `{steps.NAME.out}`
3. a step that fails its gate, or measures nothing, stops the rest unless it says `on_gate: continue`

Refuses when: a name is undefined, a verb or option is unknown, or a step is itself a workflow.
"""

from __future__ import annotations

from radiograph.core import Config as Base
from radiograph.core import Context, FilePath, UserError
from radiograph.evidence import Result


class Config(Base):
    """Which workflow, with which variables."""

    workflow: FilePath
    """A `radiograph.workflow/1` file."""
    var: tuple[str, ...] = ()
    """NAME=VALUE: overrides a variable of the file. Repeatable."""
    dry_run: bool = False
    """Resolve and check everything, run nothing."""


def run(config: Config, ctx: Context) -> Result:
    """Run the steps."""
    variables: dict[str, str] = {}
    for pair in config.var:
        key, equals, value = pair.partition("=")
        if not equals:
            raise UserError(f"--var {pair!r}", expected="NAME=VALUE")
        variables[key] = value
    path = ctx.path(config.workflow, "workflow")
    return ctx.service("workflow")(path, ctx, variables, dry_run=config.dry_run)
