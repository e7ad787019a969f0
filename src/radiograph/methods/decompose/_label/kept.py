"""Labels as they come, so that none is lost or asked for twice: SQLite in the writer's own unfinished bundle.

One row a phase and component, committed at once; a journal that is deleted, one writer. Readers get Parquet. What was
asked for stands beside the rows, and another configuration is refused.
"""

from __future__ import annotations

import json
import sqlite3
import threading
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from radiograph.core import UserError

FILE = "labels.sqlite"


@dataclass(frozen=True)
class Kept:
    """What was said of one component in one phase."""

    phase: str
    number: int
    address: str
    label: str | None
    """None: the writer found no words."""
    confidence: str | None
    reasoning: str
    raw: str
    prompt: str
    prompt_sha256: str
    shown: tuple[tuple[str, float, str], ...] = ()
    """Edges that the prompt showed: address or token, relative strength, what it was called."""
    f1: float | None = None
    chance: float | None = None
    n: int | None = None


class Store:
    """The rows of a run; safe to use from several threads."""

    def __init__(self, folder: Path, facts: Mapping[str, Any]) -> None:
        """Begin, or go on with what an unfinished run of the same configuration said.

        Raises:
            UserError: another configuration; names the first field that differs.
        """
        self.path = folder / FILE
        self._lock = threading.Lock()
        self._connection = sqlite3.connect(self.path, check_same_thread=False)
        self._connection.execute("PRAGMA journal_mode = DELETE")
        self._connection.executescript(
            "CREATE TABLE IF NOT EXISTS facts (one INTEGER PRIMARY KEY, text TEXT NOT NULL);"
            "CREATE TABLE IF NOT EXISTS label"
            " (phase TEXT, number INTEGER, text TEXT NOT NULL, PRIMARY KEY (phase, number));"
        )
        now = json.loads(json.dumps(dict(facts)))
        row = self._connection.execute("SELECT text FROM facts").fetchone()
        if row is None:
            self._connection.execute("INSERT INTO facts VALUES (1, ?)", (json.dumps(now, sort_keys=True),))
            self._connection.commit()
            return
        before = json.loads(row[0])
        for name in {**before, **now}:
            if before.get(name) != now.get(name):
                self.close()
                raise UserError(
                    f"the unfinished run asked otherwise: {name} differs",
                    expected=str(before.get(name)),
                    got=str(now.get(name)),
                    fix="resume with the options of that run, or start without --resume",
                    code="another_run",
                )

    def put(self, kept: Kept) -> None:
        """Commit one."""
        with self._lock:
            self._connection.execute(
                "INSERT OR REPLACE INTO label VALUES (?, ?, ?)", (kept.phase, kept.number, json.dumps(asdict(kept)))
            )
            self._connection.commit()

    def phase(self, name: str) -> dict[int, Kept]:
        """What was said in a phase, by component."""
        with self._lock:
            rows = self._connection.execute(
                "SELECT text FROM label WHERE phase = ? ORDER BY number", (name,)
            ).fetchall()
        found = [_read(row[0]) for row in rows]
        return {kept.number: kept for kept in found}

    def close(self) -> None:
        """Let go of the file."""
        with self._lock:
            self._connection.close()


def _read(text: str) -> Kept:
    given = json.loads(text)
    return Kept(**{**given, "shown": tuple((a, b, c) for a, b, c in given["shown"])})
