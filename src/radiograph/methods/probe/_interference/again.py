"""What `verify` derives again from the losses of a run: scores, intervals, bands, counts, the worst pair."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from radiograph.evidence.probes.interference import Interference, InterferenceCell
from radiograph.methods.probe._interference import judge
from radiograph.methods.probe._interference.losses import Loss, Losses

ROUNDED = 1e-9


def problems(document: dict[str, Any], folder: Path) -> list[str]:
    """Differences between the result and what its tables say."""
    import polars

    result = Interference.read(document)
    names = [adapter.name for adapter in result.adapters]
    if result.mode == "losses":
        facts, cells = judge.of_given(_given(polars.read_parquet(folder / "tables/losses.parquet"), names, result))
    else:
        table = polars.read_parquet(folder / "tables/rows.parquet")
        facts, cells = judge.of_rows(names, rows_of(table, names), result.seed)
    found: list[str] = []
    for adapter in result.adapters:
        fact = facts[adapter.name]
        said = (adapter.loss, adapter.base_loss, adapter.gain)
        if not _close(said, (fact.loss, fact.base, fact.gain)) or adapter.inert != fact.inert:
            found.append(f"what {adapter.name!r} does alone does not follow from the tables")
    if len(cells) != len(result.cells):
        return [*found, "other pairs than the tables have"]
    for cell, stated in zip(cells, result.cells, strict=True):
        if not _same(cell, stated):
            found.append(f"{stated.target!r} with {stated.added!r} does not follow from the tables")
    if judge.worst_of(result.cells) != result.worst_pair:
        found.append("worst_pair does not follow from the cells")
    if judge.counted(result.cells) != result.bands or judge.gaps(result.cells) != result.not_measured:
        found.append("bands and gaps do not follow from the cells")
    return found


def rows_of(table: Any, names: Sequence[str]) -> dict[str, judge.RowLosses]:
    """The losses of rows as a run keeps them."""
    found: dict[str, judge.RowLosses] = {}
    for target in names:
        own = table.filter(table["target"] == target)
        base, alone = (own.filter(own["condition"] == c).sort("row") for c in ("base", "alone"))
        count = base.height
        both: dict[str, np.ndarray] = {}
        for added in names:
            if added != target:
                part = own.filter((own["condition"] == "both") & (own["added"] == added)).sort("repeat", "row")
                both[added] = part["nats"].to_numpy().reshape(-1, count)
        tokens, groups = base["tokens"].to_numpy().astype(np.float64), base["group"].to_numpy()
        found[target] = judge.RowLosses(tokens, groups, base["nats"].to_numpy(), alone["nats"].to_numpy(), both)
    return found


def _given(table: Any, names: Sequence[str], result: Interference) -> Losses:
    by: dict[str, dict[Any, Loss]] = {"alone": {}, "both": {}, "base": {}}
    for row in table.iter_rows(named=True):
        key = (row["target"], row["added"]) if row["condition"] == "both" else row["target"]
        by[row["condition"]][key] = Loss(row["loss"], row["sd"], row["n"])
    return Losses(result.source, tuple(names), by["alone"], by["both"], by["base"])


def _same(cell: InterferenceCell, stated: InterferenceCell) -> bool:
    numbers = [(one.score, one.loss, *(one.interval or (None, None)), *one.repeats) for one in (cell, stated)]
    words = [(one.target, one.added, one.band, one.reason, one.n, len(one.repeats)) for one in (cell, stated)]
    return words[0] == words[1] and _close(*numbers)


def _close(one: Sequence[float | None], two: Sequence[float | None]) -> bool:
    if [v is None for v in one] != [v is None for v in two]:
        return False
    pairs = [(a, b) for a, b in zip(one, two, strict=True) if a is not None and b is not None]
    return all(abs(a - b) <= ROUNDED * max(1.0, abs(a)) for a, b in pairs)
