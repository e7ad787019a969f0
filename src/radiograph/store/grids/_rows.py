"""From rows as they were written to a grid: columns typed, variants numbered, every mistake with its line.

A factor whose values are all numbers is ordinal and holds numbers, any other is nominal and holds text. One cell twice
with other texts: variants 1, 2, …; twice with one text: a mistake that names both lines.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from radiograph.core import FormatError, visible
from radiograph.core.limits import SUITE_PROMPTS
from radiograph.evidence import Grid, GridCore, GridFactor, GridNote, GridRecord, core_id, record_id
from radiograph.store._located import Faults

_NUMBER = re.compile(r"-?(?:0|[1-9]\d*)(?:\.\d+)?")


@dataclass
class Row:
    """One prompt as written."""

    line: int
    core: str
    """Its label."""
    text: str
    factors: dict[str, Any]
    proposition: str | None = None
    id: str | None = None
    variant: int | None = None
    split: str | None = None


@dataclass
class Draft:
    """What a reader collected."""

    name: str
    faults: Faults
    rows: list[Row] = field(default_factory=list)
    propositions: dict[str, str] = field(default_factory=dict)
    """Of cores, by id, where they stand apart from the rows."""
    factors: Mapping[str, GridFactor] = field(default_factory=dict)
    """Kinds and markers, where the file says them."""
    notes: list[GridNote] = field(default_factory=list)


def build(draft: Draft, head: str) -> Grid:
    """The grid; `head` is shown where nothing was found.

    Raises:
        FormatError: no prompts. UserError: every mistake, with its line.
    """
    faults = draft.faults
    if not draft.rows and not faults.found:
        raise no_prompts(faults.name, head)
    if len(draft.rows) > SUITE_PROMPTS:
        faults.at(0, f"{len(draft.rows)} prompts, at most {SUITE_PROMPTS}")
    columns = _typed(draft.rows)
    cores = _cores(draft, faults)
    records = _records(draft, columns, faults)
    faults.raise_if_any()
    factors = {
        name: draft.factors.get(name, GridFactor(kind="ordinal" if numbers else "nominal"))
        for name, numbers in columns.items()
    }
    return Grid(
        name=draft.name, factors=factors, cores=cores, records=tuple(records), notes=tuple(sorted(draft.notes, key=_at))
    )


def no_prompts(name: str, head: str) -> FormatError:
    """The error of a file in which no prompt was found, with its first three lines."""
    return FormatError(
        f"{name} holds no prompts",
        expected="`>> CORE_ID: name`, `[LEVEL 1]`, `word: text`; or CSV with core, prompt; or YAML with grid:",
        got=" / ".join(visible(line, 60) for line in head.splitlines()[:3]) or "an empty file",
        where=name,
    )


def decoded(data: bytes, name: str) -> str:
    """UTF-8 text without its byte order mark.

    Raises:
        FormatError: not UTF-8, with the line and the first three lines.
    """
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        head = data.decode("utf-8", "replace").splitlines()[:3]
        line = data.count(b"\n", 0, error.start) + 1
        raise FormatError(
            f"{name} is not UTF-8",
            where=f"{name}:{line}",
            expected="a text file in UTF-8",
            got=" / ".join(visible(line, 60) for line in head),
            fix="save it as UTF-8",
        ) from error


def _at(note: GridNote) -> int:
    return note.line


def _typed(rows: Sequence[Row]) -> dict[str, bool]:
    """Factor to whether it holds numbers; the values are turned into what they are, in place."""
    names = list(dict.fromkeys(name for row in rows for name in row.factors))
    out: dict[str, bool] = {}
    for name in names:
        values = [row.factors[name] for row in rows if name in row.factors]
        out[name] = all(isinstance(v, int | float) or _NUMBER.fullmatch(v) for v in values)
        for row in rows:
            if name in row.factors:
                value = row.factors[name]
                row.factors[name] = _number(value) if out[name] else str(value)
    for row in rows:  # the order of the columns, whatever the order of a row
        row.factors = {name: row.factors[name] for name in names if name in row.factors}
    return out


def _number(value: Any) -> int | float:
    if isinstance(value, str):
        return float(value) if "." in value else int(value)
    return int(value) if float(value).is_integer() else value


def _cores(draft: Draft, faults: Faults) -> tuple[GridCore, ...]:
    found: dict[str, GridCore] = {}
    for row in draft.rows:
        own = core_id(row.core)
        known = found.get(own)
        if known is None:
            found[own] = GridCore(id=own, label=row.core, proposition=draft.propositions.get(own) or row.proposition)
        elif known.label != row.core:
            faults.at(row.line, f"cores {known.label!r} and {row.core!r} are both {own!r}; rename one")
    return tuple(found.values())


def _records(draft: Draft, columns: Mapping[str, bool], faults: Faults) -> list[GridRecord]:
    seen: dict[tuple[Any, ...], dict[str, Row]] = {}
    ids: dict[str, Row] = {}
    out: list[GridRecord] = []
    for row in draft.rows:
        own = core_id(row.core)
        cell = seen.setdefault((own, *(row.factors.get(name) for name in columns)), {})
        if not row.text.strip():
            faults.at(row.line, f"a prompt of core {own!r} has no text")
            continue
        if row.text in cell:
            faults.at(row.line, f"the cell {_cell(own, row)} has this text already on line {cell[row.text].line}")
            continue
        cell[row.text] = row
        variant = row.variant or len(cell)
        name = row.id or record_id(own, row.factors, variant)
        if name in ids:
            faults.at(row.line, f"id {name!r} stands already on line {ids[name].line}")
            continue
        ids[name] = row
        proposition = row.proposition or draft.propositions.get(own)
        out.append(
            GridRecord(
                id=name,
                core=own,
                variant=variant,
                text=row.text,
                proposition=proposition,
                line=row.line or None,
                split=row.split,
                factors=row.factors,
            )
        )
    return out


def _cell(core: str, row: Row) -> str:
    return "/".join([core, *map(str, row.factors.values())])
