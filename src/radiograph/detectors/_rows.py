"""Rows of `--train-data`: parsed whole, then shortened for display. Needs no torch.

A row is a JSON object on one line: `messages` (role and content), or `text`, or `prompt` with `completion` (or
`response`, `answer`). Lines that are no rows are counted by number; a file without a single row is refused.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, cast

from radiograph.core import FormatError

SHOWN: Final = 1200
_REPLIES = ("completion", "response", "answer")


@dataclass(frozen=True)
class TrainingRow:
    """One row: a conversation, or a plain text."""

    line: int
    id: str | None
    messages: tuple[Mapping[str, str], ...] = ()
    text: str | None = None
    group: str | None = None
    """What ties rows together, as a prompt that several answer."""

    @property
    def shown(self) -> str:
        """The row for a reader, shortened."""
        whole = self.text if self.text is not None else "\n".join(f"{m['role']}: {m['content']}" for m in self.messages)
        return whole if len(whole) <= SHOWN else whole[: SHOWN - 1] + "…"


@dataclass(frozen=True)
class TrainingRows:
    """A file of rows."""

    name: str
    sha256: str
    rows: tuple[TrainingRow, ...]
    bad: tuple[int, ...]


def read_rows(path: Path) -> TrainingRows:
    """Every row of a file.

    Raises:
        FormatError: it is no text, or holds no row.
    """
    data = path.read_bytes()
    try:
        lines = data.decode("utf-8-sig").split("\n")
    except UnicodeDecodeError as error:
        raise FormatError(f"{path.name} is no UTF-8 text", expected="JSON Lines", got=str(error)) from error
    rows: list[TrainingRow] = []
    bad: list[int] = []
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        row = _row(number, line)
        if row is None:
            bad.append(number)
        else:
            rows.append(row)
    if not rows:
        first = f"line {bad[0]}: {lines[bad[0] - 1][:80]!r}" if bad else "an empty file"
        raise FormatError(
            f"{path.name} holds no training row",
            where=path.name,
            expected='{"messages": [{"role", "content"}]}, {"text"} or {"prompt", "completion"} on each line',
            got=first,
        )
    return TrainingRows(path.name, hashlib.sha256(data).hexdigest(), tuple(rows), tuple(bad))


def _row(number: int, line: str) -> TrainingRow | None:
    try:
        value = json.loads(line)
    except (ValueError, RecursionError):
        return None
    if not isinstance(value, dict):
        return None
    found = cast("dict[str, Any]", value)
    own = found.get("id")
    name = None if own is None else str(own)[:80]
    group = None if found.get("group") is None else str(found["group"])
    messages = found.get("messages")
    if isinstance(messages, list):
        turns = [_turn(m) for m in cast("list[Any]", messages)]
        said = [t for t in turns if t is not None]
        if len(said) != len(turns) or not said or said[-1]["role"] != "assistant" or len(said) < 2:
            return None
        return TrainingRow(number, name, tuple(said), group=group)
    reply = next((found[k] for k in _REPLIES if isinstance(found.get(k), str)), None)
    if isinstance(found.get("prompt"), str) and reply is not None:
        turns = ({"role": "user", "content": found["prompt"]}, {"role": "assistant", "content": reply})
        return TrainingRow(number, name, turns, group=group)
    text = found.get("text")
    return TrainingRow(number, name, text=text, group=group) if isinstance(text, str) and text else None


def _turn(value: Any) -> dict[str, str] | None:
    if not isinstance(value, dict):
        return None
    turn = cast("dict[str, Any]", value)
    role, content = turn.get("role"), turn.get("content")
    if role not in ("system", "user", "assistant") or not isinstance(content, str):
        return None
    return {"role": role, "content": content}
