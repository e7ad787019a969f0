"""From rows of interventions to the result: grades, doses, controls. Reads tables alone; needs no torch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from radiograph.evidence import document_sha256
from radiograph.evidence.interventions import ControlRow, DoseRow, Effects, FeatureEffect, InterventionOrder, Steering
from radiograph.methods._causal.judge import Causal, choose, judge
from radiograph.numerics.effects import Limits
from radiograph.store.directions import read_directions_header
from radiograph.store.interventions import in_order, read_interventions, write_interventions

if TYPE_CHECKING:
    import polars

ROWS: Final = "interventions"
COSTS: Final = "costs"
SITES: Final = "sites"
VECTORS: Final = {True: "steering.safetensors", False: "steering.unvalidated.safetensors"}
"""The file of a direction, by whether it is validated."""
COST_COLUMNS: Final = ("feature_id", "verb", "dose", "dose_unit", "kl", "kl_q95", "ppl", "tokens")
TABLES: Final = {"features": "causal", "doses": "doses", "controls": "controls"}


def write_rows(folder: Path, rows: polars.DataFrame, costs: Sequence[Mapping[str, Any]]) -> None:
    """`interventions.parquet` and `costs.parquet`."""
    import polars as pl

    # In an order that only what they hold decides, so that merged shards give the bytes of one run.
    write_interventions(folder / f"{ROWS}.parquet", in_order(rows).drop("row"))
    kinds = {"feature_id": pl.String, "verb": pl.String, "dose_unit": pl.String, "tokens": pl.Int64}
    table = pl.DataFrame(
        {name: pl.Series(name, [row[name] for row in costs], kinds.get(name, pl.Float64)) for name in COST_COLUMNS}
    )
    table.sort(*COST_COLUMNS, nulls_last=False).write_parquet(folder / f"{COSTS}.parquet", compression="zstd")


def write_sites(folder: Path, found: Sequence[polars.DataFrame]) -> None:
    """`sites.parquet`: rows of every site on discover, by which one was chosen."""
    import polars as pl

    write_interventions(folder / f"{SITES}.parquet", pl.concat(found))


def chosen_site(found: Sequence[polars.DataFrame], *, seed: int, limits: Limits) -> tuple[list[float | None], int]:
    """The bound of each site at its own dose, None without an acceptable one; and the place of the best site.

    `found` are the rows of each on discover. The largest bound, acceptable ones first; equal ones: the first given.
    """
    picked = [choose(own, seed=seed, limits=limits).row(0, named=True) for own in found]
    best = max(range(len(picked)), key=lambda place: (picked[place]["acceptable"], picked[place]["bound"], -place))
    return [one["bound"] if one["acceptable"] else None for one in picked], best


def unlike_sites(stored: Steering, folder: Path) -> list[str]:
    """What of the sites does not follow from their rows on discover."""
    order = stored.effects.order
    table = read_interventions(folder / f"{SITES}.parquet").table.drop("row")
    names = [fact.name for fact in stored.fitted]
    if set(names) != set(table["feature_id"]) or len(set(names)) < len(names):
        return [f"the rows of discover are of {', '.join(sorted(set(table['feature_id'])))}"]
    rows = [table.filter(table["feature_id"] == name) for name in names]
    bounds, best = chosen_site(rows, seed=order.seed, limits=_limits(order))
    out = [
        f"{fact.name}: bound is {fact.bound}, its rows give {bound}"
        for fact, bound in zip(stored.fitted, bounds, strict=True)
        if fact.bound != bound
    ]
    if [fact.name for fact in stored.fitted if fact.chosen] != [names[best]]:
        out.append(f"the direction tested is {stored.chosen.name}, its rows on discover choose {names[best]}")
    return out


def unlike_vector(stored: Steering, folder: Path) -> list[str]:
    """What of the file of the direction does not fit the result."""
    if stored.written is None:
        held = [name for name in VECTORS.values() if (folder / name).is_file()]
        return [f"{held[0]} was written, and the result does not say so"] if held else []
    header = read_directions_header(folder / stored.written)
    (own,) = stored.effects.features
    out: list[str] = []
    if (header.grade == "validated") != (stored.written == VECTORS[True]) or header.grade != own.grade:
        out.append(f"{stored.written} says {header.grade}, the result {own.grade}")
    if header.model_sha256 != stored.effects.order.model_sha256:
        out.append(f"{stored.written} is of another model")
    return out


def judged(folder: Path, order: InterventionOrder) -> Causal:
    """Grades of the rows in a folder."""
    return judge(read_interventions(folder / f"{ROWS}.parquet").table, seed=order.seed, limits=_limits(order))


def conclude(
    folder: Path,
    order: InterventionOrder,
    *,
    shard: str | None = None,
    required: str | None = None,
    notes: tuple[str, ...] = (),
) -> tuple[Effects, Causal]:
    """The result of the tables in a folder, and the tables that follow from them."""
    import polars as pl

    found = judged(folder, order)
    costs = pl.read_parquet(folder / f"{COSTS}.parquet")
    ordered = {one.feature: one for one in order.features}
    features: list[FeatureEffect] = []
    for line in found.features.iter_rows(named=True):
        name = line["feature_id"]
        doses = found.doses.filter(pl.col("feature_id") == name).sort(
            "split", "verb", "dose", descending=[True, False, False]
        )
        controls = found.controls.filter(pl.col("feature_id") == name)
        own = costs.filter((pl.col("feature_id") == name) & pl.col("dose").eq_missing(line["dose"]))
        features.append(
            FeatureEffect(
                feature=name,
                label=ordered[name].label if name in ordered else None,
                grade=line["grade"],
                codes=(*_split(line["codes"]), *order.codes),
                failing=_split(line["failing"]),
                contradicted=line["contradicted"],
                **{key: line[key] for key in ("verb", "dose", "norm_fraction", "acceptable", "groups")},
                unit=line["dose_unit"],
                raw=line["dose_raw"],
                effect=line["estimate"],
                interval=_bounds(line, "low", "high"),
                **{key: line[key] for key in ("p", "p_signs", "q", "in_sd", "kl", "ppl", "score", "slope")},
                discover=line["discover_estimate"],
                discover_interval=_bounds(line, "discover_low", "discover_high"),
                negative=line["drift"],
                kl_q95=own["kl_q95"][0] if len(own) else None,
                slope_interval=_bounds(line, "slope_low", "slope_high"),
                **{key: line[key] for key in ("monotonicity", "shape", "placebo_exact")},
                controls=tuple(
                    ControlRow(**{key: row[key] for key in ControlRow.model_fields})
                    for row in controls.iter_rows(named=True)
                ),
                doses=tuple(_dose(row) for row in doses.iter_rows(named=True)),
            )
        )
    place = {name: number for number, name in enumerate(ordered)}
    features.sort(key=lambda one: place.get(one.feature, len(place)))
    result = Effects(
        order=order,
        order_sha256=document_sha256(order),
        shard=shard,
        features=tuple(features),
        required=required,
        notes=notes,
    )
    return result, found


def planned(order: InterventionOrder) -> Effects:
    """The result of a run that only planned."""
    return Effects(order=order, order_sha256=document_sha256(order), planned=True)


def differences(document: Mapping[str, Any], folder: Path) -> list[str]:
    """What of a stored result does not follow from its rows."""
    stored = Effects.read(dict(document))
    if stored.planned:
        return []
    said = conclude(folder / "tables", stored.order, shard=stored.shard, required=stored.required, notes=stored.notes)
    out: list[str] = []
    if stored.order_sha256 != said[0].order_sha256:
        out.append("the order is not that of its hash")
    found = {one.feature: one for one in said[0].features}
    for one in stored.features:
        again = found.get(one.feature)
        if again is None:
            out.append(f"{one.feature} has no rows")
        elif again != one:
            key = next(k for k in type(one).model_fields if getattr(one, k) != getattr(again, k))
            out.append(f"{one.feature}: {key} is {getattr(one, key)}, its rows give {getattr(again, key)}")
    if len(found) != len(stored.features):
        out.append(f"{len(found)} features have rows, the result has {len(stored.features)}")
    return out


def _limits(order: InterventionOrder) -> Limits:
    return Limits(order.limits.kl, order.limits.ppl, order.limits.negative)


def _dose(row: Mapping[str, Any]) -> DoseRow:
    return DoseRow(
        half=row["split"],
        verb=row["verb"],
        dose=row["dose"],
        unit=row["dose_unit"],
        raw=row["dose_raw"],
        norm_fraction=row["norm_fraction"],
        effect=row["estimate"],
        interval=_bounds(row, "low", "high"),
        change=row["change"],
        groups=row["groups"],
        kl=row["kl"],
        ppl=row["ppl"],
        negative=row["negative"],
        band=row["band"],
        reasons=_split(row["reasons"]),
        chosen=row["chosen"],
    )


def _bounds(row: Mapping[str, Any], low: str, high: str) -> tuple[float, float] | None:
    return None if row[low] is None else (row[low], row[high])


def _split(text: str) -> tuple[str, ...]:
    return tuple(part for part in text.split(",") if part)
