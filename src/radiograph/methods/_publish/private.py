"""Prompts that are marked private: by a field or a column `private` whose value says yes.

1. of Parquet files the columns, and fields inside columns of text; of CSV the column; of JSON (also `.gz`, `.zst`),
   YAML and TOML the field, wherever it stands
2. criteria and records keep the mark of what they were made from; other runs do not, so the files that a run was given
   are looked at too, as long as they lie where they lay with the bytes they had; those that do not are named, for
   somebody to look
"""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

from radiograph.core import FormatError, UserError
from radiograph.evidence import InputRecord
from radiograph.evidence.publication import Leak
from radiograph.store import MANIFEST, file_sha256, folder_sha256, tree
from radiograph.store.lines import YES

FIELD: Final = re.compile(rb"(?i)[\"']private[\"']\s*:\s*(?:true\b|yes\b|1\b|[\"'](?:true|yes|1)[\"'])")
_BARE: Final = re.compile(rb"(?im)(?:^|[\s{,\-])[\"']?private[\"']?\s*[:=]\s*[\"']?(?:true|yes|1)\b")
_LINES: Final = (".json", ".jsonl", ".ndjson", ".gz", ".zst")
_TABLES: Final = (".csv", ".tsv")
_BARE_TEXT: Final = (".yaml", ".yml", ".toml")
READABLE: Final = (*_LINES, *_TABLES, *_BARE_TEXT, ".parquet")


def marked(path: Path) -> str | None:
    """Where a file says that prompts of it are private; None where it does not, or is of another kind."""
    suffix = path.suffix.lower()
    try:
        if suffix == ".parquet":
            return _in_columns(path)
        if suffix in _TABLES:
            return _in_cells(path, "\t" if suffix == ".tsv" else ",")
        if suffix in _LINES:
            return next(_in_lines(path), None)
        if suffix in _BARE_TEXT and _BARE.search(path.read_bytes()):
            return "a field private"
    except (OSError, FormatError, UnicodeDecodeError, csv.Error):
        return None
    return None


def inputs(folder: Path, locate: Callable[[str], Path]) -> tuple[list[Leak], list[str]]:
    """Marks in what the runs of a folder were given, and the inputs that are no longer at hand."""
    leaks: list[Leak] = []
    unseen: list[str] = []
    for manifest in sorted(folder.rglob(MANIFEST)):
        name = manifest.relative_to(folder).as_posix()
        for document in json.loads(manifest.read_bytes()).get("inputs", ()):
            given = InputRecord.model_validate(document)
            if given.kind not in ("file", "folder"):
                continue
            path = _at_hand(given, locate)
            if path is None:
                unseen.append(f"{given.role} {given.ref}")
                continue
            files = [path] if path.is_file() else [one for one in tree(path) if one.suffix.lower() in READABLE]
            found = next((place for one in files if (place := marked(one))), None)
            if found is not None:
                leaks.append(
                    Leak(kind="private", file=name, place=f"input {given.role}: {found}", shown=given.ref[:80])
                )
    return list(dict.fromkeys(leaks)), sorted(set(unseen))


def _at_hand(given: InputRecord, locate: Callable[[str], Path]) -> Path | None:
    """The input, if it still is what the run read."""
    try:
        path = locate(given.ref)
    except UserError:
        return None
    if path.is_file():
        return path if file_sha256(path) == given.sha256 else None
    return path if path.is_dir() and folder_sha256(path) == given.sha256 else None


def _in_lines(path: Path) -> Iterator[str]:
    from radiograph.store.lines import read_lines

    for lines in read_lines(path):
        for text, number in zip(lines.texts, lines.numbers, strict=True):
            if FIELD.search(text):
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
