"""What a finished run prints: the headline, the numbers that matter, and where the report is."""

from __future__ import annotations

import sys

from radiograph.core import Progress, visible
from radiograph.evidence import Result, pretty_json
from radiograph.runtime import Outcome, Verb
from radiograph.store import Workspace


def show(verb: Verb, outcome: Outcome, *, as_json: bool, progress: Progress) -> None:
    """stdout: `result.json`, or the headline and the report's path. stderr: the seal."""
    result = outcome.result
    if as_json:
        sys.stdout.write(pretty_json(result))
    elif isinstance(result, Result):
        sys.stdout.write(visible(result.headline) + "\n")
        for line in getattr(result, "lines", ()):
            sys.stdout.write("  " + visible(line) + "\n")
    if outcome.path is not None:
        where = Workspace.current().label(outcome.path)
        if not as_json:
            sys.stdout.write(f"report: {where}/report.html\n")
        progress.say(f"bundle: {where}   seal: {outcome.seal}")
    del verb
