"""What follows from the tables of a run, derived again: order, ranks, intervals, what was learned, validation."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from radiograph.core import FormatError, Refusal
from radiograph.evidence.influence import Blame
from radiograph.methods._blame import conclude, targets, validate
from radiograph.methods._blame.written import described
from radiograph.store import Bundle


def differences(stored: Blame, folder: Path) -> list[str]:
    """What does not follow; empty where all does."""
    table = _table(folder, "rows")
    said: list[str] = []
    if len(table["row"]) != stored.rows_scored:
        said.append(f"/rows_scored is {stored.rows_scored}, tables/rows.parquet holds {len(table['row'])}")
    ranking = conclude.ranking(table, stored.method, stored.methods, stored.rank)
    relative = conclude.relative_groups(table, [group.length for group in stored.groups])
    if not np.array_equal(relative.max(1), np.asarray(table[f"relative_{stored.method}"])):
        said.append("relative scores do not follow from those of groups, their lengths and the energies of rows")
    order = ranking.order[: len(stored.top)].tolist()
    for number, (row, i) in enumerate(zip(stored.top, order, strict=False)):
        again = described(table, ranking, i, stored.method, relative[i])
        kept = row.model_copy(update={"text": "", **NOT_HERE})
        if again != kept:
            said.append(f"/top/{number} is not what tables/rows.parquet gives: line {again.line}, score {again.score}")
    if stored.agreement != ranking.agreement:
        said.append("/agreement does not follow from tables/rows.parquet")
    said += _before(stored, table, folder)
    return said + _validation(stored, folder)


NOT_HERE = {"shard": 0, "weights": {}, "tokens": (), "more_tokens": 0, "more_score": 0.0}
"""Of a leading row, what no table holds."""


def _before(stored: Blame, table: dict[str, Any], folder: Path) -> list[str]:
    """Whether rows were learned and the behaviour is there."""
    said: list[str] = []
    sampled = any(stamp.startswith("sampled") for stamp in stored.stamps)
    learnt = stored.learnt if sampled else conclude.learnt(table, Bundle(folder).manifest.seed)
    if learnt != stored.learnt:
        said.append(f"/learnt/drop is {stored.learnt.drop}, tables/rows.parquet gives {learnt.drop}")
    own = _table(folder, "targets")
    preferred = None if own["preferred"][0] is None else np.asarray(own["preferred"], dtype=bool)
    found = targets.Measured(
        np.asarray(own["f_reference"]), np.asarray(own["f_candidate"]), preferred, stored.target.rival
    )
    behaviour = targets.behaviour(
        stored.target.kind, found, max(own["group"]) + 1, stored.target.given, stored.target.read
    )
    if behaviour != stored.target:
        said.append(f"/target/gain is {stored.target.gain}, tables/targets.parquet gives {behaviour.gain}")
    refusals: list[Refusal] = [r for r in (conclude.unlearned(learnt), targets.absent(behaviour)) if r is not None]
    stamped = [stamp.partition(":")[0] for stamp in stored.stamps]
    return said + [f"{r.code} holds and is not stamped" for r in refusals if r.code not in stamped]


def _validation(stored: Blame, folder: Path) -> list[str]:
    check = stored.validation
    if check is None or check.kind != "leave-out":
        return []
    assert check.k is not None, "rows were left out"
    again = validate.left_out(_table(folder, "validation"), check.k, stored.target.f_candidate)
    return [] if again == check else [f"/validation/delta_f is {check.delta_f}, its table gives {again.delta_f}"]


def _table(folder: Path, name: str) -> dict[str, Any]:
    import polars as pl

    path = folder / "tables" / f"{name}.parquet"
    if not path.is_file():
        raise FormatError(f"{path.name} is missing", where=f"tables/{path.name}")
    return pl.read_parquet(path).to_dict(as_series=False)
