"""What a finished run prints: the headline, the numbers that matter, and where the report is."""

from __future__ import annotations

import sys
from pathlib import Path

from radiograph.core import Config, ExitCode, Progress, Refusal, visible
from radiograph.evidence import Result
from radiograph.runtime import Outcome, Verb, document_text, hand_over
from radiograph.store import Workspace


def show(
    verb: Verb, config: Config, outcome: Outcome, *, as_json: bool, output: Path | None, progress: Progress
) -> ExitCode:
    """stdout: the result's JSON, or the headline and the report's path. stderr: the seal.

    The JSON goes to `output` too. What the schema that was asked for cannot say is written nowhere: exit 4.
    """
    result, text, code = outcome.result, "", outcome.exit_code
    if as_json or output is not None:
        try:
            text = document_text(verb, config, result)
        except Refusal as refusal:
            sys.stderr.write(f"radiograph: {visible(str(refusal))}\n")
            output, code = None, ExitCode.NOT_MEASURED
    if output is not None:
        hand_over(text, output)
    if as_json:
        sys.stdout.write(text)
    elif isinstance(result, Result):
        sys.stdout.write(visible(result.headline) + "\n")
        for line in getattr(result, "lines", ()):
            sys.stdout.write("  " + visible(line) + "\n")
    if outcome.path is not None:
        where = Workspace.current().label(outcome.path)
        if not as_json:
            sys.stdout.write(f"report: {where}/report.html\n")
        progress.say(f"bundle: {where}   seal: {outcome.seal}")
    return code
