"""A finished sweep as columns: one row each, what it was given, what was written, what came of it.

Columns of a condition with one write tell its dose in every unit; those of several writes tell the name alone, and
`conditions.json` holds each write.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from radiograph.core import UserError
from radiograph.interventions._bound import BoundCondition
from radiograph.interventions._sweep import Sweep
from radiograph.store.vectors import BatchWriter

_DOSE = ("value", "unit", "raw", "sd", "quantile", "norm")
_RESULT = (
    *("n_prompt", "n_new", "stop", "ids", "text", "mean_logprob", "entropy", "min_gap", "kl", "kl_steps"),
    *("vector", "vector_note", "sha256"),
)
_TEXTS = ("dose_unit", "target", "op", "positions", "text", "vector_note")
_NUMBERS = ("mean_logprob", "entropy", "min_gap", "kl", *(f"dose_{name}" for name in _DOSE if name != "unit"))
RESERVED = frozenset(
    ["row", "prompt_id", "core", "variant", "sample", "seed", "condition", "target", "op", "positions", "truncated"]
    + [f"dose_{name}" for name in _DOSE]
    + [*_RESULT, "prompt"]
)
"""Names that no factor of the prompts may have."""


def rows_table(sweep: Sweep, writer: BatchWriter, prompts: Mapping[str, Sequence[Any]]) -> dict[str, Any]:
    """Columns of `tables/rows.parquet`; `prompts` are columns with one value a prompt.

    Raises:
        UserError: a factor of the prompts has the name of a column.
    """
    own = {"prompt_id", "core", "variant", "prompt", "truncated"}
    if taken := sorted(set(prompts) & (RESERVED - own)):
        raise UserError(f"a factor is called {taken[0]}, which is a column of every run", fix="rename the factor")
    found = list(writer.rows())
    rows = [sweep.rows[facts["row"]] for facts, _ in found]
    told = [_told(condition) for condition in sweep.conditions]
    columns: dict[str, list[Any]] = {"row": [row.number for row in rows]}
    columns |= {name: [values[row.prompt] for row in rows] for name, values in prompts.items()}
    columns["sample"] = [row.sample for row in rows]
    columns["seed"] = [sweep.decoding.seed] * len(rows)
    columns |= {name: [told[row.condition][name] for row in rows] for name in told[0]}
    made = {name: [facts.get(name) for facts, _ in found] for name in _RESULT}
    made["n_new"] = [len(facts["ids"]) for facts, _ in found]
    made["vector"] = [None if facts["vector_note"] or not sweep.reads.sites else part for facts, part in found]
    return _typed(columns | made)


def _typed(columns: dict[str, list[Any]]) -> dict[str, Any]:
    """Columns that may hold nothing at all still have a type."""
    import polars

    kinds = dict.fromkeys(_TEXTS, polars.String) | dict.fromkeys(_NUMBERS, polars.Float64) | {"vector": polars.Int64}
    return {name: polars.Series(name, values, kinds.get(name)) for name, values in columns.items()}


def conditions_document(sweep: Sweep) -> list[dict[str, Any]]:
    """Every condition with its writes, as asked for and in raw numbers."""
    return [
        {
            "name": condition.name,
            "writes": [{"text": str(w.write), **_asked(w.write), "raw": w.raw()} for w in condition.writes],
        }
        for condition in sweep.conditions
    ]


def _asked(write: Any) -> dict[str, Any]:
    return write.model_dump(mode="json", exclude_none=True)


def _told(condition: BoundCondition) -> dict[str, Any]:
    writes = condition.condition.writes
    single = condition.writes[0] if len(condition.writes) == 1 else None
    doses = {f"dose_{name}": _number(getattr(single.told, name)) if single else None for name in _DOSE}
    return {
        "condition": condition.name,
        "target": "; ".join(write.target for write in writes) or None,
        "op": "; ".join(write.op for write in writes) or None,
        **doses,
        "positions": "; ".join(str(write.positions) for write in writes) or None,
    }


def _number(value: float | str | None) -> float | str | None:
    return None if isinstance(value, float) and not math.isfinite(value) else value
