"""Intervention rows as arrays: whose line each row belongs to, under which condition, and what it is there for.

| part | rows |
|---|---|
| effects | moved on purpose, on positives (a row without `kind` is one) |
| sides | the same on near misses and negatives |
| controls | every other control; `control` numbers them |
| placebos | dose 0 |

A line is a feature and an outcome; a control belongs to the feature that it is a control of. A condition is verb, dose,
unit and positions.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from radiograph.core.shapes import Bool, Float64, Int64

if TYPE_CHECKING:
    import polars

LINE: Final = ("feature_id", "outcome", "outcome_unit")
CONDITION: Final = ("verb", "dose", "dose_unit", "positions")
DOSED: Final = ("steer", "amplify")
"""Verbs whose dose counts from a neutral one: 0, and 1."""


@dataclass(frozen=True, eq=False)
class Part:
    """Rows of one part, sorted by nothing in particular: every sum over them is ordered."""

    line: Int64[np.ndarray, " row"]
    condition: Int64[np.ndarray, " row"]
    control: Int64[np.ndarray, " row"]
    """Number of the control; -1 where there is none."""
    group: Int64[np.ndarray, " row"]
    confirm: Bool[np.ndarray, " row"]
    discover: Bool[np.ndarray, " row"]
    directed: Float64[np.ndarray, " row"]
    change: Float64[np.ndarray, " row"]
    baseline: Float64[np.ndarray, " row"]
    kl: Float64[np.ndarray, " row"]
    ppl: Float64[np.ndarray, " row"]

    def of(self, chosen: Bool[np.ndarray, " row"]) -> Part:
        """Some of the rows."""
        return Part(*(getattr(self, name)[chosen] for name in self.__dataclass_fields__))

    def __len__(self) -> int:
        return len(self.line)


@dataclass(frozen=True, eq=False)
class Rows:
    """The rows of a table, and what their numbers mean."""

    lines: polars.DataFrame
    """`LINE`, then `push_assumed`, `criterion_mismatch` and `side_quoted`; a line a row."""
    conditions: polars.DataFrame
    """`CONDITION`, then `from_neutral`, the dose counted from the neutral one."""
    sizes: polars.DataFrame
    """`line`, `condition`, `dose_raw`, `norm_fraction`: what a dose is differs from feature to feature."""
    controls: polars.DataFrame
    """`line`, `family`, `feature_id`, `index`."""
    effects: Part
    sides: Part
    controlled: Part
    placebos: Part

    @property
    def size(self) -> int:
        """Lines."""
        return len(self.lines)


def rows_of(table: polars.DataFrame) -> Rows:
    """Take the rows of `store.interventions` apart; a column `criterion_mismatch` may stand beside them."""
    import polars as pl

    own = table.with_columns(pl.coalesce("control_of", "feature_id").alias("_feature"))
    if "criterion_mismatch" not in own.columns:
        own = own.with_columns(pl.lit(False).alias("criterion_mismatch"))
    key = [pl.col("_feature").alias("feature_id"), "outcome", "outcome_unit"]
    # Sorted by what they hold: numbers do not depend on the order of a file.
    lines = (
        own.group_by(key)
        .agg(
            pl.col("push_assumed").fill_null(False).any(),
            pl.col("criterion_mismatch").any(),
            pl.col("side_quoted").max(),
        )
        .sort(LINE, nulls_last=False)
        .with_row_index("line")
    )
    conditions = (
        own.select(CONDITION)
        .unique()
        .sort(CONDITION, nulls_last=False)
        .with_row_index("condition")
        .with_columns(_from_neutral().alias("from_neutral"))
    )
    own = (
        own.join(
            lines.select(pl.col("feature_id").alias("_feature"), "outcome", "outcome_unit", "line"),
            on=["_feature", "outcome", "outcome_unit"],
            how="left",
            nulls_equal=True,
            maintain_order="left",
        )
        .join(
            conditions.select(*CONDITION, "condition"),
            on=CONDITION,
            how="left",
            nulls_equal=True,
            maintain_order="left",
        )
        .with_columns(pl.col("group_id").rank("dense").alias("_group"))
    )
    sizes = own.group_by("line", "condition").agg(_the_one("dose_raw"), _the_one("norm_fraction"))
    named = ["line", pl.col("control").alias("family"), "feature_id", pl.col("control_index").alias("index")]
    real = pl.col("control").is_not_null() & (pl.col("control") != "placebo")
    controls = own.filter(real).select(named).unique().sort("line", "family", "index", "feature_id", nulls_last=False)
    controls = controls.with_row_index("number")
    own = own.join(
        controls.rename({"family": "control", "index": "control_index"}),
        on=["line", "control", "feature_id", "control_index"],
        how="left",
        nulls_equal=True,
        maintain_order="left",
    )
    positive = pl.col("kind").is_null() | (pl.col("kind") == "positive")
    none = pl.col("control").is_null()
    return Rows(
        lines=lines,
        conditions=conditions,
        sizes=sizes.sort("line", "condition"),
        controls=controls,
        effects=_part(own.filter(none & positive)),
        sides=_part(own.filter(none & ~positive)),
        controlled=_part(own.filter(real & positive)),
        placebos=_part(own.filter(pl.col("control") == "placebo")),
    )


def _the_one(name: str) -> polars.Expr:
    """The value of rows that agree; null where they do not."""
    import polars as pl

    return pl.when(pl.col(name).min() == pl.col(name).max()).then(pl.col(name).min()).alias(name)


def _from_neutral() -> polars.Expr:
    import polars as pl

    dose = pl.when(pl.col("verb") == "amplify").then(pl.col("dose") - 1).otherwise(pl.col("dose"))
    return pl.when(pl.col("verb").is_in(DOSED)).then(dose)


def _part(table: polars.DataFrame) -> Part:
    import polars as pl

    def whole(name: str) -> Int64[np.ndarray, " row"]:
        return table[name].cast(pl.Int64).fill_null(-1).to_numpy()

    def number(name: str) -> Float64[np.ndarray, " row"]:
        return table[name].cast(pl.Float64).fill_null(float("nan")).to_numpy()

    baseline = number("baseline")
    change = number("intervened") - baseline
    return Part(
        line=whole("line"),
        condition=whole("condition"),
        control=whole("number"),
        group=whole("_group"),
        confirm=(table["split"] == "confirm").fill_null(False).to_numpy(),
        discover=(table["split"] == "discover").fill_null(False).to_numpy(),
        directed=whole("push") * change,
        change=change,
        baseline=baseline,
        kl=number("kl"),
        ppl=number("nll_ratio"),
    )
