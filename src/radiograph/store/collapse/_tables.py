"""The original study's files: its table of texts, and its Markdown logs.

Table: tab-separated `core_id type level sweep prompt output`, quoted as CSV. Log:
`### Prompt i/n: core_id=X_type=Y_level=Z`,
`#### Intervention: sweep=V`, `- **Generated Text:**` and a fenced text; a log holds no prompts, so a grid gives them.
`None`, `baseline` and an empty sweep are the reference. Nothing is evaluated.
Refuses: missing columns, one prompt under one dose twice, a prompt that the grid lacks, no text at all.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from radiograph.core import FormatError

COLUMNS = ("core_id", "type", "level", "sweep", "prompt", "output")
_REFERENCE = {"", "none", "baseline"}
_HEADER = re.compile(r"### Prompt \d+/\d+: core_id=(?P<core>.+)_type=(?P<type>\w+?)_level=(?P<level>\d+)\s*")
_SWEEP = re.compile(r"#### Intervention: sweep=(?P<sweep>.*)")
_OPEN, _EMPTY = "- **Generated Text:**", "(No new tokens)"


@dataclass(frozen=True, slots=True)
class StudyRow:
    """One text of the original; `sweep` is None for the reference."""

    core: str
    type: str
    level: str
    sweep: str | None
    prompt: str
    output: str


def study_tsv(table: Mapping[str, Any]) -> str:
    """The original's columns; `none` is called `baseline`, a dose by its raw number where one target is written.

    `table` has the columns of `tables/rows.parquet`.
    """
    doses = len({one for one in zip(table["target"], table["op"], table["positions"], strict=True) if one[0]}) == 1
    out = io.StringIO()
    writer = csv.writer(out, delimiter="\t", lineterminator="\n")
    writer.writerow(COLUMNS)
    empty = [""] * len(table["row"])
    for core, kind, level, condition, raw, prompt, text in zip(
        table["core"],
        table.get("type", empty),
        table.get("level", empty),
        table["condition"],
        table["dose_raw"],
        table["prompt"],
        table["text"],
        strict=True,
    ):
        sweep = "baseline" if condition == "none" else f"{raw:.12g}" if doses and raw is not None else condition
        writer.writerow([core, kind, level, sweep, prompt, text])
    return out.getvalue()


def read_study_tsv(path: Path) -> list[StudyRow]:
    """The table, in order.

    Raises:
        FormatError: not UTF-8, missing columns, one prompt under one dose twice.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file, delimiter="\t")
            found = list(reader.fieldnames or ())
            rows = [(reader.line_num, row) for row in reader]
    except UnicodeDecodeError as error:
        raise FormatError(f"{path.name} is not UTF-8", got=str(error)) from error
    except csv.Error as error:
        raise FormatError(f"{path.name} is no table", got=str(error), expected=" ".join(COLUMNS)) from error
    if missing := [name for name in COLUMNS if name not in found]:
        raise FormatError(
            f"{path.name} has no column {', '.join(missing)}", expected=" ".join(COLUMNS), got=" ".join(found)
        )
    out = [
        (
            line,
            StudyRow(
                core=row["core_id"] or "",
                type=row["type"] or "",
                level=row["level"] or "",
                sweep=_sweep(row["sweep"] or ""),
                prompt=row["prompt"] or "",
                output=row["output"] or "",
            ),
        )
        for line, row in rows
    ]
    return _once(out, path)


def read_study_log(path: Path, prompts: Mapping[tuple[str, str, str], str]) -> list[StudyRow]:
    """A log; `prompts` are those of the grid by core, type and level.

    Raises:
        FormatError: not UTF-8, a prompt that the grid lacks, an open fence, no text, one prompt under one dose twice.
    """
    try:
        lines = path.read_text("utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        raise FormatError(f"{path.name} is not UTF-8", got=str(error)) from error
    out: list[tuple[int, StudyRow]] = []
    key: tuple[str, str, str] | None = None
    sweep: str | None = None
    number = 0
    while number < len(lines):
        line = lines[number]
        number += 1
        if match := _HEADER.fullmatch(line):
            key, sweep = (match["core"], match["type"], match["level"]), None
        elif match := _SWEEP.fullmatch(line):
            sweep = _sweep(match["sweep"])
        elif line.startswith(_OPEN) and key is not None:
            if key not in prompts:
                raise FormatError("the grid has no such prompt", got="/".join(key), where=f"{path.name}, line {number}")
            place = number
            text, number = ("", number) if _EMPTY in line else _fenced(lines, number, path)
            out.append((place, StudyRow(*key, sweep, prompts[key], text)))
    if not out:
        raise FormatError(f"{path.name} holds no generated text", expected=f"{_OPEN} and a fenced text")
    return _once(out, path)


def _fenced(lines: list[str], start: int, path: Path) -> tuple[str, int]:
    """The text between fences; a fence inside the text is one that no list item follows."""
    for end in range(start + 1, len(lines)):
        after = lines[end + 1] if end + 1 < len(lines) else ""
        if lines[end] == "```" and (after.startswith("- **") or not after):
            return "\n".join(lines[start + 1 : end]), end + 1
    raise FormatError("a text is not closed", expected="```", where=f"{path.name}, line {start + 1}")


def _sweep(text: str) -> str | None:
    return None if text.strip().lower() in _REFERENCE else text.strip()


def _once(rows: list[tuple[int, StudyRow]], path: Path) -> list[StudyRow]:
    seen: dict[tuple[str, ...], int] = {}
    for line, row in rows:
        key = (row.core, row.type, row.level, row.prompt, row.sweep or "baseline")
        if key in seen:
            raise FormatError(
                "one prompt under one dose twice",
                got=f"{row.core}/{row.type}/{row.level} at {key[-1]}",
                where=f"{path.name}, lines {seen[key]} and {line}",
            )
        seen[key] = line
    if not rows:
        raise FormatError(f"{path.name} holds no rows", expected=" ".join(COLUMNS))
    return [row for _, row in rows]
