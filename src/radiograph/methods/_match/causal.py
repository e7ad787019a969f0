"""Do two matched features act alike? From intervention rows of both sides.

Rows without a control, on prompts, with outcome and units that both sides have; slope of the change (intervened −
baseline) on the dose, or on the push where a verb has no dose, per feature. Groups of prompts are drawn with
replacement, the same draws on both sides, so that what a prompt does to both stays together. Fewer than six shared
groups say nothing: `untested`.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from radiograph.core import Context, UserError
from radiograph.core.shapes import Float64, Int64
from radiograph.evidence.matches import Agreement
from radiograph.numerics.effects import FEWEST_GROUPS

if TYPE_CHECKING:
    import polars

_KEY = ("outcome", "outcome_unit", "verb", "dose_unit", "prompt_id")
RESAMPLES = 1000


def read_rows(given: str | None, bundle: Path | None, role: str, ctx: Context) -> polars.DataFrame | None:
    """Intervention rows of a file or a run; by default those that lie in a side's bundle.

    Raises:
        UserError: a run without any, or that did not end. FormatError: one that was changed.
    """
    from radiograph.store import untouched
    from radiograph.store.interventions import read_interventions

    if given is None:
        path = None if bundle is None else _inside(bundle)
        if path is None:
            return None
        untouched(path)
        return read_interventions(path).table
    path = ctx.path(given, role)
    untouched(path)
    if path.is_dir():
        held = _inside(path)
        if held is None:
            raise UserError(f"{path.name} holds no interventions", expected="a run of intervene", code="not_found")
        path = held
        untouched(path)
    return read_interventions(path).table


def _inside(bundle: Path) -> Path | None:
    places = [bundle / "tables", *sorted(bundle.glob("steps/*/tables"))]
    return next((file for place in places if (file := place / "interventions.parquet").is_file()), None)


def agreements(
    left: polars.DataFrame, right: polars.DataFrame, pairs: list[tuple[str, str]], seed: int
) -> list[Agreement]:
    """A word for each pair of feature ids."""
    from radiograph.numerics.matching import causal_agreement

    if not pairs:
        return []
    ours, theirs = _usable(left, {a for a, _ in pairs}), _usable(right, {b for _, b in pairs})
    keys = ours.select(_KEY).unique().join(theirs.select(_KEY).unique(), on=list(_KEY), nulls_equal=True)
    ours, theirs = (table.join(keys, on=list(_KEY), how="semi", nulls_equal=True) for table in (ours, theirs))
    groups = ours.select("prompt_id", "group").unique("prompt_id").sort("prompt_id")
    names = groups["group"].unique().sort().to_list()
    if len(names) < FEWEST_GROUPS:
        return ["untested"] * len(pairs)
    group_of = dict(groups.iter_rows())
    counts = _draws(len(names), seed)
    slopes = [_slopes(table, group_of, names, counts) for table in (ours, theirs)]
    return [causal_agreement(slopes[0].get(a), slopes[1].get(b)) for a, b in pairs]


def _usable(table: polars.DataFrame, features: set[str]) -> polars.DataFrame:
    import polars as pl

    return table.filter(pl.col("control").is_null() & pl.col("feature_id").is_in(sorted(features))).with_columns(
        pl.coalesce("group_id", "prompt_id").alias("group"),
        pl.coalesce("dose", pl.col("push").cast(pl.Float64)).alias("x"),
        (pl.col("intervened") - pl.col("baseline")).alias("y"),
    )


def _draws(groups: int, seed: int) -> Float64[np.ndarray, "draw group"]:
    from radiograph.numerics.resampling import draws_of

    return np.concatenate(list(draws_of(groups, groups, RESAMPLES, seed)))


def _slopes(
    table: polars.DataFrame, group_of: dict[str, str], names: list[str], counts: Float64[np.ndarray, "draw group"]
) -> dict[str, Float64[np.ndarray, " draw"]]:
    """Bootstrapped slopes through 0 of each feature; none where every dose is 0."""
    ids, feature = np.unique(table["feature_id"].to_numpy(), return_inverse=True)
    place = {name: number for number, name in enumerate(names)}
    group: Int64[np.ndarray, " row"] = np.array(
        [place[group_of[prompt]] for prompt in table["prompt_id"].to_list()], dtype=np.int64
    )
    x, y = table["x"].to_numpy(), table["y"].to_numpy()
    sums = []
    for values in (x * y, x * x):
        cell = np.bincount(feature * len(names) + group, values, minlength=len(ids) * len(names))
        sums.append(counts @ cell.reshape(len(ids), len(names)).T)
    moved = sums[1] > 0
    slope = np.where(moved, sums[0] / np.where(moved, sums[1], 1.0), 0.0)
    return {str(name): slope[:, number] for number, name in enumerate(ids.tolist()) if moved[:, number].any()}
