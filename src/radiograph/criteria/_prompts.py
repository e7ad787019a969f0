"""Files before anybody has judged their rows: what each column holds, and the line it stands on.

    *.jsonl *.ndjson [.gz .zst]   an object a line
    *.csv                         the first line names the columns
    *.parquet                     a column a key
    *.yaml *.json                 a suite, labelled by its factors `label`, `criterion_score`, `kind`

Cells of CSV are texts; those of `spans`, `targets`, `foils`, `factors` are JSON. An empty cell is an absent key.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from radiograph.core import FormatError, UserError
from radiograph.evidence import Suite
from radiograph.store import file_sha256, load_yaml, read_suite
from radiograph.store.lines import Mistakes, objects, read_lines

_NESTED = ("spans", "targets", "foils", "factors", "messages")
_FACTOR = "factor."
_LABELS = ("label", "criterion_score", "kind")
_FORMS = "*.jsonl, *.ndjson (also .gz, .zst), *.csv, *.parquet, or a suite (*.yaml, *.json)"


@dataclass(frozen=True)
class Prompts:
    """Rows as a file holds them."""

    name: str
    rows: Sequence[dict[str, Any]]
    numbers: Sequence[int]
    """The line of each row, from 1; 0 where the file has no lines."""
    sha256: str | None = None
    texts: bool = False
    """Values are texts that spell a number or a truth value, as in CSV."""

    @classmethod
    def of(cls, rows: Sequence[dict[str, Any]], name: str = "rows") -> Prompts:
        """Rows that are in memory already."""
        return cls(name, rows, range(1, len(rows) + 1))


@dataclass(frozen=True)
class Template:
    """A document of templates, slots and fillers, as it was parsed."""

    document: Mapping[str, Any]
    name: str = "template"
    sha256: str | None = None


def read_prompts(path: Path) -> Prompts:
    """Read labelled prompts.

    Raises:
        UserError: no such file, or another ending. FormatError: not readable; the first five lines, and a count.
    """
    name = path.name
    if not path.is_file():
        raise UserError(f"{name} is not a file", expected=_FORMS, code="not_found")
    kind = next((s for s in reversed(path.suffixes) if s.lower() not in (".gz", ".zst")), "").lower()
    if kind in (".yaml", ".yml", ".json"):
        return prompts_of_suite(read_suite(path), name, file_sha256(path))
    if kind == ".parquet":
        rows, numbers = _parquet(path)
    elif kind == ".csv":
        rows, numbers = _csv(path)
    elif kind in (".jsonl", ".ndjson"):
        rows, numbers = _lines(path)
    else:
        raise UserError(f"{name}: no format for {path.suffix!r}", expected=_FORMS, code="bad_value")
    if not rows:
        raise UserError(f"{name} holds no rows", expected="one labelled prompt a line", where=name)
    return Prompts(name, rows, numbers, file_sha256(path), texts=kind == ".csv")


def read_template(path: Path) -> Template:
    """Read a template; what it says is checked when it is filled.

    Raises:
        UserError: no such file. FormatError: no YAML, or no map.
    """
    document, faults = load_yaml(path)
    if not isinstance(document, dict) or faults.found:
        twice = next((f"line {line}: {text}" for line, text in faults.found), "no map of keys")
        raise FormatError(
            f"{path.name} is no template", got=twice, expected="templates, slots, fillers", code="bad_template"
        )
    return Template(document, path.name, file_sha256(path))


def prompts_of_suite(suite: Suite, name: str = "suite", sha256: str | None = None) -> Prompts:
    """The prompts of a suite: a single user turn is a text; anything else is a conversation."""
    rows: list[dict[str, Any]] = []
    for prompt in suite.prompts:
        turns = [{"role": m.role, "content": m.content} for m in prompt.messages]
        row: dict[str, Any] = {"prompt_id": prompt.id, "text": turns[-1]["content"]}
        if len(turns) > 1:
            row["messages"] = turns
        if prompt.group is not None:
            row["group_id"] = prompt.group
        row |= {key: prompt.factors[key] for key in _LABELS if key in prompt.factors}
        row["factors"] = {key: value for key, value in prompt.factors.items() if key not in _LABELS}
        rows.append(row)
    return Prompts(name, rows, [0] * len(rows), sha256)


def _lines(path: Path) -> tuple[list[dict[str, Any]], list[int]]:
    mistakes = Mistakes(path.name)
    rows: list[dict[str, Any]] = []
    numbers: list[int] = []
    for lines in read_lines(path):
        found, places = objects(lines, mistakes)
        rows += found
        numbers += places
    mistakes.raise_if_any()
    return rows, numbers


def _csv(path: Path) -> tuple[list[dict[str, Any]], list[int]]:
    mistakes = Mistakes(path.name)
    rows: list[dict[str, Any]] = []
    numbers: list[int] = []
    try:
        with path.open(encoding="utf-8-sig", newline="") as handle:
            reader = csv.DictReader(handle, strict=True)
            for cells in reader:
                if None in cells or None in cells.values():
                    mistakes.add(
                        reader.line_num, f"another number of fields than the {len(reader.fieldnames or ())} named"
                    )
                    continue
                rows.append(_cells(cells, reader.line_num, mistakes))
                numbers.append(reader.line_num)
    except UnicodeDecodeError as error:
        raise FormatError(f"{path.name} is not UTF-8", where=path.name, got=error.reason) from error
    except csv.Error as error:
        raise FormatError(f"{path.name} is not CSV", where=path.name, got=str(error)) from error
    mistakes.raise_if_any()
    return rows, numbers


def _cells(cells: dict[str, str], number: int, mistakes: Mistakes) -> dict[str, Any]:
    row: dict[str, Any] = {}
    for key, cell in cells.items():
        try:
            row[key] = None if not cell else json.loads(cell) if key in _NESTED else cell
        except ValueError as error:
            mistakes.add(number, f"{key} is not JSON: {error}")
    return _gathered(row)


def _parquet(path: Path) -> tuple[list[dict[str, Any]], list[int]]:
    import polars

    try:
        table = polars.read_parquet(path)
    except (polars.exceptions.PolarsError, OSError) as error:
        raise FormatError(f"{path.name} is not Parquet", where=path.name, got=str(error).splitlines()[0]) from error
    rows = [_gathered(row) for row in table.iter_rows(named=True)]
    return rows, list(range(1, len(rows) + 1))


def _gathered(values: dict[str, Any]) -> dict[str, Any]:
    """One row with what its columns `factor.NAME` hold under `factors`; absent values left out."""
    row = {key: value for key, value in values.items() if value is not None}
    factors = {key: row.pop(key) for key in list(row) if key.startswith(_FACTOR)}
    named = {key.removeprefix(_FACTOR): value for key, value in factors.items()}
    return row | {"factors": row.get("factors", {}) | named} if named else row
