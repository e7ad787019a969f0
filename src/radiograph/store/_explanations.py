"""The local cache of feature explanations: SQLite, one row per (model, source, feature).

An empty list of explanations means "asked, there is none"; an absent row means "never asked". A source is bound to the
decoder it was written for (`binding`), so that labels of another dictionary are refused. The snapshot hash is over the
sorted rows of one source as canonical JSON without fetch times: page layout and insertion order do not matter.

What was fetched from others is not bound until somebody says for which decoder it is; licence, origin and the files it
came from, each with its hash, stand beside it. Schema 2 added these, schema 3 the tag of a file where it was fetched;
files of earlier schemas are read as they are.
"""

from __future__ import annotations

import hashlib
import json
import sqlite3
from collections.abc import Callable, Iterable, Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from radiograph.core import FormatError, UserError, nearest
from radiograph.evidence import canonical_json

SCHEMA_VERSION: Final = 3
_TABLES: Final = """
CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE binding (model TEXT, source TEXT, decoder_sha256 TEXT NOT NULL, site TEXT NOT NULL, size INTEGER NOT NULL,
  PRIMARY KEY (model, source)) WITHOUT ROWID;
CREATE TABLE feature_cache (model TEXT, source TEXT, idx INTEGER, payload TEXT NOT NULL, fetched_at TEXT,
  PRIMARY KEY (model, source, idx)) WITHOUT ROWID;
CREATE TABLE explanation_cache (model TEXT, source TEXT, idx INTEGER, payload TEXT NOT NULL, fetched_at TEXT,
  PRIMARY KEY (model, source, idx)) WITHOUT ROWID;
"""
_ADDED: Final = """
CREATE TABLE IF NOT EXISTS provenance (model TEXT, source TEXT, licence TEXT, origin TEXT,
  PRIMARY KEY (model, source)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS file (model TEXT, source TEXT, name TEXT, sha256 TEXT NOT NULL, bytes INTEGER NOT NULL,
  rows INTEGER NOT NULL, fetched_at TEXT, tag TEXT NOT NULL DEFAULT '',
  PRIMARY KEY (model, source, name)) WITHOUT ROWID;
"""
_OF_A_SOURCE: Final = ("binding", "feature_cache", "explanation_cache", "provenance", "file")


@dataclass(frozen=True, slots=True)
class Binding:
    """What a source's labels were written for."""

    decoder_sha256: str | None
    """None: nobody has said."""
    site: str
    size: int


@dataclass(frozen=True, slots=True)
class Provenance:
    """Where a source's labels come from."""

    licence: str | None = None
    origin: str | None = None


@dataclass(frozen=True, slots=True)
class ReadFile:
    """A file that a source was filled from."""

    name: str
    sha256: str
    bytes: int
    rows: int
    tag: str = ""
    """What the place that it was fetched from calls this state of it (an ETag); empty: it does not say."""


class ExplanationCache:
    """One cache file, open for reading or writing; use as a context manager."""

    def __init__(self, path: Path, connection: sqlite3.Connection) -> None:
        self.path = path
        self._connection = connection

    @classmethod
    def open(cls, path: Path) -> ExplanationCache:
        """Open an existing cache read-only.

        Raises:
            UserError: no such file. FormatError: not a cache, corrupt, or of a newer schema.
        """
        if not path.is_file():
            raise UserError(f"no explanation cache at {path.name!r}", code="not_found")
        connection = sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro&immutable=1", uri=True)
        try:
            row = connection.execute("SELECT value FROM meta WHERE key = 'schema'").fetchone()
        except sqlite3.DatabaseError as error:
            connection.close()
            raise FormatError(f"{path.name} is not an explanation cache", got=str(error)) from error
        version = int(row[0]) if row and str(row[0]).isdigit() else 0
        if not 1 <= version <= SCHEMA_VERSION:
            connection.close()
            raise FormatError(
                f"{path.name} has cache schema {version}", expected=f"1 to {SCHEMA_VERSION}", fix="upgrade radiograph"
            )
        return cls(path, connection)

    @classmethod
    def create(cls, path: Path) -> ExplanationCache:
        """Make a new, empty cache."""
        connection = sqlite3.connect(path)
        connection.executescript(_TABLES + _ADDED)
        connection.execute("INSERT INTO meta VALUES ('schema', ?)", (str(SCHEMA_VERSION),))
        return cls(path, connection)

    @classmethod
    def edit(cls, path: Path) -> ExplanationCache:
        """Open a cache to write to, or make one; one of an earlier schema becomes one of ours.

        Raises:
            FormatError: not a cache, corrupt, or of a newer schema. UserError: its folder is not there.
        """
        if not path.parent.is_dir():
            raise UserError(f"no folder for the cache {path.name!r}", code="not_found")
        if not path.exists():
            return cls.create(path)
        cls.open(path).close()
        connection = sqlite3.connect(path, timeout=30)
        with connection:
            connection.executescript(_ADDED)
            if not _tagged(connection):
                connection.execute("ALTER TABLE file ADD COLUMN tag TEXT NOT NULL DEFAULT ''")
            connection.execute("UPDATE meta SET value = ? WHERE key = 'schema'", (str(SCHEMA_VERSION),))
        return cls(path, connection)

    def __enter__(self) -> ExplanationCache:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        """Commit and close."""
        with closing(self._connection):
            self._connection.commit()

    def bind(self, model: str, source: str, binding: Binding) -> None:
        """State which decoder the labels of a source are for."""
        row = (model, source, binding.decoder_sha256 or "", binding.site, binding.size)
        self._connection.execute("INSERT OR REPLACE INTO binding VALUES (?, ?, ?, ?, ?)", row)

    def put(self, model: str, source: str, payloads: Iterable[Mapping[str, Any]]) -> None:
        """Store feature payloads in the public wire shape; `explanations`, if present, goes to its own table."""
        for payload in payloads:
            index = int(payload["index"])
            feature = {k: v for k, v in payload.items() if k != "explanations"}
            self._write("feature_cache", model, source, index, feature)
            if "explanations" in payload:
                self._write("explanation_cache", model, source, index, payload["explanations"])

    def add(
        self,
        model: str,
        source: str,
        file: ReadFile,
        features: Mapping[int, Mapping[str, Any]],
        explanations: Mapping[int, list[dict[str, Any]]],
        at: str | None,
        join_contexts: Callable[[list[dict[str, Any]]], list[dict[str, Any]]] = list,
    ) -> None:
        """Join what one file says to what is there; the file counts as read with it, or not at all.

        Fields of a feature are added to its others. Explanations are told apart by their content, and sorted by it, so
        that the order in which files are read leaves no trace.
        """
        with self._connection:
            for index, fields in sorted(features.items()):
                known = self._one("feature_cache", model, source, index) or {}
                both = [*known.get("activations", ()), *fields.get("activations", ())]
                listed = {"activations": join_contexts(both)} if both else {}
                self._write("feature_cache", model, source, index, {**known, **fields, **listed, "index": index}, at)
            for index, given in sorted(explanations.items()):
                known = self._one("explanation_cache", model, source, index) or []
                each = {canonical_json(payload): payload for payload in [*known, *given]}
                self._write("explanation_cache", model, source, index, [each[key] for key in sorted(each)], at)
            self._filled_from(model, source, file, at)

    def copy(self, other: ExplanationCache, model: str, source: str, at: str | None = None) -> None:
        """Take a source over from another cache as it stands there, in place of what is here.

        `at`: when it was read.
        """
        with self._connection:
            self.remove(model, source)
            self.bind(model, source, other.binding(model, source))
            self.describe(model, source, other.provenance(model, source))
            for table in ("feature_cache", "explanation_cache"):
                for index, payload in sorted(other._read(table, model, source).items()):
                    self._write(table, model, source, index, payload, at)
            for file in other.files(model, source).values():
                self._filled_from(model, source, file, at)
            if other.private:
                self.mark_private()

    @property
    def private(self) -> bool:
        """Whether something that it says was made of texts that are marked private."""
        return bool(self._rows("SELECT 1 FROM meta WHERE key = 'private'"))

    def mark_private(self) -> None:
        """State that it is; there is no way back."""
        self._connection.execute("INSERT OR REPLACE INTO meta VALUES ('private', 'yes')")

    def describe(self, model: str, source: str, provenance: Provenance) -> None:
        """State where the labels of a source come from."""
        row = (model, source, provenance.licence, provenance.origin)
        self._connection.execute("INSERT OR REPLACE INTO provenance VALUES (?, ?, ?, ?)", row)

    def remove(self, model: str, source: str) -> None:
        """Forget a source."""
        for table in _OF_A_SOURCE:
            self._connection.execute(f"DELETE FROM {table} WHERE model = ? AND source = ?", (model, source))  # noqa: S608 - our own names

    def provenance(self, model: str, source: str) -> Provenance:
        """Where the labels of a source come from, as far as it is known."""
        if not self._has("provenance"):
            return Provenance()
        rows = self._rows("SELECT licence, origin FROM provenance WHERE model = ? AND source = ?", model, source)
        return Provenance(*rows[0]) if rows else Provenance()

    def files(self, model: str, source: str) -> dict[str, ReadFile]:
        """The files that a source was filled from, by name."""
        if not self._has("file"):
            return {}
        tag = "tag" if _tagged(self._connection) else "''"
        statement = f"SELECT name, sha256, bytes, rows, {tag} FROM file WHERE model = ? AND source = ? ORDER BY name"  # noqa: S608 - our own names
        return {row[0]: ReadFile(*row) for row in self._rows(statement, model, source)}

    def sources(self) -> list[tuple[str, str]]:
        """Every (model, source) with a binding."""
        return self._rows("SELECT model, source FROM binding ORDER BY model, source")

    def binding(self, model: str, source: str) -> Binding:
        """What a source is bound to.

        Raises:
            UserError: the cache does not hold this source; the nearest are named.
        """
        rows = self._rows(
            "SELECT decoder_sha256, site, size FROM binding WHERE model = ? AND source = ?", model, source
        )
        if not rows:
            known = [f"{m}/{s}" for m, s in self.sources()]
            close = nearest(f"{model}/{source}", known)
            raise UserError(
                f"{self.path.name} holds no explanations for {model}/{source}",
                expected="one of " + ", ".join(known[:10]),
                fix=f"did you mean {', '.join(close)}?" if close else None,
                code="not_found",
            )
        decoder, site, size = rows[0]
        return Binding(decoder or None, site, size)

    def explanations(self, model: str, source: str) -> dict[int, list[dict[str, Any]]]:
        """Every asked feature's explanations; an empty list means that there is none."""
        found = self._read("explanation_cache", model, source)
        for index, payload in found.items():
            if not (isinstance(payload, list) and all(isinstance(p, dict) for p in payload)):
                raise self._damaged(f"the explanations of feature {index} are no list of objects")
        return found

    def features(self, model: str, source: str) -> dict[int, dict[str, Any]]:
        """Every stored feature payload."""
        found = self._read("feature_cache", model, source)
        for index, payload in found.items():
            if not isinstance(payload, dict):
                raise self._damaged(f"feature {index} is no object")
        return found

    def payload(self, model: str, source: str, index: int) -> dict[str, Any] | None:
        """What is known of one feature, its explanations among it; None: never asked."""
        feature = self._one("feature_cache", model, source, index)
        explained = self._one("explanation_cache", model, source, index)
        if feature is None and explained is None:
            return None
        if not (isinstance(feature, dict | None) and isinstance(explained, list | None)):
            raise self._damaged(f"feature {index} is no object")
        return {**(feature or {}), "explanations": explained or []}

    def snapshot_sha256(self, model: str, source: str) -> str:
        """Hash of everything the cache says about a source."""
        digest = hashlib.sha256(b"radiograph.explanations/1")
        for table in ("feature_cache", "explanation_cache"):
            for index, payload in sorted(self._read(table, model, source).items()):
                digest.update(canonical_json([table, index, payload]) + b"\n")
        return digest.hexdigest()

    def _write(self, table: str, model: str, source: str, index: int, payload: object, at: str | None = None) -> None:
        statement = {
            "feature_cache": "INSERT OR REPLACE INTO feature_cache VALUES (?, ?, ?, ?, ?)",
            "explanation_cache": "INSERT OR REPLACE INTO explanation_cache VALUES (?, ?, ?, ?, ?)",
        }[table]
        self._connection.execute(statement, (model, source, index, canonical_json(payload).decode(), at))

    def _filled_from(self, model: str, source: str, file: ReadFile, at: str | None) -> None:
        row = (model, source, file.name, file.sha256, file.bytes, file.rows, at, file.tag)
        self._connection.execute("INSERT OR REPLACE INTO file VALUES (?, ?, ?, ?, ?, ?, ?, ?)", row)

    def _one(self, table: str, model: str, source: str, index: int) -> Any:
        statement = {
            "feature_cache": "SELECT payload FROM feature_cache WHERE model = ? AND source = ? AND idx = ?",
            "explanation_cache": "SELECT payload FROM explanation_cache WHERE model = ? AND source = ? AND idx = ?",
        }[table]
        row = self._connection.execute(statement, (model, source, index)).fetchone()
        return None if row is None else json.loads(row[0])

    def _has(self, table: str) -> bool:
        return bool(self._rows("SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = ?", table))

    def _read(self, table: str, model: str, source: str) -> dict[int, Any]:
        statement = {
            "feature_cache": "SELECT idx, payload FROM feature_cache WHERE model = ? AND source = ?",
            "explanation_cache": "SELECT idx, payload FROM explanation_cache WHERE model = ? AND source = ?",
        }[table]
        try:
            return {index: json.loads(payload) for index, payload in self._rows(statement, model, source)}
        except ValueError as error:
            raise self._damaged(error) from error

    def _rows(self, statement: str, *values: str) -> list[Any]:
        try:
            return self._connection.execute(statement, values).fetchall()
        except sqlite3.DatabaseError as error:
            raise self._damaged(error) from error

    def _damaged(self, error: object) -> FormatError:
        return FormatError(f"{self.path.name} is damaged", got=str(error))


def _tagged(connection: sqlite3.Connection) -> bool:
    """Whether files have tags: since schema 3."""
    return any(row[1] == "tag" for row in connection.execute("PRAGMA table_info(file)"))
