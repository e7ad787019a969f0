"""What `verify` derives again from the losses of a run: the whole record but what changes have in common."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np

from radiograph.core import Site
from radiograph.evidence.probes.interference import AdapterOverlap, Interference, InterferenceAdapter, InterferenceCell
from radiograph.methods.probe._interference import compare, judge
from radiograph.methods.probe._interference.beside import of_table, ranks
from radiograph.methods.probe._interference.losses import Loss, Losses
from radiograph.numerics.interference import RESAMPLES
from radiograph.store import Bundle

ROUNDED = 1e-9
UNIT = "nats a token"


def problems(document: dict[str, Any], folder: Path) -> list[str]:
    """Differences between the result and what its tables say."""
    import polars

    result, manifest = Interference.read(document), Bundle(folder).manifest
    config = manifest.config
    names = [adapter.name for adapter in result.adapters]
    if (result.mode == "losses") != (config["losses"] is not None):
        return ["/mode is not that of the configuration"]
    if result.mode == "losses":
        read, said = _given(polars.read_parquet(folder / "tables/losses.parquet"), names, result)
        again = compare.of_losses(read, config["losses"], config["allow_missing"])
        return said + _unlike(again, result)
    table = polars.read_parquet(folder / "tables/rows.parquet")
    said = _whole(table, names, config)
    if said:
        return said
    rows = rows_of(table, names)
    facts, cells = judge.of_rows(names, rows, manifest.seed)
    cells = _beside(cells, result, folder)
    files = dict(one.partition("=")[::2] for one in config["eval_"])
    adapters = tuple(
        adapter.model_copy(update=_alone(facts[adapter.name], rows[adapter.name], adapter, files[adapter.name]))
        for adapter in result.adapters
    )
    asked = polars.read_parquet(folder / "tables/evaluations.parquet")
    known = (
        result.evaluations.get("known", 0) if config["known"] is not None else asked.height - asked["key"].n_unique()
    )
    evaluations = {"run": asked.height - known, "known": known}
    again = result.model_copy(
        update={
            "source": config["base"],
            "combine": config["combine"],
            "density": config["density"] if config["combine"] in ("ties", "dare_ties") else None,
            "unit": UNIT,
            "adapters": adapters,
            "cells": tuple(cells),
            "worst_pair": judge.worst_of(cells),
            "bands": judge.counted(cells),
            "not_measured": judge.gaps(cells),
            "ranks": ranks(cells),
            "evaluations": evaluations,
            "seed": manifest.seed,
            "resamples": RESAMPLES,
            "allow_missing": config["allow_missing"],
            "dictionary": result.dictionary if config["dictionary"] is not None else None,
            "site": result.site if config["site"] is None else str(Site.parse(config["site"])),
        }
    )
    return _unlike(again, result)


def _beside(cells: Sequence[InterferenceCell], result: Interference, folder: Path) -> list[InterferenceCell]:
    """Cells with what their changes have in common: of weights by the table of matrices, of activations as stated."""
    import polars

    path = folder / "tables/overlap.parquet"
    table = polars.read_parquet(path) if path.is_file() else None
    modules = {adapter.name: adapter.modules for adapter in result.adapters}
    stated = {(cell.target, cell.added): cell.overlap for cell in result.cells}
    found: list[InterferenceCell] = []
    for cell in cells:
        own = stated.get((cell.target, cell.added)) or AdapterOverlap.model_validate(dict.fromkeys(NONE, 0))
        if table is not None:
            own = own.model_copy(update=of_table(table, cell.target, cell.added, modules))
        found.append(cell.model_copy(update={"overlap": own}))
    return found


NONE = ("modules", "cosine", "columns", "columns_chance", "rows", "rows_chance", "conflict", "conflict_n")


def _alone(fact: judge.Alone, rows: judge.RowLosses, adapter: InterferenceAdapter, file: str) -> dict[str, Any]:
    """What the rows say of an adapter alone."""
    interval = None if fact.interval is None else (fact.interval.low, fact.interval.high)
    name = adapter.data if adapter.data is not None and Path(adapter.data).name == Path(file).name else Path(file).name
    return {
        "loss": fact.loss,
        "base_loss": fact.base,
        "gain": fact.gain,
        "gain_interval": interval,
        "inert": fact.inert,
        "rows": len(rows.alone),
        "groups": fact.groups,
        "data": name,
    }


def _unlike(again: Interference, stored: Interference) -> list[str]:
    """Parts of the record that do not follow, pair by pair."""
    found: list[str] = []
    ours, theirs = again.model_dump(mode="json"), stored.model_dump(mode="json")
    for key in theirs:
        if _close(ours[key], theirs[key]):
            continue
        if key == "cells" and len(ours[key]) == len(theirs[key]):
            pairs = [(a, b) for a, b in zip(ours[key], theirs[key], strict=True) if not _close(a, b)]
            found += [f"{b['target']!r} with {b['added']!r} does not follow from the tables" for _, b in pairs]
        elif key == "adapters" and len(ours[key]) == len(theirs[key]):
            pairs = [(a, b) for a, b in zip(ours[key], theirs[key], strict=True) if not _close(a, b)]
            found += [f"what {b['name']!r} does alone does not follow from the tables" for _, b in pairs]
        else:
            found.append(f"{WORDS.get(key, f'/{key}')} does not follow from the tables")
    return found


WORDS = {"worst_pair": "worst_pair", "bands": "bands and gaps", "cells": "the list of pairs"}


def _whole(table: Any, names: Sequence[str], config: dict[str, Any]) -> list[str]:
    """Rows that are missing, doubled, or not the same under every condition."""
    if names != [one.partition("=")[0] for one in config["adapter"]]:
        return ["/adapters are not those that were given"]
    repeats = config["repeats"] if config["combine"] == "dare_ties" else 1
    for target in names:
        own = table.filter(table["target"] == target)
        parts = own.partition_by("condition", "added", "repeat", as_dict=True, maintain_order=True)
        others = [name for name in names if name != target]
        wanted = {("base", "", 0), ("alone", "", 0)} | {("both", o, r) for o in others for r in range(repeats)}
        if set(parts) != wanted:
            return [f"tables/rows.parquet has not every evaluation of {target!r} once"]
        first = parts["base", "", 0].select("row", "line", "group", "tokens")
        if first["row"].to_list() != list(range(first.height)):
            return [f"tables/rows.parquet has not every row of {target!r} once"]
        if any(not part.select("row", "line", "group", "tokens").equals(first) for part in parts.values()):
            return [f"the rows of {target!r} are not the same under every condition"]
    strange = set(table["target"].to_list()) - set(names)
    return [f"tables/rows.parquet has rows of {sorted(strange)[0]!r}, which is no adapter"] if strange else []


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


def _given(table: Any, names: Sequence[str], result: Interference) -> tuple[Losses, list[str]]:
    by: dict[str, dict[Any, Loss]] = {"alone": {}, "both": {}, "base": {}}
    said: list[str] = []
    for row in table.iter_rows(named=True):
        key = (row["target"], row["added"]) if row["condition"] == "both" else row["target"]
        other = {"alone": row["target"], "both": row["added"], "base": ""}[row["condition"]]
        if key in by[row["condition"]] or row["added"] != other or not {row["target"], other} <= {*names, ""}:
            said.append(f"tables/losses.parquet: {row['target']!r}, {row['condition']}, stands twice, or is of no pair")
        by[row["condition"]][key] = Loss(row["loss"], row["sd"], row["n"])
    return Losses(result.source, tuple(names), by["alone"], by["both"], by["base"]), said


def _close(one: Any, two: Any) -> bool:
    """Equal, numbers to what sums in another order may change."""
    if isinstance(one, dict) and isinstance(two, dict):
        a, b = cast("dict[str, Any]", one), cast("dict[str, Any]", two)
        return a.keys() == b.keys() and all(_close(a[key], b[key]) for key in a)
    if isinstance(one, list) and isinstance(two, list):
        c, d = cast("list[Any]", one), cast("list[Any]", two)
        return len(c) == len(d) and all(map(_close, c, d))
    if isinstance(one, float) and isinstance(two, float):
        return abs(one - two) <= ROUNDED * max(1.0, abs(one))
    return type(one) is type(two) and one == two
