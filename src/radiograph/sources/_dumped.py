"""What a service says of features, in the table of a dump: one shape for files and services."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from radiograph.evidence import canonical_json, document_sha256
from radiograph.store.foreign import Dump


def dump_of(model: str, rows: Sequence[dict[str, Any]]) -> Dump:
    """A dump of rows with `feature_id` and any of `site`, `label`, `examples`, `source`, `extra` (an object)."""
    import polars as pl

    table = pl.DataFrame(
        {
            "feature_id": pl.Series([row["feature_id"] for row in rows], dtype=pl.String),
            "site": pl.Series([row.get("site") for row in rows], dtype=pl.String),
            "layer": pl.Series([None] * len(rows), dtype=pl.Int64),
            "label": pl.Series([row.get("label") or None for row in rows], dtype=pl.String),
            "examples": pl.Series([row.get("examples") or None for row in rows], dtype=pl.List(pl.String)),
            "activation_signature": pl.Series([None] * len(rows), dtype=pl.List(pl.Float64)),
            "prompt_ids": pl.Series([None] * len(rows), dtype=pl.List(pl.String)),
            "decoder_signature": pl.Series([None] * len(rows), dtype=pl.List(pl.Float64)),
            "basis": pl.Series([None] * len(rows), dtype=pl.String),
            "claimed_effects": pl.Series([None] * len(rows), dtype=pl.String),
            "source": pl.Series([row.get("source") for row in rows], dtype=pl.String),
            "extra": pl.Series([canonical_json(row.get("extra") or {}).decode() for row in rows], dtype=pl.String),
        }
    )
    return Dump(model, table, document_sha256(list(rows)))
