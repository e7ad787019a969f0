"""Where a file or a folder says that prompts are private: by a field or a column `private` whose value says yes.

1. of Parquet files the columns, and fields inside columns of text; of CSV the column; of JSON (also `.gz`, `.zst`),
   YAML and TOML the field, wherever it stands; of a cache of explanations its own mark
2. of a folder its files; of records and of runs the tables are left out, for their header and manifests say it
3. what lies in a run keeps the mark of what that run was given: the manifest around it is looked at, and those below
"""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Iterator
from mmap import ACCESS_READ, mmap
from pathlib import Path
from typing import Any, Final

from radiograph.core import UserError
from radiograph.store._bundle import MANIFEST, SIDECAR
from radiograph.store._explanations import ExplanationCache
from radiograph.store._hashing import tree
from radiograph.store.lines._private import YES
from radiograph.store.lines._read import read_lines

FIELD: Final = re.compile(rb"(?i)[\"']private[\"']\s*:\s*(?:true\b|yes\b|1\b|[\"'](?:true|yes|1)[\"'])")
_BARE: Final = re.compile(rb"(?im)(?:^|[\s{,\-])[\"']?private[\"']?\s*[:=]\s*[\"']?(?:true|yes|1)\b")
_PLAIN: Final = (".json", ".jsonl", ".ndjson")
_PACKED: Final = (".gz", ".zst")
_TABLES: Final = (".csv", ".tsv")
_BARE_TEXT: Final = (".yaml", ".yml", ".toml")
_COLUMNS: Final = ".parquet"
_HEADER: Final = "header.json"
_WORDS: Final = ((b"v", b"rivate"), (b"V", b"RIVATE"))
_RESULT: Final = "result.json"
_CACHE: Final = ".sqlite"


def marked(path: Path) -> str | None:
    """Where a file says that prompts of it are private; None where it does not, or is of another kind."""
    suffix = path.suffix.lower()
    try:
        if suffix == _COLUMNS:
            return _in_columns(path)
        if suffix in _TABLES:
            return _in_cells(path, "\t" if suffix == ".tsv" else ",")
        if suffix in _PACKED or (suffix in _PLAIN and path.stat().st_size and _said(path)):
            return next(_in_lines(path), None)
        if suffix == _CACHE:
            with ExplanationCache.open(path) as cache:
                return "the cache" if cache.private else None
        if suffix in _BARE_TEXT and _BARE.search(path.read_bytes()):
            return "a field private"
    except (OSError, UserError, UnicodeDecodeError, csv.Error):
        return None
    return None


def marked_input(path: Path) -> str | None:
    """Where an input, something in it, or the run that it comes from says that it is private; None: nowhere."""
    if (found := _around(path)) is not None:
        return found
    if path.is_file():
        return marked(path)
    files = tree(path)
    own = {file.parent for file in files if file.name in (MANIFEST, _HEADER)}
    for file in files:
        inside = own and not own.isdisjoint(file.parents)
        # The manifest was looked at; a result may tell of a private repository.
        if inside and (file.suffix.lower() == _COLUMNS or file.name in (MANIFEST, _RESULT)):
            continue
        if (place := marked(file)) is not None:
            return f"{file.relative_to(path).as_posix()}, {place}"
    return None


def marked_model(folder: Path) -> str | None:
    """Where a model's configuration, or the run that made it, says that it is private; None: nowhere."""
    return (_around(folder) or marked(folder / "config.json")) if folder.is_dir() else None


def given_in(manifest: Path) -> list[dict[str, Any]]:
    """The inputs that a manifest lists; none where it is not one of a run."""
    try:
        document = json.loads(manifest.read_bytes())
    except (OSError, ValueError):
        return []
    inputs = document.get("inputs") if isinstance(document, dict) else None
    return [one for one in inputs if isinstance(one, dict)] if isinstance(inputs, list) else []


def _around(path: Path) -> str | None:
    """The first input that is marked private, of the run that a path lies in, or of a step of that run."""
    folder = next((one for one in (path, *path.parents) if (one / SIDECAR).is_file()), None)
    if folder is None:
        return None
    for manifest in sorted(folder.rglob(MANIFEST)):
        for given in given_in(manifest):
            if given.get("private"):
                return f"{manifest.relative_to(folder).as_posix()}, input {given.get('role')}"
    return None


def _said(path: Path) -> bool:
    """Whether the word is there at all: a file is read anew, line by line, only if it is."""
    with path.open("rb") as handle, mmap(handle.fileno(), 0, access=ACCESS_READ) as data:
        # One letter is found many times as fast as a word, and is often not there at all.
        return any(data.find(letter) >= 0 and data.find(word) >= 0 for letter, word in _WORDS)


def _worth(data: bytes) -> bool:
    """Whether the slower search is worth its time."""
    return any(word in data for _, word in _WORDS)


def _in_lines(path: Path) -> Iterator[str]:
    for lines in read_lines(path):
        for text, number in zip(lines.texts, lines.numbers, strict=True):
            if _worth(text) and FIELD.search(text):
                yield f"line {number}"


def _in_cells(path: Path, delimiter: str) -> str | None:
    with path.open(encoding="utf-8-sig", newline="") as handle:
        rows = csv.reader(handle, delimiter=delimiter)
        names = [name.strip().casefold() for name in next(rows, [])]
        if "private" not in names:
            return None
        place = names.index("private")
        for number, row in enumerate(rows, 2):
            if place < len(row) and row[place].strip().casefold() in YES:
                return f"line {number}, column private"
    return None


def _in_columns(path: Path) -> str | None:
    import polars as pl

    try:
        frame = pl.scan_parquet(path)
        schema = frame.collect_schema()
        for column, kind in schema.items():
            if column.casefold() == "private" and not kind.is_nested():
                said = frame.select(pl.col(column).cast(pl.String).str.to_lowercase().is_in(sorted(YES)).any())
                if said.collect().item():
                    return f"column {column}"
            elif kind == pl.String:
                pattern = FIELD.pattern.decode()
                if frame.select(pl.col(column).str.contains(pattern).any()).collect().item():
                    return f"a field private in column {column}"
    except (pl.exceptions.PolarsError, OSError):
        return None
    return None
