"""The tables of a harvest, written in pieces so that none of them has to be in memory as a whole.

tables/components.parquet   a line a component, its raw counts (`ctx.output.table`)
tables/tokens.parquet       token, text, count and mass over all counted positions (`ctx.output.table`)
tables/tokens_in.parquet    component, token, count             by component
tables/tokens_out.parquet   component, token, mass              token null: the remainder of the mass
tables/cofire.parquet       i, j, count                         i < j, by i
examples/NNNNN.parquet      component, key, document, window, position, centre, tokens, importance, h, fires
                            `PER_FILE` components a file, by component and key; padding is absent
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from radiograph.core.shapes import Float32, Float64, Int32, Int64, UInt32, UInt64
from radiograph.store._atomic import write_table

PER_FILE = 256
ROW_GROUP = 50_000
EXAMPLES = "examples"


@dataclass(frozen=True, eq=False)
class ExampleRows:
    """Windows of some firings, by component and key. Columns from `first` on, `size` of them, hold a token.

    Which one it is follows from window and position, so that no token is held here.
    """

    component: Int32[np.ndarray, " example"]
    key: UInt64[np.ndarray, " example"]
    window: Int32[np.ndarray, " example"]
    """Number of the window of text in the plan."""
    position: Int32[np.ndarray, " example"]
    first: Int32[np.ndarray, " example"]
    size: Int32[np.ndarray, " example"]
    importance: Float32[np.ndarray, "example column"]
    h: Float32[np.ndarray, "example column"]

    def __len__(self) -> int:
        return len(self.component)

    def take(self, at: np.ndarray) -> ExampleRows:
        """Some of them."""
        return ExampleRows(**{name: array[at] for name, array in vars(self).items()})


def write_tokens(
    folder: Path,
    name: str,
    component: Int64[np.ndarray, " entry"],
    token: Int64[np.ndarray, " entry"],
    value: Int64[np.ndarray, " entry"] | Float64[np.ndarray, " entry"],
    column: str,
) -> None:
    """`tables/NAME.parquet`; a token below 0 is none."""
    import polars as pl

    tokens = pl.Series("token", token.astype(np.int64))
    table = pl.DataFrame(
        {
            "component": component.astype(np.uint32),
            "token": pl.select(pl.when(tokens >= 0).then(tokens)).to_series().cast(pl.UInt32),
            column: value,
        }
    )
    write_table(_table(folder, name), table, row_group=ROW_GROUP)


def write_cofire(folder: Path, pairs: Any) -> None:
    """`tables/cofire.parquet` from a table of counts above the diagonal."""
    import polars as pl

    i = np.repeat(np.arange(pairs.shape[0], dtype=np.uint32), np.diff(pairs.indptr))
    table = pl.DataFrame({"i": i, "j": pairs.indices.astype(np.uint32), "count": pairs.data.astype(np.int64)})
    write_table(_table(folder, "cofire"), table, row_group=ROW_GROUP)


@dataclass(frozen=True, eq=False)
class Windows:
    """The texts that examples are cut from."""

    documents: Sequence[str]
    """Of each window."""
    parts: Int64[np.ndarray, " window"]
    """Number of each window in its document."""
    tokens: UInt32[np.ndarray, " token"]
    """Of all windows, one after the other."""
    starts: Int64[np.ndarray, " window"]


def write_examples(folder: Path, rows: ExampleRows, windows: Windows, fires: float, size: int) -> None:
    """`examples/`; `size` components there are in all."""
    (folder / EXAMPLES).mkdir(parents=True, exist_ok=True)
    bounds = np.searchsorted(rows.component, np.arange(0, size + PER_FILE, PER_FILE))
    for number, (first, last) in enumerate(zip(bounds[:-1].tolist(), bounds[1:].tolist(), strict=True)):
        if first < last:
            own = rows.take(np.arange(first, last))
            path = folder / EXAMPLES / f"{number:05d}.parquet"
            write_table(path, _frame(own, windows, fires), row_group=4096)


def _frame(rows: ExampleRows, windows: Windows, fires: float) -> Any:
    import polars as pl

    column = np.arange(rows.importance.shape[1])
    there = (column >= rows.first[:, None]) & (column < (rows.first + rows.size)[:, None])
    middle = rows.importance.shape[1] // 2
    number = np.repeat(np.arange(len(rows)), rows.size)
    where = ((windows.starts[rows.window] + rows.position - middle)[:, None] + column)[there]

    def lists(values: np.ndarray) -> Any:
        flat = pl.DataFrame({"row": number, "value": values})
        return flat.group_by("row", maintain_order=True).agg("value")["value"]

    return pl.DataFrame(
        {
            "component": rows.component.astype(np.uint32),
            "key": rows.key,
            "document": pl.Series([windows.documents[n] for n in rows.window.tolist()], dtype=pl.String),
            "window": windows.parts[rows.window].astype(np.uint32),
            "position": rows.position.astype(np.uint32),
            "centre": (middle - rows.first).astype(np.uint16),
            "tokens": lists(windows.tokens[where].astype(np.uint32)),
            "importance": lists(rows.importance[there]),
            "h": lists(rows.h[there]),
            "fires": lists(rows.importance[there] > fires),
        }
    )


def _table(folder: Path, name: str) -> Path:
    path = folder / "tables" / f"{name}.parquet"
    path.parent.mkdir(parents=True, exist_ok=True)
    return path
