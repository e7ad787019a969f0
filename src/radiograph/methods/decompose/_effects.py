"""Effects as `decompose attribute` writes them, and the same again from what it wrote.

- `attributions`, `token_attributions`: by pair, sums over tokens; `VARIANT_error` the standard error of such a sum (NaN
  of too few texts); `VARIANT_reached` random readers on which the source's effect is as large
- `readers`: by source and weight, effects on each random reader, sums over tokens: what `reached` is counted from
- `residual`: by source, what it adds to what the unembedding reads
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from radiograph.core import Context
from radiograph.core.shapes import Float64, Int64
from radiograph.evidence.components import ComponentAttributions, EffectMean, ShownEffect
from radiograph.numerics.cofiring import half_width

if TYPE_CHECKING:
    from radiograph.decompose import Decomposition
    from radiograph.decompose.attribution import Effects

VARIANTS = ("signed", "abs", "modulating")
SHOWN = 20


class Written(NamedTuple):
    """What the result says of the tables."""

    pairs: int
    apart: dict[str, int]
    above: dict[str, int]
    connected: tuple[tuple[str, str], ...]
    strongest: tuple[ShownEffect, ...]


def written(ctx: Context, effects: Effects, decomposition: Decomposition, readers: int) -> Written:
    """Write the tables."""
    weight = np.array([decomposition.weights.index(c.weight) for c in decomposition.components], np.int64)
    table = _pairs(effects, "components", VARIANTS, weight, readers)
    ctx.output.table("attributions", table)
    tokens = _pairs(effects, "tokens", ("signed", "abs"), weight, readers)
    ctx.output.table("token_attributions", {"token": tokens.pop("source"), **tokens})
    ctx.output.table("readers", _on_readers(effects, decomposition.weights, readers))
    ctx.output.table("residual", _residual(effects))
    names = [str(c) for c in decomposition.components]
    found = dict.fromkeys(zip(weight[table["source"]].tolist(), weight[table["target"]].tolist(), strict=True))
    order = np.lexsort((table["target"], table["source"], -np.abs(table["signed"])))[:SHOWN]
    rows = [{column: values[i].item() for column, values in table.items()} for i in order.tolist()]
    counts = (effects.counted, effects.texts, readers)
    return Written(
        len(table["source"]),
        *_counts(table, effects.texts),
        tuple((decomposition.weights[s], decomposition.weights[t]) for s, t in found),
        tuple(_shown(row, names, counts) for row in rows),
    )


def _pairs(
    effects: Effects, kind: str, variants: tuple[str, ...], weight: Int64[np.ndarray, " component"], readers: int
) -> dict[str, Any]:
    """Every pair with an effect, by source."""
    from radiograph.decompose.attribution import READERS

    held = {variant: effects.real(f"{kind}.{variant}") for variant in variants}
    source, target = np.nonzero(np.any([values != 0 for values in held.values()], axis=0))
    table: dict[str, Any] = {"source": source.astype(np.uint32), "target": target.astype(np.uint32)}
    for variant, values in held.items():
        own = np.abs(values[source, target])
        chance = np.abs(effects.real(f"{kind}.{variant}{READERS}")).reshape(len(values), -1, readers)
        reached = np.zeros(len(source), np.uint16)
        for number in range(readers):
            reached += chance[source, weight[target], number] >= own
        table[variant] = values[source, target]
        table[f"{variant}_error"] = effects.error(f"{kind}.{variant}")[source, target] * max(1, effects.counted)
        table[f"{variant}_reached"] = reached
    return table


def _on_readers(effects: Effects, weights: tuple[str, ...], readers: int) -> dict[str, Any]:
    from radiograph.decompose.attribution import READERS

    held = {variant: effects.real(f"components.{variant}{READERS}") for variant in VARIANTS}
    cut = {variant: values.reshape(len(values), len(weights), readers) for variant, values in held.items()}
    source, place = np.nonzero(np.any([values.any(axis=2) for values in cut.values()], axis=0))
    table: dict[str, Any] = {"source": source.astype(np.uint32), "weight": [weights[n] for n in place.tolist()]}
    return table | {variant: values[source, place].tolist() for variant, values in cut.items()}


def _residual(effects: Effects) -> dict[str, Any]:
    kinds: list[str] = []
    numbers: list[int] = []
    rows: list[list[float]] = []
    for kind in ("component", "token"):
        held = effects.real(f"out.{kind}s")
        own = np.flatnonzero(held.any(axis=1)).tolist()
        kinds += [kind] * len(own)
        numbers += own
        rows += held[own].tolist()
    return {"kind": kinds, "number": numbers, "effect": rows}


def _counts(table: Mapping[str, np.ndarray], texts: int) -> tuple[dict[str, int], dict[str, int]]:
    """Pairs whose interval leaves 0 out, and pairs larger than on every reader."""
    half = half_width(texts)
    apart = {v: int((np.abs(table[v]) > half * table[f"{v}_error"]).sum()) for v in VARIANTS}
    return apart, {v: int((table[f"{v}_reached"] == 0).sum()) for v in VARIANTS}


def _shown(row: Mapping[str, Any], names: list[str], counts: tuple[int, int, int]) -> ShownEffect:
    """One line of the table as means over tokens, with intervals."""
    tokens, texts, readers = max(1, counts[0]), counts[1], counts[2]
    half = half_width(texts)

    def mean(variant: str) -> EffectMean:
        value, error = row[variant] / tokens, half * row[f"{variant}_error"] / tokens
        ends = (None, None) if np.isnan(error) else (value - error, value + error)
        return EffectMean(value=value, low=ends[0], high=ends[1], p=(1 + row[f"{variant}_reached"]) / (1 + readers))

    means = {variant: mean(variant) for variant in VARIANTS}
    return ShownEffect(source=names[row["source"]], target=names[row["target"]], **means)


def problems(stored: ComponentAttributions, folder: Path) -> list[str]:
    """What of a result does not follow from its tables."""
    import polars as pl

    table = pl.read_parquet(folder / "tables" / "attributions.parquet")
    out: list[str] = []
    if table.height != stored.pairs:
        out.append(f"{stored.pairs} effects are stated, {table.height} are listed")
    columns = {name: table[name].to_numpy() for name in table.columns}
    if _counts(columns, stored.texts) != (stored.apart, stored.above_readers):
        out.append("the counts of effects apart from 0 and above readers are not those of the table")
    names = [f"{weight}:{n}" for weight, size in stored.sizes.items() for n in range(size)]
    order = np.lexsort((columns["target"], columns["source"], -np.abs(columns["signed"])))[:SHOWN]
    counts = (stored.tokens, stored.texts, stored.readers)
    found = tuple(_shown({name: v[i].item() for name, v in columns.items()}, names, counts) for i in order.tolist())
    out += [
        f"{said.source} on {said.target} is stated otherwise than the table has it"
        for said, own in zip(stored.strongest, found, strict=False)
        if said != own
    ]
    if len(found) != len(stored.strongest):
        out.append(f"{len(stored.strongest)} strongest effects are stated, the table has {len(found)}")
    return out + _reached(columns, pl.read_parquet(folder / "tables" / "readers.parquet"), stored)


def _reached(columns: Mapping[str, np.ndarray], readers: Any, stored: ComponentAttributions) -> list[str]:
    """Are there as many readers with as large an effect as every pair says?"""
    weights = list(stored.sizes)
    owner = np.repeat(np.arange(len(weights)), list(stored.sizes.values()))
    place = np.full((len(owner), len(weights)), -1, np.int64)
    at = readers["source"].to_numpy(), np.array([weights.index(w) for w in readers["weight"].to_list()], np.int64)
    place[at] = np.arange(readers.height)
    own = place[columns["source"], owner[columns["target"]]]
    out: list[str] = []
    for variant in VARIANTS:
        chance: Float64[np.ndarray, "pair reader"] = np.zeros((readers.height + 1, stored.readers))
        if readers.height:
            chance[:-1] = np.abs(np.array(readers[variant].to_list(), np.float64))
        size, reached = np.abs(columns[variant]), np.zeros(len(own), np.uint16)
        for number in range(stored.readers):
            reached += chance[own, number] >= size
        if not np.array_equal(reached, columns[f"{variant}_reached"]):
            out.append(f"effects on random readers that are as large ({variant}) are counted otherwise")
    return out
