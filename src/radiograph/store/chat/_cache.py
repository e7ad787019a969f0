"""Answers that were paid for once: SQLite, one row a question.

The key is SHA-256 of the canonical JSON of (model, messages, parameters, prompt version). Neither address nor API key
is part of it or stored beside it, so a cache may be handed on, and answers offline whoever asks the same.
"""

from __future__ import annotations

import hashlib
import json
import sqlite3
import threading
from contextlib import closing
from pathlib import Path
from typing import Any, Final, Self

from radiograph.core import FormatError, UserError
from radiograph.evidence import canonical_json
from radiograph.store._workspace import Workspace
from radiograph.store.chat._asked import Message

SCHEMA_VERSION: Final = 1
_TABLES: Final = """
CREATE TABLE IF NOT EXISTS meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS answer (key TEXT PRIMARY KEY, model TEXT NOT NULL, version TEXT NOT NULL, text TEXT NOT NULL,
  prompt_tokens INTEGER, completion_tokens INTEGER) WITHOUT ROWID;
"""


def question_sha256(model: str, messages: tuple[Message, ...], parameters: dict[str, Any], version: str) -> str:
    """The key of a question."""
    return hashlib.sha256(canonical_json([model, list(messages), parameters, version])).hexdigest()


def chat_cache() -> Path:
    """The cache of this workspace; its folder is made."""
    folder = Workspace.current().base / ".radiograph"
    folder.mkdir(exist_ok=True)
    return folder / "chat.sqlite"


class ChatCache:
    """One cache file, shared by the threads of a client and by processes; use as a context manager."""

    def __init__(self, path: Path, connection: sqlite3.Connection) -> None:
        self.path = path
        self._connection = connection
        self._lock = threading.Lock()

    @classmethod
    def open(cls, path: Path) -> Self:
        """Open a cache, or make an empty one.

        Raises:
            UserError: the folder is not there. FormatError: not a cache, damaged, or of a newer schema.
        """
        if not path.parent.is_dir():
            raise UserError(f"no folder for the cache {path.name!r}", code="not_found")
        connection = sqlite3.connect(path, timeout=30, check_same_thread=False)
        try:
            connection.executescript(_TABLES)
            connection.execute("INSERT OR IGNORE INTO meta VALUES ('chat', ?)", (str(SCHEMA_VERSION),))
            connection.commit()
            row = connection.execute("SELECT value FROM meta WHERE key = 'chat'").fetchone()
        except sqlite3.DatabaseError as error:
            connection.close()
            raise FormatError(f"{path.name} is not a cache of answers", got=str(error)) from error
        if not str(row[0]).isdigit() or int(row[0]) > SCHEMA_VERSION:
            connection.close()
            raise FormatError(
                f"{path.name} has cache schema {row[0]}", expected=f"1 to {SCHEMA_VERSION}", fix="upgrade radiograph"
            )
        return cls(path, connection)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        """Commit and close."""
        with self._lock, closing(self._connection):
            self._connection.commit()

    def get(self, key: str) -> str | None:
        """The text of an answer."""
        with self._lock:
            row = self._connection.execute("SELECT text FROM answer WHERE key = ?", (key,)).fetchone()
        return None if row is None else row[0]

    def put(
        self,
        key: str,
        model: str,
        version: str,
        text: str,
        tokens: tuple[int | None, int | None],
        *,
        replace: bool = False,
    ) -> None:
        """Keep an answer; the first one of a question stays, but for `replace`."""
        with self._lock:
            if replace:
                self._connection.execute("DELETE FROM answer WHERE key = ?", (key,))
            self._connection.execute(
                "INSERT OR IGNORE INTO answer VALUES (?, ?, ?, ?, ?, ?)", (key, model, version, text, *tokens)
            )
            self._connection.commit()

    def snapshot_sha256(self) -> str:
        """Hash of all answers, for a manifest."""
        digest = hashlib.sha256(b"radiograph.chat/1")
        with self._lock:
            for row in self._connection.execute("SELECT key, text FROM answer ORDER BY key"):
                digest.update(json.dumps(row, ensure_ascii=True).encode() + b"\n")
        return digest.hexdigest()
