"""Is a session untouched: its transcript, the bundles that its calls left, the long results it kept?

1. the transcript's chain is whole, from a first link over the session's id and settings to the (seq, head) in
   `session.json`; a changed, dropped, swapped or inserted entry, and a cut tail, are named by their seq
2. every bundle that an entry names is there, carries the seal in that entry, and is itself intact
3. every long result kept under `results/` has the hash of the entry that gave it
4. a session that was never closed has no head to end at: its tail cannot be checked, so it is `incomplete`
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from radiograph.core import FormatError
from radiograph.evidence import Session, document_sha256
from radiograph.store import broken_links, file_sha256, first_link

SESSION = "session.json"
TRANSCRIPT = "tool_calls.jsonl"
RESULTS = "results"
RUNS = "runs"

Finding = tuple[str, str]
"""Path and text of a problem."""


def is_session(path: Path) -> bool:
    """Whether a folder is a session's."""
    return (path / SESSION).is_file()


def read_session(path: Path) -> Session:
    """The settings of a session.

    Raises:
        FormatError: not one. NewerSchema: of a later version.
    """
    try:
        document = json.loads((path / SESSION).read_bytes())
    except (OSError, ValueError) as error:
        raise FormatError(f"cannot read {SESSION} of {path.name}", got=str(error)) from error
    if not isinstance(document, dict):
        raise FormatError(f"{SESSION} of {path.name} is not a JSON object")
    return Session.read(document, SESSION)


def check_session(
    path: Path, session: Session, bundle: Callable[[Path, str], list[Finding]]
) -> tuple[list[Finding], int]:
    """Problems of a session, and how many files were looked at. `bundle` checks one bundle against its seal."""
    log = path / TRANSCRIPT
    if not log.is_file():
        return [(TRANSCRIPT, "missing")], 1
    first = first_link(session.session_id, document_sha256(session.config))
    end = (session.transcript_seq, session.transcript_head) if session.closed else (None, None)
    problems = [(TRANSCRIPT, text) for text in broken_links(log, first, *end)]
    entries = _entries(log)
    for entry in entries:
        name, seal = entry.get("run_id"), entry.get("run_seal")
        if isinstance(name, str) and isinstance(seal, str):
            problems += [(f"{RUNS}/{name}/{p}", text) for p, text in bundle(path / RUNS / Path(name).name, seal)]
    kept = sorted((path / RESULTS).glob("*.json"))
    hashes = {str(e.get("seq")): e.get("result_sha256") for e in entries}
    for file in kept:
        if hashlib.sha256(file.read_bytes()).hexdigest() != hashes.get(file.stem):
            problems.append((f"{RESULTS}/{file.name}", f"is not the result of seq {file.stem}"))
    return problems, 2 + len(kept)


def session_seal(path: Path) -> str:
    """SHA-256 of `session.json`: what is printed when a session closes."""
    return file_sha256(path / SESSION)


def _entries(log: Path) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    for line in log.read_bytes().splitlines():
        try:
            entry = json.loads(line)
        except ValueError:
            continue
        if isinstance(entry, dict):
            found.append(entry)
    return found
