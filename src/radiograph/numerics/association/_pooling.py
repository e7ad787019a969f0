"""Rows of tokens to rows of prompts: one value for each prompt and feature.

`max`, `mean`, `sum` over all rows of a prompt, silent ones included; `last`: the value of its last row. Where absent
means not measured, over the rows that are present. Order of addition: ascending row. Cost: O(n), O(n log n) where the
rows of a prompt do not stand together.
"""

from __future__ import annotations

from typing import Literal

import numpy as np

from radiograph.core.shapes import Int
from radiograph.numerics.association._columns import Columns, starts_of_runs

RowPool = Literal["max", "mean", "last", "sum"]


def pool_rows(
    table: Columns, place: Int[np.ndarray, " row"], rows: Int[np.ndarray, " prompt"], how: RowPool
) -> Columns:
    """The table of prompts; `place` is the prompt of each row, −1 for none, and `rows` how many rows each has."""
    prompts = len(rows)
    at = place[table.unit]
    kept = at >= 0
    if how == "last":
        last = np.zeros(len(place), dtype=bool)
        order = np.flatnonzero(place >= 0)
        final = np.full(prompts, -1, np.int64)
        final[place[order]] = order  # the largest row is assigned last
        last[final[final >= 0]] = True
        kept &= last[table.unit]
    feature, at, value = table.feature[kept], at[kept].astype(np.int64), table.value[kept]
    key = feature * max(prompts, 1) + at
    if len(key) and (key[1:] < key[:-1]).any():
        order = np.argsort(key, kind="stable")
        key, value = key[order], value[order]
    starts = starts_of_runs(key)
    present = np.diff(np.append(starts, len(key)))
    key = key[starts]
    feature, at = np.divmod(key, max(prompts, 1))
    if how == "max":
        value = np.maximum.reduceat(value, starts) if len(starts) else value
        if table.absent == "zero":
            value = np.where(present < rows[at], np.maximum(value, 0.0), value)
    elif len(starts) < len(value):
        value = np.add.reduceat(value, starts)
    if how == "mean":
        value = value / (rows[at] if table.absent == "zero" else present)
    if table.absent == "zero" and not value.all():
        on = value != 0
        feature, at, value = feature[on], at[on], value[on]
    offsets = np.concatenate([np.zeros(1, np.int64), np.cumsum(np.bincount(feature, minlength=table.features))])
    return Columns(offsets, at, value, prompts, table.absent)
