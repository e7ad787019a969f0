"""Grids in CSV: `core, prompt` (or `core_id`, `prompt_text`), reserved `id variant proposition split`, else factors.

An empty field is a factor that the row lacks. UTF-8, with or without byte order mark; the first line names the columns.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable

from radiograph.core import FormatError, visible
from radiograph.evidence import NAME, RESERVED, Grid
from radiograph.store._located import Faults
from radiograph.store.grids._rows import Draft, Row, build

_ALIASES = {"core_id": "core", "prompt_text": "prompt", "text": "prompt"}
_OWN = ("id", "core", "variant", "split", "prompt", "proposition")


def parse_csv(text: str, name: str, file: str) -> Grid:
    """A grid in CSV.

    Raises:
        FormatError: no `core` or `prompt` column, or no rows. UserError: every mistake, with its line.
    """
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    faults = Faults(file, what="grid")
    draft = Draft(name, faults)
    try:
        header = [_ALIASES.get(cell.strip(), cell.strip()) for cell in next(reader, [])]
        _check_header(header, file, text, faults)
        for cells in reader:
            if any(cell.strip() for cell in cells):
                _row(draft, header, cells, reader.line_num)
    except csv.Error as error:
        raise FormatError(
            f"{file} is not CSV", where=f"{file}:{reader.line_num}", got=str(error), expected="quoted fields are closed"
        ) from error
    return build(draft, text)


def csv_of(grid: Grid) -> str:
    """The same as CSV; kinds and markers of factors, and labels of cores, are not part of it."""
    split = any(record.split is not None for record in grid.records)
    own = [name for name in _OWN if name != "split" or split]
    out = io.StringIO(newline="")
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow([*own[: own.index("prompt")], *grid.factors, *own[own.index("prompt") :]])
    for record in grid.records:
        held = {**record.factors, **record.model_dump(exclude={"factors", "text"}), "prompt": record.text}
        names = [*own[: own.index("prompt")], *grid.factors, *own[own.index("prompt") :]]
        writer.writerow(["" if held.get(name) is None else held[name] for name in names])
    return out.getvalue()


def _check_header(header: list[str], file: str, text: str, faults: Faults) -> None:
    if missing := [name for name in ("core", "prompt") if name not in header]:
        raise FormatError(
            f"{file} has no column {' and no column '.join(missing)}",
            expected="core (or core_id), prompt (or prompt_text), and one column for each factor",
            got=" / ".join(visible(line, 60) for line in text.splitlines()[:3]) or "an empty file",
            where=f"{file}:1",
        )
    for name in _twice(header):
        faults.at(1, f"column {name!r} stands twice")
    for name in header:
        if name not in _OWN and (not NAME.fullmatch(name) or name in RESERVED):
            faults.at(1, f"column {name!r} cannot name a factor: letters, digits and _ alone")


def _row(draft: Draft, header: list[str], cells: list[str], line: int) -> None:
    faults = draft.faults
    if len(cells) != len(header):
        faults.at(line, f"{len(cells)} fields, the first line names {len(header)}")
        return
    held = {name: cell for name, cell in zip(header, cells, strict=True) if cell.strip()}
    core, variant = held.get("core"), held.get("variant")
    if core is None:
        faults.at(line, "the row has no core")
        return
    if variant is not None and not (variant.strip().isascii() and variant.strip().isdigit() and int(variant) > 0):
        faults.at(line, f"variant must be a whole number from 1, got {variant!r}")
        variant = None
    draft.rows.append(
        Row(
            line=line,
            core=core.strip(),
            text=held.get("prompt", ""),
            factors={name: value.strip() for name, value in held.items() if name not in _OWN},
            proposition=held.get("proposition"),
            id=held.get("id"),
            variant=None if variant is None else int(variant),
            split=held.get("split"),
        )
    )


def _twice(names: Iterable[str]) -> list[str]:
    listed = list(names)
    return sorted({name for name in listed if listed.count(name) > 1})
