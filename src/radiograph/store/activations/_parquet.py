"""`.parquet`: the column `activations` (lists of one length), or the columns `0` to `d−1`; read a slice at a time."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from radiograph.core import FormatError
from radiograph.store.activations._arrays import as_float
from radiograph.store.activations._store import COLUMNS, Found, check_shape, regrouped
from radiograph.store.opened import Opened

if TYPE_CHECKING:
    import polars

SLICE_VALUES: Final = 2**22
"""Values of a slice: a row group is decoded once for every slice of it."""
LIST: Final = "activations"


def read_parquet(file: Opened) -> Found:
    """Shape, type, rows, ids and metadata of a table.

    Raises:
        FormatError: not such a file, or no such columns.
    """
    import polars as pl

    try:
        schema = pl.read_parquet_schema(file.again)
        rows = int(pl.scan_parquet(file.again).select(pl.len()).collect().item())
        ids = pl.read_parquet(file.again, columns=[name for name in COLUMNS if name in schema])
        metadata = dict(pl.read_parquet_metadata(file.again))
    except (pl.exceptions.PolarsError, OSError) as error:
        raise FormatError("not a Parquet file", where=file.name, got=str(error).splitlines()[0]) from error
    names, width, dtype = _layout(file, schema, rows)
    shape = check_shape((rows, width), file.name)

    def parts() -> Iterator[NDArray[Any]]:
        step = max(1, SLICE_VALUES // width)
        for first in range(0, rows, step):
            yield as_float(_table(file, names, first, min(step, rows - first), width))

    columns = {name: ids[name].to_numpy() for name in ids.columns}
    columns = {name: value.astype(str) if value.dtype.hasobject else value for name, value in columns.items()}
    return Found(shape, dtype, lambda count: regrouped(parts(), count), columns, metadata)


def _layout(file: Opened, schema: dict[str, Any], rows: int) -> tuple[list[str], int, str]:
    """Columns that hold the rows, their number, and their type."""
    import polars as pl

    floats = {pl.Float32: "float32", pl.Float64: "float64"}
    if LIST in schema:
        held = schema[LIST]
        inner = getattr(held, "inner", None)
        if isinstance(held, pl.Array) and len(held.shape) == 1 and held.inner in floats:
            return [LIST], held.shape[0], floats[held.inner]
        if isinstance(held, pl.List) and inner in floats and rows:
            lengths = pl.scan_parquet(file.again).select(pl.col(LIST).list.len()).collect()[LIST]
            odd = (lengths != lengths[0]).fill_null(True).arg_max()
            if lengths[0] is None or (odd is not None and lengths[odd] != lengths[0]):
                raise FormatError(
                    "rows of different lengths",
                    where=f"{file.name}: row {odd}",
                    expected=str(lengths[0]),
                    got=str(lengths[odd or 0]),
                )
            return [LIST], int(lengths[0]), floats[inner]
        raise FormatError(
            "column activations", where=file.name, expected="lists of floats, all of one length", got=str(held)
        )
    names = [str(number) for number in range(len(schema)) if str(number) in schema]
    if not names or {schema[name] for name in names} - set(floats):
        raise FormatError(
            "no activations in the table",
            where=file.name,
            expected="a column `activations` of lists, or columns 0, 1, … of floats",
            got=", ".join(f"{name} {kind}" for name, kind in list(schema.items())[:8]),
        )
    return names, len(names), "float64" if pl.Float64 in {schema[name] for name in names} else "float32"


def _table(file: Opened, names: list[str], first: int, count: int, width: int) -> NDArray[Any]:
    import polars as pl

    part: polars.DataFrame = pl.scan_parquet(file.again).select(names).slice(first, count).collect()
    if names != [LIST]:
        return part.fill_null(float("nan")).to_numpy()
    flat = part[LIST].explode()
    values = flat.fill_null(float("nan")).to_numpy()
    if len(values) != count * width:
        raise FormatError("rows of different lengths", where=file.name, expected=str(count * width))
    return np.ascontiguousarray(values).reshape(count, width)
