"""From rows of interventions to the result: grades, doses, controls. Reads tables alone; needs no torch."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from radiograph.evidence import document_sha256
from radiograph.evidence.interventions import (
    Continuations,
    ContrastFacts,
    ControlRow,
    DoseRow,
    Effects,
    FeatureEffect,
    InterventionOrder,
    Steering,
)
from radiograph.methods._causal.guards import TABLE as GUARDS
from radiograph.methods._causal.guards import guard_table, guarded
from radiograph.methods._causal.judge import Causal, choose, judge
from radiograph.numerics.effects import Limits
from radiograph.store import file_sha256
from radiograph.store.directions import MatrixRecord, open_directions, read_directions_header
from radiograph.store.interventions import in_order, read_interventions, write_interventions

if TYPE_CHECKING:
    import polars

ROWS: Final = "interventions"
COSTS: Final = "costs"
SITES: Final = "sites"
PROJECTIONS: Final = "projections"
FITTED: Final = "fitted"
CLOSE: Final = 1e-6
FLOAT32: Final = 1e-6
ORDER: Final = "order.json"
VECTORS: Final = {True: "steering.safetensors", False: "steering.unvalidated.safetensors"}
"""The file of a direction, by whether it is validated."""
COST_COLUMNS: Final = ("feature_id", "verb", "dose", "dose_unit", "kl", "kl_q95", "ppl", "tokens")
SAID: Final = ("texts", "distinct2", "distinct2_untouched", "length", "length_untouched")
"""Of continuations under the graded condition; null under the others."""
TABLES: Final = {"features": "causal", "doses": "doses", "controls": "controls"}


def write_rows(
    folder: Path, rows: polars.DataFrame, costs: Sequence[Mapping[str, Any]], guards: Sequence[Mapping[str, Any]]
) -> None:
    """`interventions.parquet`, `costs.parquet`, and `guards.parquet` where there are any."""
    import polars as pl

    # In an order that only what they hold decides, so that merged shards give the bytes of one run.
    write_interventions(folder / f"{ROWS}.parquet", in_order(rows).drop("row"))
    kinds = {"feature_id": pl.String, "verb": pl.String, "dose_unit": pl.String, "tokens": pl.Int64}
    kinds |= {"texts": pl.Int64}
    names = (*COST_COLUMNS, *SAID)
    table = pl.DataFrame(
        {name: pl.Series(name, [row.get(name) for row in costs], kinds.get(name, pl.Float64)) for name in names}
    )
    table.sort(*COST_COLUMNS, nulls_last=False).write_parquet(folder / f"{COSTS}.parquet", compression="zstd")
    if guards:
        guard_table(guards).write_parquet(folder / f"{GUARDS}.parquet", compression="zstd")


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


def vector_facts(effects: Effects, site: ContrastFacts, rows: Path) -> dict[str, Any]:
    """What the file of a direction says of it, beside its tensor and the tokenizer."""
    (own,) = effects.features
    order = effects.order
    return {
        "tensors": {site.name.partition("~")[2]: MatrixRecord(site=site.site)},
        "model_sha256": order.model_sha256,
        "scale": "unit_norm",
        "provenance": {
            "verb": "steer.contrast",
            "method": site.method,
            "criterion_id": order.criterion_id,
            "criterion": order.criterion,
            "order_sha256": effects.order_sha256,
            "interventions_sha256": file_sha256(rows),
            "positions": order.positions,
            "outcome": order.outcome,
            "dose": {"value": own.dose, "unit": own.unit, "raw": own.raw},
            "effect": own.effect,
            "kl": own.kl,
            "ppl": own.ppl,
        },
        "grade": own.grade,
        "failing": own.failing,
        "doses": () if own.raw is None else (own.raw,),
        "dose_unit": "raw",
    }


def unlike_vector(stored: Steering, folder: Path) -> list[str]:
    """What of the file of the direction does not fit the result."""
    if stored.written is None:
        held = [name for name in VECTORS.values() if (folder / name).is_file()]
        return [f"{held[0]} was written, and the result does not say so"] if held else []
    (own,) = stored.effects.features
    if stored.written != VECTORS[own.grade == "validated"] or not (folder / stored.written).is_file():
        return [f"{stored.written} is no file of a direction that is {own.grade}"]
    header = read_directions_header(folder / stored.written)
    facts = vector_facts(stored.effects, stored.chosen, folder / "tables" / f"{ROWS}.parquet")
    return [
        f"{stored.written}: {name} is {getattr(header, name)}, the result gives {value}"
        for name, value in facts.items()
        if getattr(header, name) != value
    ]


def unlike_projections(stored: Steering, folder: Path) -> list[str]:
    """What of the fitted directions does not follow from the projections of the prompts on them."""
    import numpy as np
    import polars as pl

    from radiograph.numerics import contrasts

    table = pl.read_parquet(folder / f"{PROJECTIONS}.parquet")
    out: list[str] = []
    for fact in stored.fitted:
        halves = {
            half: contrasts.cells_of(
                own["projection"].to_numpy()[:, None],
                own["positive"].to_numpy(),
                np.unique(own["group_id"].to_numpy(), return_inverse=True)[1],
            )
            for half in ("discover", "confirm")
            if len(own := table.filter((pl.col("name") == fact.name) & (pl.col("split") == half)))
        }
        if len(halves) < 2:
            out.append(f"{fact.name} has no projections")
            continue
        positive = table.filter((pl.col("name") == fact.name) & (pl.col("split") == "discover"))["positive"]
        area, interval = contrasts.separation(np.ones(1), halves["confirm"])
        again = {
            "auroc": area,
            "auroc_interval": None if interval is None else (interval.low, interval.high),
            "paired": halves["discover"].paired,
            "rows": (int(positive.sum()), int((~positive).sum())),
        }
        out += [
            f"{fact.name}: {name} is {getattr(fact, name)}, its projections give {value}"
            for name, value in again.items()
            if getattr(fact, name) != value
        ]
    return out


def unlike_fits(stored: Steering, folder: Path) -> list[str]:
    """What of the fitted directions, and of the file of one, does not follow from the rows that they were fitted on.

    `share` and `cosine_targets` rest on the model, and are not derived.
    """
    import numpy as np
    import polars as pl

    from radiograph.core import derive
    from radiograph.numerics import contrasts

    rows = pl.read_parquet(folder / "tables" / f"{FITTED}.parquet")
    along = pl.read_parquet(folder / "tables" / f"{PROJECTIONS}.parquet").filter(pl.col("split") == "discover")
    out: list[str] = []
    for fact in stored.fitted:
        own = rows.filter(pl.col("name") == fact.name)
        if not len(own):
            out.append(f"{fact.name} has no rows that it was fitted on")
            continue
        values, positive = np.array(own["values"].to_list()), own["positive"].to_numpy()
        group = np.unique(own["group_id"].to_numpy(), return_inverse=True)[1]
        fit = contrasts.cells_of(values, positive, group)
        found = contrasts.contrast(fit, fact.method)
        unit = found / np.linalg.norm(found)
        again = {
            "norm": float(np.linalg.norm(found)),
            "split_half": contrasts.split_half(fit, fact.method, seed=derive(stored.effects.order.seed, "halves")),
            "cosine_length": length_cosine(unit, own["tokens"].to_numpy(), positive, group, fit),
        }
        out += [
            f"{fact.name}: {name} is {getattr(fact, name)}, its rows give {value}"
            for name, value in again.items()
            if not _close(getattr(fact, name), value)
        ]
        projected = along.filter(pl.col("name") == fact.name)["projection"].to_numpy()
        if len(projected) != len(values) or not np.allclose(values @ unit, projected, rtol=CLOSE, atol=CLOSE):
            out.append(f"{fact.name}: the projections are not those of its rows")
        if fact.chosen and stored.written is not None and (folder / stored.written).is_file():
            (held,) = open_directions(folder / stored.written)[1].values()
            if not np.allclose(held.reshape(-1), unit, rtol=0, atol=FLOAT32):
                out.append(f"{stored.written} does not hold the direction of its rows")
    return out


def length_cosine(unit: Any, tokens: Any, positive: Any, group: Any, fit: Any) -> float | None:
    """Cosine of a direction with that along which the length of a prompt grows."""
    import numpy as np

    from radiograph.numerics import contrasts

    own = contrasts.cells_of(np.asarray(tokens, np.float64)[:, None], positive, group)
    return cosine(unit, contrasts.along(own.value[:, 0], fit))


def cosine(a: Any, b: Any) -> float | None:
    """Of two vectors; None where one has no length."""
    import numpy as np

    size = float(np.linalg.norm(a) * np.linalg.norm(b))
    return float(a @ b / size) if size > 0 else None


def _close(one: float | None, other: float | None) -> bool:
    if one is None or other is None:
        return one is other
    return math.isclose(one, other, rel_tol=CLOSE, abs_tol=CLOSE)


def judged(folder: Path, order: InterventionOrder) -> Causal:
    """Grades of the rows in a folder."""
    signs = {one.feature: one.association for one in order.features if one.association is not None}
    table = read_interventions(folder / f"{ROWS}.parquet").table
    return judge(table, seed=order.seed, limits=_limits(order), association=signs)


def conclude(
    folder: Path,
    order: InterventionOrder,
    *,
    shard: str | None = None,
    required: str | None = None,
) -> tuple[Effects, Causal]:
    """The result of the tables in a folder, and the tables that follow from them."""
    import polars as pl

    found = judged(folder, order)
    costs = pl.read_parquet(folder / f"{COSTS}.parquet")
    guards = pl.read_parquet(path) if (path := folder / f"{GUARDS}.parquet").is_file() else None
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
                contradicted=None if name not in ordered or ordered[name].association is None else line["contradicted"],
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
                said=_continued(own),
                guards=() if guards is None else guarded(guards, name),
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
        notes=notes_of(order),
    )
    return result, found


def _continued(own: polars.DataFrame) -> Continuations | None:
    row = {name: own[name][0] for name in SAID} if len(own) and SAID[0] in own.columns else {}
    return Continuations(**row) if row.get(SAID[0]) else None


def notes_of(order: InterventionOrder) -> tuple[str, ...]:
    """What a reader must know of the prompts, and of who judges what is said after them."""
    cut = f"{order.cut} prompts do not fit the context with what continues them; their beginnings were left out"
    notes = [cut] if order.cut else []
    if (judge := order.judge) is not None:
        k = judge.kappa
        limits = "no interval" if k.low is None or k.high is None else f"{k.low:.2f} to {k.high:.2f}"
        notes.append(
            f"{judge.model} judges which continuations meet the criterion; on {k.n} labelled texts of it, which are no "
            f"continuations, its agreement with the labels is κ {k.value:.2f} ({limits}; 0 by chance)"
        )
    return tuple(notes)


def planned(order: InterventionOrder) -> Effects:
    """The result of a run that only planned."""
    return Effects(order=order, order_sha256=document_sha256(order), planned=True, notes=notes_of(order))


def differences(document: Mapping[str, Any], folder: Path) -> list[str]:
    """What of a stored result does not follow from its rows, its order, and what was asked."""
    import polars as pl

    stored = Effects.read(dict(document))
    out = _unlike_asked(stored, folder)
    if stored.planned:
        return out + ["nothing was run, and there are tables"] * (folder / "tables").exists()
    said, found = conclude(folder / "tables", stored.order, shard=stored.shard, required=stored.required)
    if stored.notes != said.notes:
        out.append("the notes do not follow from the order")
    again = {one.feature: one for one in said.features}
    for one in stored.features:
        other = again.get(one.feature)
        if other is None:
            out.append(f"{one.feature} has no rows")
        elif other != one:
            key = next(k for k in type(one).model_fields if getattr(one, k) != getattr(other, k))
            out.append(f"{one.feature}: {key} is {getattr(one, key)}, its rows give {getattr(other, key)}")
    if len(again) != len(stored.features):
        out.append(f"{len(again)} features have rows, the result has {len(stored.features)}")
    for field, name in TABLES.items():
        table: pl.DataFrame = getattr(found, field)
        held = pl.read_parquet(folder / "tables" / f"{name}.parquet")
        if held.columns != table.columns or held.rows() != table.rows():
            out.append(f"tables/{name}.parquet does not follow from the rows")
    return out


def _unlike_asked(stored: Effects, folder: Path) -> list[str]:
    """What of the order and the demand is not what `order.json` and the manifest say."""
    order, out = stored.order, []
    if stored.order_sha256 != document_sha256(order):
        out.append("the order is not that of its hash")
    path = folder / ORDER
    if path.is_file() and InterventionOrder.read(json.loads(path.read_bytes()), where=ORDER) != order:
        out.append(f"{ORDER} is another order than that of the result")
    if not path.is_file() and not stored.planned:
        out.append(f"{ORDER} is missing")
    manifest = folder / "manifest.json"
    held = json.loads(manifest.read_bytes()) if manifest.is_file() else {}
    config: Mapping[str, Any] = held.get("config", {})
    asked = {"required": config.get("require", stored.required), "shard": config.get("shard", stored.shard)}
    out += [
        f"{name} is {getattr(stored, name)}, asked was {value}"
        for name, value in asked.items()
        if getattr(stored, name) != value
    ]
    if held and not config.get("merge") and not config.get("order"):
        limits = {name: config.get(f"max_{name}", value) for name, value in order.limits.model_dump().items()}
        if limits != order.limits.model_dump() or held["seed"] != order.seed:
            out.append(f"limits and seed are {order.limits} and {order.seed}, asked were {limits} and {held['seed']}")
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
