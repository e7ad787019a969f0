"""Floor 6: finding verbs, running them into bundles, workflows, replay, verify. Imports no torch by itself."""

from radiograph.runtime._catalogue import Verb, aliases, catalogue, find, find_line
from radiograph.runtime._context import RunContext
from radiograph.runtime._execute import Outcome, Settings, execute, portable
from radiograph.runtime._handed import check_place, document_text, hand_over
from radiograph.runtime._replay import Replay, replay
from radiograph.runtime._resolve import Resolved, expand_environment, read_mapping, resolve
from radiograph.runtime._roles import Roles
from radiograph.runtime._sessions import RESULTS, RUNS, SESSION, TRANSCRIPT, is_session, read_session, session_seal
from radiograph.runtime._verify import Verification, verify
from radiograph.runtime.workflow import WorkflowResult, place_of, read_workflow, run_workflow

__all__ = [
    "RESULTS",
    "RUNS",
    "SESSION",
    "TRANSCRIPT",
    "Outcome",
    "Replay",
    "Resolved",
    "Roles",
    "RunContext",
    "Settings",
    "Verb",
    "Verification",
    "WorkflowResult",
    "aliases",
    "catalogue",
    "check_place",
    "document_text",
    "execute",
    "expand_environment",
    "find",
    "find_line",
    "hand_over",
    "is_session",
    "place_of",
    "portable",
    "read_mapping",
    "read_session",
    "read_workflow",
    "replay",
    "resolve",
    "run_workflow",
    "session_seal",
    "verify",
]
