"""The hash-chained log of what was asked and answered: `tool_calls.jsonl`.

Each entry's hash is SHA-256(prev || canonical JSON of the rest); the first prev is
SHA-256("radiograph.transcript/1" || session id || config hash). A changed, dropped, swapped or inserted entry breaks
the chain. A cut tail does not, which is why manifests store (seq, head).
"""

from __future__ import annotations

import hashlib
import json
import threading
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from radiograph.core import FormatError
from radiograph.evidence import ToolCall, canonical_json

FILE = "tool_calls.jsonl"


def first_link(session_id: str, config_sha256: str) -> str:
    """The `prev` of entry 1."""
    return hashlib.sha256(f"radiograph.transcript/1{session_id}{config_sha256}".encode()).hexdigest()


def link(prev: str, entry: dict[str, Any]) -> str:
    """The hash of an entry given its predecessor's; `prev` and `hash` are not part of what is hashed twice."""
    rest = {k: v for k, v in entry.items() if k not in ("prev", "hash")}
    return hashlib.sha256(prev.encode() + canonical_json(rest)).hexdigest()


class Transcript:
    """Appends entries, each flushed before the caller goes on. One writer at a time.

    Writers of several processes take turns under a lock of their own, and `follow` before they append.
    """

    def __init__(self, path: Path, session_id: str, config_sha256: str) -> None:
        self.path = path
        self.session_id = session_id
        self.seq = 0
        self.head = first_link(session_id, config_sha256)
        self._offset = 0
        self._lock = threading.Lock()

    def append(
        self,
        *,
        tool: str,
        args: dict[str, Any],
        result: object,
        caller: str,
        summary: str,
        run_id: str | None = None,
        run_seal: str | None = None,
        profile: str | None = None,
        is_error: bool = False,
        reason: str | None = None,
        cost: dict[str, float] | None = None,
    ) -> ToolCall:
        """Write one entry and return it."""
        with self._lock:
            entry: dict[str, Any] = {
                "seq": self.seq + 1,
                "ts": datetime.now(UTC).isoformat(timespec="milliseconds"),
                "session_id": self.session_id,
                "run_id": run_id,
                "run_seal": run_seal,
                "caller": caller,
                "profile": profile,
                "tool": tool,
                "args": args,
                "args_sha256": hashlib.sha256(canonical_json(args)).hexdigest(),
                "result_summary": summary,
                "result_sha256": hashlib.sha256(canonical_json(result)).hexdigest(),
                "is_error": is_error,
                "reason": reason,
                "cost": cost or {},
            }
            entry["prev"] = self.head
            entry["hash"] = link(self.head, entry)
            call = ToolCall.model_validate(entry)
            line = canonical_json(call) + b"\n"
            with self.path.open("ab") as handle:
                handle.write(line)
                handle.flush()
            self._advance(call.seq, call.hash, line)
            return call

    def follow(self) -> list[dict[str, Any]]:
        """What another writer has appended since; the next entry continues after it.

        Raises:
            FormatError: the chain is broken; nothing can be appended to it.
        """
        with self._lock:
            new: list[dict[str, Any]] = []
            for line in _lines(self.path, self._offset):
                try:
                    entry = json.loads(line)
                    whole = entry["seq"] == self.seq + 1 and entry["prev"] == self.head
                    whole = whole and entry["hash"] == link(self.head, entry)
                except (ValueError, TypeError, KeyError):
                    whole, entry = False, {}
                if not whole:
                    raise FormatError(
                        f"the chain of {self.path.name} is broken after seq {self.seq}", code="transcript_broken"
                    )
                self._advance(entry["seq"], entry["hash"], line)
                new.append(entry)
            return new

    def _advance(self, seq: int, head: str, line: bytes) -> None:
        self.seq, self.head = seq, head
        self._offset += len(line)


def broken_links(path: Path, first: str, seq: int | None = None, head: str | None = None) -> list[str]:
    """What is wrong with a transcript; empty when it is whole. `seq` and `head` come from the manifest."""
    problems: list[str] = []
    prev, last = first, 0
    for number, line in enumerate(path.read_bytes().splitlines(), start=1):
        try:
            entry = json.loads(line)
        except ValueError:
            return [*problems, f"entry {number}: not JSON"]
        if entry.get("seq") != number:
            problems.append(f"entry {number}: seq is {entry.get('seq')}")
        if entry.get("prev") != prev or entry.get("hash") != link(prev, entry):
            problems.append(f"entry {number}: the chain is broken at seq {entry.get('seq')}")
        if canonical_json(entry) != line:
            problems.append(f"entry {number}: not canonical")
        prev, last = entry.get("hash", ""), number
    if seq is not None and last > seq:
        problems.append(f"entries {seq + 1} to {last} were added at the end")
    if seq is not None and last < seq:
        problems.append(f"entries {last + 1} to {seq} are missing")
    if head is not None and seq == last and prev != head:
        problems.append(f"entry {last}: the head differs from the manifest's")
    return problems


def _lines(path: Path, offset: int) -> list[bytes]:
    if not path.exists():
        return []
    with path.open("rb") as handle:
        handle.seek(offset)
        return handle.readlines()
