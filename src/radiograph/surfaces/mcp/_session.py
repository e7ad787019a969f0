"""A session is a folder, and its transcript is its state: no connection and no process owns it.

    runs/session-<time>-<id>/  session.json  tool_calls.jsonl  results/<seq>.json  runs/<verb>-<time>-<id>/…

1. `create` makes the folder; `find` opens it again, in this process or another, if the server's settings are the same
2. whoever appends holds a lock on the transcript, reads what others appended, and continues the chain; what the session
   has spent is the sum of the costs in its entries
3. an answer above the limit is kept whole under `results/`, covered by its hash in the transcript, and sent in parts
4. `close` writes where the transcript ended into `session.json`; nothing can be appended after that
"""

from __future__ import annotations

import os
import re
import secrets
from collections import Counter
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from radiograph import __version__
from radiograph.core import UserError
from radiograph.core.limits import TOOL_RESULT_BYTES
from radiograph.evidence import Session as Record
from radiograph.evidence import canonical_json, document_sha256, pretty_json
from radiograph.runtime import RESULTS, RUNS, SESSION, TRANSCRIPT, read_session, session_seal
from radiograph.store import Transcript, now

_ID = re.compile(r"[0-9a-f]{12}")
_CURSOR = re.compile(r"([1-9][0-9]{0,8}):([0-9]{1,12})")
_PART_CHARACTERS = 40_000


@dataclass(frozen=True)
class Entry:
    """What is written down about one call."""

    tool: str
    args: dict[str, Any]
    summary: str
    seconds: float
    counts: bool = False
    """Whether it is a call that the budget of calls is about."""
    is_error: bool = False
    reason: str | None = None
    run: str | None = None
    seal: str | None = None


class Session:
    """One open session; threads and processes may share it."""

    def __init__(self, path: Path, record: Record) -> None:
        self.path = path
        self.record = record
        self.spent: Counter[str] = Counter()
        self._transcript = Transcript(path / TRANSCRIPT, record.session_id, document_sha256(record.config))

    @classmethod
    def create(cls, runs: Path, config: Mapping[str, Any]) -> Session:
        """Make the folder of a new session below `runs`."""
        identity = secrets.token_hex(6)
        path = runs / f"session-{now()}-{identity}"
        path.mkdir(parents=True)
        record = Record(session_id=identity, tool_version=__version__, config=dict(config), opened=_clock())
        _replace(path / SESSION, pretty_json(record))
        (path / TRANSCRIPT).touch()
        return cls(path, record)

    @classmethod
    def find(cls, runs: Path, identity: str, config: Mapping[str, Any]) -> Session:
        """Open the folder of a session that this process, or another with the same settings, has made.

        Raises:
            UserError: no such session (`unknown_session`), or one of a server set up otherwise (`session_mismatch`).
        """
        found = sorted(runs.glob(f"session-*-{identity}/{SESSION}")) if _ID.fullmatch(identity) else []
        if not found:
            raise UserError(
                "no such session", fix="call session_open, and pass the session_id it gives", code="unknown_session"
            )
        path = found[0].parent
        record = read_session(path)
        if record.config != dict(config):
            raise UserError("the session belongs to a server with other settings", code="session_mismatch")
        return cls(path, record)

    @property
    def runs(self) -> Path:
        """Where the bundles of its calls go."""
        return self.path / RUNS

    @contextmanager
    def hold(self) -> Generator[None]:
        """The right to append, with everything read that others appended.

        Raises:
            UserError: the session is closed (`session_closed`).
            FormatError: its transcript was tampered with (`transcript_broken`).
        """
        import fcntl

        with (self.path / TRANSCRIPT).open("ab") as handle:
            fcntl.flock(handle, fcntl.LOCK_EX)
            if read_session(self.path).closed is not None:
                raise UserError("the session is closed", fix="open a new one with session_open", code="session_closed")
            for entry in self._transcript.follow():
                self.spent.update(entry["cost"])
            yield

    def record_call(self, entry: Entry, answer: dict[str, Any], profile: str) -> dict[str, Any]:
        """Append a call, flushed, and return what to send: the answer, cut where it is too long."""
        with self.hold():
            seq = self._transcript.seq + 1
            sent = self._cut(answer, seq)
            cost = {
                "seconds": round(entry.seconds, 3),
                "bytes": float(len(canonical_json(sent))),
                "calls": float(entry.counts),
            }
            self._transcript.append(
                tool=entry.tool,
                args=entry.args,
                result=answer,
                caller="mcp",
                summary=entry.summary,
                run_id=entry.run,
                run_seal=entry.seal,
                profile=profile,
                is_error=entry.is_error,
                reason=entry.reason,
                cost=cost,
            )
            self.spent.update(cost)
            return sent

    def read_on(self, cursor: str) -> tuple[str, str | None]:
        """The part of a long answer that a cursor points to, and the next cursor.

        Raises:
            UserError: not a cursor of this session.
        """
        match = _CURSOR.fullmatch(cursor)
        file = self.path / RESULTS / f"{match[1]}.json" if match else None
        text = file.read_text(encoding="utf-8") if file is not None and file.is_file() else ""
        if match is None or int(match[2]) >= len(text):
            raise UserError(
                "not a cursor of this session", expected="the cursor of an answer that was cut", code="bad_cursor"
            )
        return _part(text, int(match[1]), int(match[2]))

    def close(self) -> tuple[int, str, str]:
        """Write down where the transcript ended: (seq, head, seal of `session.json`)."""
        with self.hold():
            seq, head = self._transcript.seq, self._transcript.head
            closed = self.record.model_copy(update={"closed": _clock(), "transcript_seq": seq, "transcript_head": head})
            _replace(self.path / SESSION, pretty_json(closed))
        return seq, head, session_seal(self.path)

    def _cut(self, answer: dict[str, Any], seq: int) -> dict[str, Any]:
        data = canonical_json(answer)
        if len(data) <= TOOL_RESULT_BYTES or "result" not in answer:
            return answer
        folder = self.path / RESULTS
        folder.mkdir(exist_ok=True)
        (folder / f"{seq}.json").write_bytes(data)
        part, cursor = _part(data.decode(), seq, 0)
        return {**answer, "result": None, "truncated": True, "part": part, "cursor": cursor}


def _part(text: str, seq: int, start: int) -> tuple[str, str | None]:
    """From `start` as much as fits under the limit once it is written as JSON, quotes escaped."""
    length = _PART_CHARACTERS
    while len(canonical_json(text[start : start + length])) > TOOL_RESULT_BYTES * 7 // 8:
        length = length * 3 // 4
    end = start + length
    return text[start:end], f"{seq}:{end}" if end < len(text) else None


def _replace(path: Path, text: str) -> None:
    draft = path.with_name(path.name + ".draft")
    with draft.open("w", encoding="utf-8") as handle:
        handle.write(text)
        handle.flush()
        os.fsync(handle.fileno())
    draft.replace(path)


def _clock() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
