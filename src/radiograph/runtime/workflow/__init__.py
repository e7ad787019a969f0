"""Workflows: verbs as steps of a file (YAML, TOML or JSON).

    schema: radiograph.workflow/1
    vars: {model: "bundled:base", top: 20}
    out: runs/{tag}
    steps:
      - {name: diff, verb: weights.diff, with: {reference: "{model}", candidate: "{model}"}, on_gate: continue}

1. files of interp-lab are translated; `{name}` and `${name}` in texts are replaced from `vars`, `--var`, the listed
   `env`, and the predefined `config_dir`, `run_dir`, `steps.NAME.out`
2. everything is resolved and validated before the first step runs; a dry run stops there, with hashes of the inputs
3. what the file names must lie inside the workspace, or inside the run itself
4. steps run as declared, or when what they `need` is done; independent ones side by side with `--workers`
5. a step that fails its gate (exit 2), measures nothing (exit 4) or meets bad input (exit 3) stops those that need it,
   unless it says `on_gate: continue` (2 and 4)
6. with `--resume RUN` a step that was done there, from the same inputs, is taken over instead of run
"""

from radiograph.runtime.workflow._file import Step, Workflow, read_workflow
from radiograph.runtime.workflow._names import substitute
from radiograph.runtime.workflow._result import PlannedInput, StepOutcome, WorkflowResult
from radiograph.runtime.workflow._run import place_of, run_workflow

__all__ = [
    "PlannedInput",
    "Step",
    "StepOutcome",
    "Workflow",
    "WorkflowResult",
    "place_of",
    "read_workflow",
    "run_workflow",
    "substitute",
]
