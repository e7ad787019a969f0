"""Rows in their own order: by prompt id and token, whatever the order of the lines."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from radiograph.store.foreign._draft import Draft
from radiograph.store.lines import Mistakes
from radiograph.store.records import FACTOR

if TYPE_CHECKING:
    import polars

ROWS = 65_536
"""Of one file."""
_KNOWN = ("text", "n_tokens", "score", "label", "kind", "split", "extra")
_ONE_EACH = {"prompt_id": ("text_hash",), "row": ("score", "label", "kind", "group_id")}
_CALLED = {"text_hash": "texts", "score": "scores", "label": "labels", "kind": "kinds", "group_id": "groups"}


@dataclass(frozen=True, eq=False)
class Placed:
    """The row of each line."""

    row: NDArray[np.uint32]
    """Of the n-th line."""
    line: NDArray[np.uint32]
    """Number of the n-th line in the file."""
    token: NDArray[np.int32]
    """Of each row."""
    names: polars.DataFrame
    """Row and prompt id of the n-th line."""
    rows: int
    tokens: bool
    """Whether rows are tokens."""

    def lines_of(self, row: int) -> list[int]:
        """Lines of a row."""
        return sorted(self.line[self.row == row].tolist())

    def name_of(self, row: int) -> str:
        """A row as a person would call it."""
        prompt = self.names["prompt_id"][int(np.flatnonzero(self.row == row)[0])]
        return f"{prompt!r}" if not self.tokens else f"{prompt!r}, token {int(self.token[row])}"


def place_rows(draft: Draft, mistakes: Mistakes) -> Placed:
    """The place of every line; lines that contradict each other are mistakes."""
    import polars as pl

    keys = pl.concat(draft.keys)
    mixed = keys.filter(pl.col("token") < 0) if (keys["token"] >= 0).any() else keys.clear()
    for number in mixed["line"].to_list():
        mistakes.add(number, "a row without token among rows of tokens")
    named = (
        keys.sort("prompt_id", "token", "tie", maintain_order=True)
        .with_columns(pl.int_range(pl.len()).over("prompt_id", "token").alias("rank"))
        .with_columns(
            pl.when((pl.col("tie") != "") & (pl.col("rank") > 0))
            .then(pl.format("{}.{}", "prompt_id", pl.col("rank") + 1))
            .otherwise("prompt_id")
            .alias("prompt_id")
        )
        .sort("prompt_id", "token", maintain_order=True)
    )
    fresh = (named["prompt_id"] != named["prompt_id"].shift()) | (named["token"] != named["token"].shift())
    named = named.with_columns((fresh.fill_null(True).cum_sum() - 1).cast(pl.UInt32).alias("row"))
    rows = int(fresh.fill_null(True).sum())
    if rows < len(named) or named["prompt_id"].n_unique() < rows:
        _contradictions(named, mistakes)
    token = np.empty(rows, np.int32)
    token[named["row"].to_numpy()] = named["token"].to_numpy()
    back = named.sort("at")
    return Placed(
        row=back["row"].to_numpy(),
        line=back["line"].to_numpy(),
        token=token,
        names=back.select("row", "prompt_id"),
        rows=rows,
        tokens=bool((token >= 0).any()),
    )


def row_tables(draft: Draft, placed: Placed) -> Iterator[polars.DataFrame]:
    """The tables of rows, in order, at most `ROWS` each."""
    import polars as pl

    factors = _factor_kinds(draft)
    held = [table for table in draft.tables if not isinstance(table, Path)]
    if len(held) == len(draft.tables):
        table = _finished(pl.concat(held), placed, factors)
        for start in range(0, len(table), ROWS):
            yield table.slice(start, ROWS)
        return
    parts: dict[int, list[Path]] = {}
    for number, piece in enumerate(draft.tables):
        table = pl.read_ipc(piece) if isinstance(piece, Path) else piece
        row = pl.Series(placed.row[table["at"].to_numpy()] // ROWS, dtype=pl.UInt32)
        for (part,), own in table.with_columns(row.alias("part")).partition_by("part", as_dict=True).items():
            path = draft.folder / f"part-{part:06d}-{number:06d}.arrow"
            own.drop("part").write_ipc(path)
            parts.setdefault(int(part), []).append(path)
    for part in sorted(parts):
        yield _finished(pl.concat([pl.read_ipc(p) for p in parts[part]]), placed, factors)


def _finished(table: polars.DataFrame, placed: Placed, factors: dict[str, bool]) -> polars.DataFrame:
    import polars as pl

    at = table["at"].to_numpy()
    table = table.with_columns(
        pl.Series(placed.row[at]).alias("row"), placed.names["prompt_id"].gather(pl.Series(at)).alias("prompt_id")
    )
    if table["row"].n_unique() < len(table):
        # Lines of one row do not contradict each other, so any of what they say will do; the least depends on no order.
        rest = [name for name in table.columns if name != "row"]
        table = table.group_by("row").agg(pl.col(rest).drop_nulls().min())
    table = table.sort("row").with_columns(pl.coalesce("group_id", "prompt_id").alias("group_id"))
    said = [json.loads(text) if text else {} for text in table["factors"].to_list()] if factors else []
    for name, numeric in factors.items():
        values = [row.get(name) for row in said]
        kind: Any = pl.Float64 if numeric else pl.String
        made = values if numeric else [None if value is None else str(value) for value in values]
        table = table.with_columns(pl.Series(f"{FACTOR}{name}", made, dtype=kind, strict=False))
    return table.select("row", "token", "prompt_id", "group_id", *_KNOWN, *(f"{FACTOR}{name}" for name in factors))


def _factor_kinds(draft: Draft) -> dict[str, bool]:
    """Name of each factor, and whether all its values are numbers."""
    import polars as pl

    kinds: dict[str, bool] = {}
    for piece in draft.tables:
        scan = pl.scan_ipc(piece) if isinstance(piece, Path) else piece.lazy()
        for text in scan.select(pl.col("factors").drop_nulls().unique()).collect()["factors"].to_list():
            for name, value in json.loads(text).items():
                numeric = isinstance(value, int | float) and not isinstance(value, bool)
                kinds[name] = kinds.get(name, True) and numeric
    return dict(sorted(kinds.items()))


def _contradictions(named: polars.DataFrame, mistakes: Mistakes) -> None:
    import polars as pl

    for owner, columns in _ONE_EACH.items():
        for column in columns:
            found = (
                named.filter(pl.col(column).is_not_null())
                .group_by(owner)
                .agg(pl.col(column).n_unique().alias("n"), pl.col("prompt_id").first().alias("name"), "line", column)
                .filter(pl.col("n") > 1)
            )
            for record in found.iter_rows(named=True):
                first = min(zip(record["line"], record[column], strict=True))
                other = min((n, v) for n, v in zip(record["line"], record[column], strict=True) if v != first[1])
                what = f"prompt {record['name']!r} has two {_CALLED[column]}, on lines {first[0]} and {other[0]}"
                mistakes.add(other[0], what)
