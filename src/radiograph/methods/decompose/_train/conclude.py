"""From tables to conclusions, without torch: what the verb says, and what `verify` derives again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from radiograph.core import derive
from radiograph.evidence import Estimate
from radiograph.methods.decompose._train.result import DecompositionTraining, UnderMasks, WeightFound

CONDITIONS = ("importance", "unmasked", "stochastic", "random", "rounded", "zero")
RESAMPLES = 1000
METHOD = "bootstrap over documents"
_LEAST = 1e-9
"""Nats below which the cross-entropy under zero masks is that of the target."""


def weights_of(components: Mapping[str, Sequence[Any]], faithful: Mapping[str, float]) -> tuple[WeightFound, ...]:
    """Alive components and L0 of every weight."""
    found: list[WeightFound] = []
    for weight in dict.fromkeys(components["weight"]):
        rows = [i for i, own in enumerate(components["weight"]) if own == weight]
        firings = [components["firings"][i] for i in rows]
        found.append(
            WeightFound(
                address=weight,
                components=len(rows),
                alive=sum(n > 0 for n in firings),
                l0=sum(firings) / components["positions"][rows[0]],
                faithfulness=faithful[weight],
            )
        )
    return tuple(found)


def masks_of(table: Mapping[str, Sequence[Any]], seed: int) -> tuple[UnderMasks, ...]:
    """Estimates of every condition; documents are resampled, never positions."""
    import numpy as np

    condition = np.array(table["condition"])
    columns = {n: np.array(table[n], dtype=np.float64) for n in ("positions", "distance")}
    tokens = table["ce"][0] is not None
    if tokens:
        columns["over"] = np.array(table["ce"], dtype=np.float64) - np.array(table["ce_target"], dtype=np.float64)
    zero = (columns["over"] if tokens else columns["distance"])[condition == "zero"]
    found: list[UnderMasks] = []
    for name in CONDITIONS:
        own = condition == name
        n = columns["positions"][own]
        above = columns["over"][own] if tokens else columns["distance"][own]
        rest: dict[str, Any] = {"ce_difference": _ratio(above, n, seed, "nats")} if tokens else {}
        if abs(zero.sum()) > _LEAST:
            share = _ratio(above, zero, seed, "share")
            rest["unrecovered"] = share.model_copy(update={"null": 1.0})
        unit = "nats" if tokens else "squared error"
        found.append(UnderMasks(condition=name, distance=_ratio(columns["distance"][own], n, seed, unit), **rest))
    return tuple(found)


def beats_zero(masks: Sequence[UnderMasks]) -> bool:
    """Whether importance masks keep more of the target than zero masks."""
    by = {m.condition: m.distance.value for m in masks}
    return by["importance"] < by["zero"]


def recompute(document: Mapping[str, Any], folder: Path) -> list[str]:
    """What of the result does not follow from the tables."""
    import polars as pl

    result = DecompositionTraining.read(dict(document))
    tables = {name: pl.read_parquet(folder / "tables" / f"{name}.parquet") for name in ("components", "masks")}
    wrong: list[str] = []
    components = tables["components"].to_dict(as_series=False)
    weights = weights_of(components, {w.address: w.faithfulness for w in result.weights})
    if weights != result.weights:
        wrong.append("alive components or L0 do not follow from components.parquet")
    if result.alive != sum(w.alive for w in weights) or abs(result.l0 - sum(w.l0 for w in weights)) > 1e-9:
        wrong.append("totals do not follow from components.parquet")
    masks = masks_of(tables["masks"].to_dict(as_series=False), result.seed)
    if masks != result.masks:
        wrong.append("what masks leave does not follow from masks.parquet")
    if result.importance_beats_zero != beats_zero(masks):
        wrong.append("importance against zero masks does not follow from masks.parquet")
    if result.recovered:
        wrong += _recovery(result, folder)
    return wrong


def _recovery(result: DecompositionTraining, folder: Path) -> list[str]:
    import numpy as np
    import polars as pl

    from radiograph.numerics.components.recovery import LIVE, TOLERANCES, live, pattern_errors

    table = pl.read_parquet(folder / "tables" / "recovery.parquet")
    wrong: list[str] = []
    for own in result.recovered:
        part = table.filter((pl.col("weight") == own.address) & (pl.col("when") == "trained"))
        shape = (part["feature"].n_unique(), part["component"].n_unique())
        g = np.asarray(part["importance"].to_numpy(), dtype=np.float64).reshape(shape)
        errors = [pattern_errors(g, own.pattern, own.parts, t) for t in TOLERANCES]  # pyright: ignore[reportArgumentType]
        if (live(g, LIVE), *errors) != (own.live, own.errors, own.errors_loose):
            wrong.append(f"{own.address}: live components or pattern errors do not follow from recovery.parquet")
    return wrong


def _ratio(values: Any, weights: Any, seed: int, unit: str) -> Estimate:
    """Σ values / Σ weights over documents."""
    import numpy as np

    from radiograph.numerics.resampling import bootstrap

    def statistic(counts: Any) -> Any:
        below = counts @ weights
        return (counts @ values) / np.where(np.abs(below) < _LEAST, np.nan, below)

    value = float(values.sum() / weights.sum())
    if len(values) < 2:
        return Estimate(value=value, n=len(values), unit=unit)
    low, high = bootstrap(
        statistic, len(values), seed=derive(seed, "decompose", "bootstrap"), resamples=RESAMPLES
    ).interval()
    return Estimate(value=value, low=low, high=high, n=len(values), unit=unit, method=METHOD)
