"""A compiled criterion on disk: `criterion.json`, `split.json`, and the rows as Parquet beside it or under `tables/`.

The rows' hash stands in `criterion.json`: rows of another compilation are refused.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np

from radiograph.core import FormatError, UserError
from radiograph.criteria._compile import COLUMNS, NESTED, Compiled, columns
from radiograph.criteria._measure import rows_sha256
from radiograph.criteria._rows import Row
from radiograph.criteria._split import split_of
from radiograph.evidence import Criterion, Split, pretty_json

ROWS: Final = "criterion_rows"
"""Name of the table."""


def from_columns(table: Mapping[str, Sequence[Any]]) -> list[Row]:
    """The rows of such columns.

    Raises:
        FormatError: a column is missing, or holds something else.
    """
    if missing := [name for name in COLUMNS if name not in table]:
        raise FormatError(f"{ROWS} lacks the column {', '.join(missing)}", expected=", ".join(COLUMNS))
    try:
        return [
            _row(dict(zip(COLUMNS, values, strict=True))) for values in zip(*(table[n] for n in COLUMNS), strict=True)
        ]
    except (ValueError, TypeError) as error:
        raise FormatError(f"{ROWS} cannot be read", got=str(error)) from error


def write_compiled(compiled: Compiled, folder: Path) -> None:
    """Write all three files into a folder that exists."""
    import polars

    from radiograph.store import _atomic

    for name, document in (("criterion.json", compiled.criterion), ("split.json", compiled.split)):
        data = pretty_json(document).encode()
        _atomic.write_whole(folder / name, [data], len(data))
    schema = {name: polars.Float64 if name == "score" else polars.String for name in COLUMNS}
    _atomic.write_table(folder / f"{ROWS}.parquet", polars.DataFrame(columns(compiled.rows), schema=schema))


def read_compiled(path: Path) -> Compiled:
    """Read a `criterion.json` with its rows.

    Raises:
        UserError: a file is missing. FormatError: not a criterion, or the rows of another one.
    """
    import polars

    criterion = Criterion.read(_json(path), path.name)
    places = [path.parent / f"{ROWS}.parquet", path.parent / "tables" / f"{ROWS}.parquet"]
    place = next((p for p in places if p.is_file()), None)
    if place is None:
        raise UserError(
            f"no rows beside {path.name}",
            expected=" or ".join(p.relative_to(path.parent).as_posix() for p in places),
            code="not_found",
        )
    try:
        table = polars.read_parquet(place)
    except (polars.exceptions.PolarsError, OSError) as error:
        raise FormatError(f"{place.name} is not Parquet", got=str(error).splitlines()[0]) from error
    rows = from_columns({name: table[name].to_list() for name in table.columns})
    if rows_sha256(columns(rows)) != criterion.rows_sha256:
        raise FormatError(
            f"{place.name} does not hold the rows of {path.name}",
            expected=criterion.rows_sha256,
            got=rows_sha256(columns(rows)),
            code="rows_mismatch",
        )
    beside = path.parent / "split.json"
    split = read_split(beside) if beside.is_file() else None
    if split is None or split.sha256 != criterion.split.sha256:
        split = _split(rows, criterion)
    return Compiled(criterion, tuple(rows), split)


def read_split(path: Path) -> Split:
    """A split that was stored: `split.json`, or the `criterion.json` that it belongs to.

    Raises:
        UserError: no such file. FormatError: neither of them.
    """
    document = _json(path)
    if document.get("schema") == Criterion.SCHEMA:
        return read_compiled(path).split
    return Split.read(document, path.name)


def _split(rows: Sequence[Row], criterion: Criterion) -> Split:
    groups, sources = [row.group for row in rows], [row.source_group for row in rows]
    first = np.array([row.half == "discover" for row in rows])
    return split_of(groups, sources, first, seed=criterion.split.seed, discover=criterion.split.discover)


def _json(path: Path) -> dict[str, Any]:
    if not path.is_file():
        raise UserError(f"{path.name} is not a file", code="not_found")
    try:
        document = json.loads(path.read_bytes())
    except (ValueError, RecursionError) as error:
        raise FormatError(f"{path.name} is not JSON", got=str(error)) from error
    if not isinstance(document, dict):
        raise FormatError(f"{path.name} is no JSON object", where=path.name)
    return document


def _row(values: dict[str, Any]) -> Row:
    own = values | {name: json.loads(values[name]) for name in NESTED}
    for name in ("tokens", "messages", "targets", "foils"):
        own[name] = tuple(own[name])
    own["span"] = None if own["span"] is None else (own["span"][0], own["span"][1])
    return Row(**own)
