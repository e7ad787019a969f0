"""JSON Lines in chunks: at most 64k lines or 8 MiB at once, whatever the size of the file.

    *.jsonl *.json *.ndjson      plain       *.gz, *.zst      decompressed on the way

Empty lines are skipped. A line ends at LF; a chunk is parsed at once, and line by line where that fails, so that every
mistake has its line. NaN, Infinity and numbers beyond float64 are mistakes.
"""

from __future__ import annotations

import gzip
import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from radiograph.core import FormatError, UserError
from radiograph.core.limits import JSON_LINE_BYTES
from radiograph.store.lines._mistakes import Mistakes

CHUNK_BYTES = 8 * 2**20
CHUNK_LINES = 65_536


@dataclass(frozen=True, slots=True)
class Lines:
    """Some lines that follow each other, empty ones left out."""

    texts: list[bytes]
    numbers: range | list[int]
    """Of each line, from 1."""


def read_lines(path: Path, name: str | None = None) -> Iterator[Lines]:
    """The lines of a file, a chunk at a time.

    Raises:
        UserError: not a file.
        FormatError: it cannot be decompressed to its end, or a line is too long.
    """
    if not path.is_file():
        raise UserError(f"{name or path.name} is not a file", expected="a JSON Lines file", code="not_found")
    number = 1
    for texts in _chunks(path, name or path.name):
        numbers: range | list[int] = range(number, number + len(texts))
        number += len(texts)
        if not all(texts) or any(text.isspace() for text in texts):
            kept = [(n, text) for n, text in zip(numbers, texts, strict=True) if text.strip()]
            numbers, texts = [n for n, _ in kept], [text for _, text in kept]
        if texts:
            yield Lines(texts, numbers)


def objects(lines: Lines, mistakes: Mistakes) -> tuple[list[dict[str, Any]], list[int]]:
    """The object of each line, and its number; lines that hold none are mistakes."""
    from pydantic_core import from_json

    try:
        found: Any = from_json(b"[" + b",".join(lines.texts) + b"]", allow_inf_nan=False)
    except ValueError:
        found = None
    if found is not None and len(found) == len(lines.texts) and set(map(type, found)) == {dict}:
        return found, list(lines.numbers)
    kept: list[tuple[dict[str, Any], int]] = []
    for text, number in zip(lines.texts, lines.numbers, strict=True):
        value = parsed(text, number, mistakes)
        if value is not None:
            kept.append((value, number))
    return [value for value, _ in kept], [number for _, number in kept]


def parsed(text: bytes, number: int, mistakes: Mistakes) -> dict[str, Any] | None:
    """The object of one line; None, and a mistake, where there is none."""
    from pydantic_core import from_json

    try:
        value = from_json(text, allow_inf_nan=False)
    except ValueError as error:
        mistakes.add(number, _reason(text, str(error)))
        return None
    if not isinstance(value, dict):
        mistakes.add(number, f"a JSON object was expected, got {type(value).__name__}")
        return None
    return value


def _reason(text: bytes, said: str) -> str:
    try:
        text.decode("utf-8")
    except UnicodeDecodeError as error:
        return f"not UTF-8: {error.reason} at byte {error.start + 1}"
    if any(word in text for word in (b"NaN", b"Infinity")):
        return "NaN and Infinity are no JSON numbers; a value must be finite"
    return f"not valid JSON: {said}"


def finite(value: Any) -> bool:
    """Whether a parsed value is a finite number; true and false are none."""
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _chunks(path: Path, name: str) -> Iterator[list[bytes]]:
    if path.suffix == ".zst":
        yield from _zstandard(path, name)
        return
    with gzip.open(path, "rb") if path.suffix == ".gz" else path.open("rb") as handle:
        rest = b""
        while data := _next(handle, name):
            texts = (rest + data).split(b"\n")
            rest = texts.pop()
            if len(rest) > JSON_LINE_BYTES:
                raise FormatError("a line is too long", where=name, expected=f"at most {JSON_LINE_BYTES} bytes")
            for at in range(0, len(texts), CHUNK_LINES):
                yield texts[at : at + CHUNK_LINES]
        if rest:
            yield [rest]


def _next(handle: IO[bytes] | gzip.GzipFile, name: str) -> bytes:
    try:
        return handle.read(CHUNK_BYTES)
    except (OSError, EOFError) as error:
        raise FormatError(f"{name} cannot be read to its end", where=name, got=str(error)) from error


def _zstandard(path: Path, name: str) -> Iterator[list[bytes]]:
    import polars

    if not hasattr(polars, "scan_lines"):
        raise UserError(
            f"{name}: this polars cannot read zstd", expected="polars 1.36 or newer", fix="decompress it: zstd -d"
        )
    try:
        batches = polars.scan_lines(path).collect_batches(chunk_size=4096, maintain_order=True)
        held: list[bytes] = []
        size = 0
        for batch in batches:
            texts = [text.encode() for text in batch["line"].to_list()]
            held += texts
            size += sum(map(len, texts))
            if size > CHUNK_BYTES:
                yield held
                held, size = [], 0
        if held:
            yield held
    except (polars.exceptions.PolarsError, OSError) as error:
        got = str(error).splitlines()[0]
        raise FormatError(f"{name} cannot be read", where=name, expected="zstd, UTF-8", got=got) from error
