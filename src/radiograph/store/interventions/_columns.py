"""`radiograph.intervention/1`: one row for one feature, moved by one dose on one prompt."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    import polars

SCHEMA: Final = "radiograph.intervention/1"
TEXTS: Final = (
    "model",
    "model_sha256",
    "feature_id",
    "verb",
    "dose_unit",
    "positions",
    "criterion_id",
    "criterion",
    "prompt_id",
    "group_id",
    "split",
    "kind",
    "outcome",
    "outcome_unit",
    "control",
    "control_of",
    "control_said",
    "extra",
)
NUMBERS: Final = (
    "dose",
    "dose_raw",
    "norm_fraction",
    "baseline",
    "intervened",
    "kl",
    "nll_ratio",
    "side_quoted",
)
WHOLE: Final = ("push", "control_index", "seed")
TRUTHS: Final = ("push_assumed",)
COLUMNS: Final = (*TEXTS, *NUMBERS, *WHOLE, *TRUTHS)
ORDER: Final = ("feature_id", "control", "control_of", "control_index", "verb", "dose", "prompt_id", "seed")
"""What rows are sorted by, before everything else that they hold."""


def column_types() -> dict[str, Any]:
    """The type of each column."""
    import polars as pl

    found: dict[str, Any] = dict.fromkeys(TEXTS, pl.String)
    found |= dict.fromkeys(NUMBERS, pl.Float64) | dict.fromkeys(TRUTHS, pl.Boolean)
    return found | {"push": pl.Int8, "control_index": pl.Int64, "seed": pl.Int64}


def in_order(table: polars.DataFrame) -> polars.DataFrame:
    """Rows in an order that only what they hold decides, numbered."""
    import polars as pl

    rest = [name for name in COLUMNS if name not in ORDER]
    ordered = table.select(COLUMNS).sort(*ORDER, *rest, nulls_last=False)
    return ordered.with_columns(pl.int_range(pl.len(), dtype=pl.UInt32).alias("row")).select("row", *COLUMNS)
