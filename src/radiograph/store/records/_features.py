"""The table of features: one shape, whoever writes it; statistics of entries that stand in the order of features."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from radiograph.core.shapes import Float, Int
from radiograph.store.records._header import FEATURE_COLUMNS

if TYPE_CHECKING:
    import polars

_STATISTICS = ("maximum", "mean_active", "sd")


def features_table(feature_id: Any, **columns: Any) -> polars.DataFrame:
    """A line a feature. A column that is not given is null, a single value holds for all, NaN is null."""
    import polars

    kinds = dict.fromkeys(FEATURE_COLUMNS, polars.String) | dict.fromkeys(_STATISTICS, polars.Float64)
    kinds |= {"feature": polars.UInt32, "direction": polars.UInt32, "n_present": polars.Int64, "n_active": polars.Int64}
    size = len(feature_id)
    given = {"feature": np.arange(size, dtype=np.uint32), "feature_id": feature_id, **columns}
    made: list[polars.Series] = []
    for name in FEATURE_COLUMNS:
        values = given.get(name)
        if values is None or isinstance(values, str):
            series = polars.repeat(values, size, dtype=kinds[name], eager=True)
        else:
            series = polars.Series(values).cast(kinds[name])
        made.append((series.fill_nan(None) if name in _STATISTICS else series).alias(name))
    return polars.DataFrame(made)


def statistics_of(offsets: Int[np.ndarray, " offset"], values: Float[np.ndarray, " entry"]) -> dict[str, np.ndarray]:
    """Of each feature, whose entries are offsets[f] to offsets[f + 1]: counts, and over those that are not zero
    maximum, mean and standard deviation (second pass), NaN where there are none.
    """
    size = len(offsets) - 1
    owner = np.repeat(np.arange(size), np.diff(offsets))
    value = values.astype(np.float64)
    active = value != 0
    if not active.all():
        owner, value = owner[active], value[active]
    count = np.bincount(owner, minlength=size)
    with np.errstate(invalid="ignore"):
        mean = np.bincount(owner, value, size) / count
        sd = np.sqrt(np.bincount(owner, np.square(value - mean[owner]), size) / count)
    largest = np.full(size, -np.inf)
    starts = np.concatenate([[0], np.cumsum(count)])[:-1][count > 0]
    largest[count > 0] = np.maximum.reduceat(value, starts) if len(starts) else value
    return {
        "n_present": np.diff(offsets),
        "n_active": count,
        "maximum": np.where(count > 0, largest, np.nan),
        "mean_active": mean,
        "sd": sd,
    }
