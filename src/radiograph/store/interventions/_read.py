"""Intervention records of a file: JSON Lines or Parquet, ours or interp-lab's, in an order that no file decides.

1. rows are parsed a chunk at a time (`_parse`); mistakes are counted, five of them shown; none is guessed away: a verb
   or a type of control that is not known stops the reading, and never becomes an effect row
2. rows whose feature was already where it was put (`no_push`) are left out and counted
3. rows are sorted by what they hold and numbered; the number is what an edge of a graph refers to
A row without `kind` was measured on a positive prompt, as interp-lab's are. Linear in the number of rows.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from radiograph.core import FormatError, UserError, nearest, visible
from radiograph.evidence import check_schema
from radiograph.store._atomic import write_table, write_whole
from radiograph.store._hashing import file_sha256
from radiograph.store.interventions._columns import COLUMNS, NUMBERS, SCHEMA, column_types, in_order
from radiograph.store.interventions._parse import finished, tables
from radiograph.store.lines import Mistakes, objects, read_lines

if TYPE_CHECKING:
    import polars


@dataclass(frozen=True, eq=False)
class Interventions:
    """Rows of `COLUMNS`, numbered by `row`."""

    table: polars.DataFrame
    sha256: str | None
    """Of the file."""
    no_push: int = 0
    """Rows left out because the feature was where it was put."""

    def of_model(self, *ids: str | None) -> Interventions:
        """Rows of one model, known by any of its names or hashes.

        Raises:
            UserError: no row; lists the models that there are.
        """
        import polars as pl

        names = [name for name in ids if name is not None]
        own = self.table.filter(pl.col("model").is_in(names) | pl.col("model_sha256").is_in(names))
        if len(own):
            return Interventions(own, self.sha256, self.no_push)
        held = pl.concat([self.table["model"], self.table["model_sha256"]]).drop_nulls().unique().sort().to_list()
        close = nearest(names[0] if names else "", held)
        raise UserError(
            f"no interventions on {' or '.join(visible(name, 80) for name in names)}",
            expected="one of " + ", ".join(visible(name, 80) for name in held[:20]),
            fix=f"did you mean {', '.join(close)}?" if close else None,
            code="unknown_model",
        )

    def of_criterion(
        self, criterion_id: str | None, text: str | None, *, anyone: bool = False
    ) -> tuple[polars.DataFrame, int]:
        """Rows that were made for a criterion, with a column `criterion_mismatch`, and how many were left out.

        By `criterion_id` where the row has one, else by text after folding case and spaces; a row that names no
        criterion fits every one. With `anyone` all rows stay, and those of other criteria are marked.
        """
        import polars as pl

        said = self.table["criterion"]
        wanted = None if text is None else folded(text)
        known = {one: folded(one) == wanted for one in said.unique().to_list() if one is not None}
        by_text = said.replace_strict(known, default=False, return_dtype=pl.Boolean) if known else said.is_null()
        named, ids = self.table["criterion_id"].is_not_null(), self.table["criterion_id"]
        by_id = named & (ids == (criterion_id or "")).fill_null(False)
        # An id that another tool gave says nothing against an equal text.
        fits = by_id | (said.is_not_null() & by_text) | (~named & said.is_null())
        table = self.table.with_columns((~fits).alias("criterion_mismatch"))
        return (table, 0) if anyone else (table.filter(fits), int((~fits).sum()))


def read_interventions(path: Path) -> Interventions:
    """The intervention records of a file: `*.parquet`, or JSON Lines (`.gz` and `.zst` too).

    Raises:
        UserError: not a file, or no rows. FormatError: every mistake, with its line.
    """
    import polars as pl

    if not path.is_file():
        raise UserError(f"{path.name} is not a file", expected="JSON Lines or Parquet", code="not_found")
    sha256 = file_sha256(path)
    mistakes = Mistakes(path.name)
    found: list[polars.DataFrame] = []
    if path.suffix == ".parquet":
        found.append(_parquet(path, mistakes))
    else:
        for lines in read_lines(path):
            found += tables(*objects(lines, mistakes), mistakes)
    mistakes.raise_if_any()
    if not found:
        raise UserError(f"{path.name} holds no interventions", expected="an object a line", where=path.name)
    table = pl.concat(found)
    moved = table.filter(~pl.col("no_push"))
    return Interventions(in_order(moved), sha256, len(table) - len(moved))


def write_interventions(path: Path, table: polars.DataFrame) -> str:
    """Write rows (columns of `COLUMNS`; others are null) as Parquet or JSON Lines, by the ending; returns the SHA-256.

    Raises:
        FormatError: a column that is not one of them.
    """
    import polars as pl

    strange = set(table.columns) - {*COLUMNS, "row"}
    if strange:
        raise FormatError(f"no column {sorted(strange)[0]!r} in {SCHEMA}", expected=" ".join(COLUMNS))
    full = _typed(table)
    if path.suffix == ".parquet":
        return write_table(path, full.select(pl.lit(SCHEMA).alias("schema"), pl.all()))[1]
    buffer = io.BytesIO()
    _nested(full).write_ndjson(buffer)
    data = buffer.getvalue()
    return write_whole(path, (data,), len(data))


def folded(text: str) -> str:
    """Case-folded, with spaces collapsed: how texts of criteria are compared."""
    return " ".join(text.casefold().split())


def _nested(table: polars.DataFrame) -> polars.DataFrame:
    import polars as pl

    def group(name: str, fields: Sequence[tuple[str, str]]) -> pl.Expr:
        made = pl.struct(pl.col(column).alias(key) for key, column in fields)
        empty = pl.all_horizontal(pl.col(column).is_null() for _, column in fields)
        return pl.when(empty).then(None).otherwise(made).alias(name)

    return table.select(
        pl.lit(SCHEMA).alias("schema"),
        "model",
        "model_sha256",
        "feature_id",
        "verb",
        group(
            "dose", [("value", "dose"), ("unit", "dose_unit"), ("raw", "dose_raw"), ("norm_fraction", "norm_fraction")]
        ),
        "push",
        "positions",
        "criterion_id",
        "criterion",
        "prompt_id",
        "group_id",
        "split",
        "kind",
        group("outcome", [("name", "outcome"), ("unit", "outcome_unit")]),
        "baseline",
        "intervened",
        group("side", [("kl", "kl"), ("nll_ratio", "nll_ratio"), ("quoted", "side_quoted")]),
        group("control", [("type", "control"), ("of", "control_of"), ("index", "control_index")]),
        "seed",
    )


def _parquet(path: Path, mistakes: Mistakes) -> polars.DataFrame:
    import polars as pl

    try:
        table = pl.read_parquet(path)
    except (pl.exceptions.PolarsError, OSError) as error:
        raise FormatError("not a Parquet file", where=path.name, got=str(error).splitlines()[0]) from error
    given = table["schema"].unique().to_list() if "schema" in table.columns else [None]
    for one in given:
        check_schema(one, SCHEMA, path.name)
    missing = [name for name in ("feature_id", "verb", "baseline", "intervened", "push") if name not in table.columns]
    if missing:
        raise FormatError(f"{path.name} has no column {missing[0]}", where=path.name, expected=" ".join(COLUMNS))
    try:
        typed = _typed(table)
    except pl.exceptions.PolarsError as error:
        raise FormatError("a column has another type", where=path.name, got=str(error).splitlines()[0]) from error
    numbers = range(1, len(typed) + 1)
    for name in NUMBERS:
        for place in (~typed[name].is_finite()).fill_null(False).arg_true().to_list():
            mistakes.add(numbers[place], f"{name} must be a finite number, got {typed[name][place]}")
    return finished({name: typed[name].to_list() for name in COLUMNS}, numbers, mistakes)


def _typed(table: polars.DataFrame) -> polars.DataFrame:
    """Every column, with its type; null where the table has none."""
    import polars as pl

    kind = column_types()
    return table.select(
        pl.col(name).cast(kind[name]) if name in table.columns else pl.lit(None, kind[name]).alias(name)
        for name in COLUMNS
    )
