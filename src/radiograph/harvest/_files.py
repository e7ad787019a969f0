"""Rows of files: JSON Lines, Parquet, plain text. Each is read a piece at a time, whatever its size."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from radiograph.core import FormatError, UserError
from radiograph.core.limits import JSON_LINE_BYTES

PARQUET_ROWS = 4096


def rows_of(path: Path, per: str) -> Iterator[tuple[int, Any]]:
    """(line or row number from 1, row) of a file; a row is a mapping of columns, or a plain text.

    Raises:
        UserError: no such file, or an unknown suffix. FormatError: not what the suffix says.
    """
    if not path.is_file():
        raise UserError("no such file", got=str(path))
    if path.name.endswith((".jsonl", ".jsonl.gz")):
        yield from _json_lines(path)
    elif path.suffix == ".parquet":
        yield from _parquet(path)
    elif path.suffix == ".txt":
        try:
            yield from _lines(path) if per == "line" else _paragraphs(path)
        except UnicodeDecodeError as error:
            raise FormatError("not text", where=str(path), expected="UTF-8", got=error.reason) from error
    else:
        from radiograph.harvest._sources import FORMS

        raise UserError("unknown kind of source", expected=FORMS, got=path.name)


def _json_lines(path: Path) -> Iterator[tuple[int, Any]]:
    with gzip.open(path, "rb") if path.suffix == ".gz" else path.open("rb") as handle:
        number = 0
        while line := _next(handle, path):
            number += 1
            if len(line) > JSON_LINE_BYTES:
                limit = f"<= {JSON_LINE_BYTES} bytes"
                raise FormatError("a line is too long", where=f"{path}:{number}", expected=limit)
            if line.strip():
                try:
                    yield number, json.loads(line)
                except (UnicodeDecodeError, json.JSONDecodeError) as error:
                    raise FormatError("not a JSON object", where=f"{path}:{number}", got=str(error)) from error


def _next(handle: Any, path: Path) -> bytes:
    try:
        return handle.readline(JSON_LINE_BYTES + 1)
    except (OSError, EOFError) as error:
        raise FormatError("the file cannot be read to its end", where=str(path), got=str(error)) from error


def _parquet(path: Path) -> Iterator[tuple[int, Any]]:
    import polars

    number = 0
    try:
        total = polars.scan_parquet(path).select(polars.len()).collect().item()
        while number < total:
            part = polars.scan_parquet(path).slice(number, PARQUET_ROWS).collect()
            for row in part.iter_rows(named=True):
                number += 1
                yield number, row
    except polars.exceptions.PolarsError as error:
        raise FormatError("not a Parquet file", where=str(path), got=str(error).splitlines()[0]) from error


def _lines(path: Path) -> Iterator[tuple[int, Any]]:
    with path.open(encoding="utf-8") as handle:
        for number, line in enumerate(handle, 1):
            if line.strip():
                yield number, line.rstrip("\n")


def _paragraphs(path: Path) -> Iterator[tuple[int, Any]]:
    """Runs of lines that are not empty, known by their first line."""
    held: list[str] = []
    number = 0
    with path.open(encoding="utf-8") as handle:
        for number, line in enumerate(handle, 1):
            if line.strip():
                held.append(line)
            elif held:
                yield number - len(held), "".join(held).rstrip("\n")
                held = []
    if held:
        yield number + 1 - len(held), "".join(held).rstrip("\n")
