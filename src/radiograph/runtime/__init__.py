"""Floor 6: finding verbs, running them into bundles, workflows, replay, verify. Imports no torch by itself."""

from radiograph.runtime._catalogue import Verb, catalogue, find
from radiograph.runtime._execute import Outcome, Settings, execute, portable
from radiograph.runtime._replay import Replay, replay
from radiograph.runtime._resolve import Resolved, resolve
from radiograph.runtime._verify import Verification, verify
from radiograph.runtime._workflow import WorkflowResult, read_workflow, run_workflow

__all__ = [
    "Outcome",
    "Replay",
    "Resolved",
    "Settings",
    "Verb",
    "Verification",
    "WorkflowResult",
    "catalogue",
    "execute",
    "find",
    "portable",
    "read_workflow",
    "replay",
    "resolve",
    "run_workflow",
    "verify",
]
