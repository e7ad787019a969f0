"""Which weight components act as one part? Groups by description length, how stable they are, and what chance gives.

1. a component is active on a token where its importance exceeds `--active`; those active on a smaller share of tokens
   than `--least-rate` are left out. Rows are the tokens whose firings the harvest recorded
2. groups are merged pair by pair while the description of the activity gets shorter: MDL = Σ s (log2 k + α r), rate s,
   rank r. A pair may merge only if it is active together more often than independence explains, over tokens and over
   texts (`--level`); without that rare components would be merged for being rare, or for keeping to the same few texts
3. an ensemble: run 1 takes every row, each further run draws the texts anew, with replacement. Runs are compared by the
   Hamming distance after relabelling, beside the same with members permuted; each group by its best overlap in each run
4. null: each component's activity with its texts in another order, each turned round; by the same rule and by
   description length alone
Source: clustering of attribution-based parameter decomposition. Units: bits a token. The whole history is stored.
Refuses when: the harvest recorded nothing, or fewer than two components are active often enough (exit 4).
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from pydantic import Field

from radiograph.core import Config as Base
from radiograph.core import Context, Refusal, RunPath, UserError, derive
from radiograph.evidence.components import ComponentClusters, ComponentGroup, Spread

if TYPE_CHECKING:
    from radiograph.numerics.cofiring import Agreement, Groups
    from radiograph.store.components import ComponentStatistics

NULLS = 3
UNSTABLE = 0.5
"""Share of components on which runs differ above which the result says so."""
PERMUTED = 5
"""Permutations of each run that give the chance level of stability."""


class Config(Base):
    """Which harvest, and how groups are made."""

    harvest: RunPath
    """A run of `decompose harvest`."""
    active: float = Field(default=0.01, ge=0, lt=1)
    """A component is active where its importance exceeds this."""
    least_rate: float = Field(default=0.001, ge=0, lt=1)
    """Components active on a smaller share of tokens are left out."""
    alpha: float = Field(default=1.0, ge=0)
    """Bits that each rank of an active group costs."""
    choice: Literal["range", "sample", "greedy"] = "range"
    """The next pair: uniform among those near the cheapest, softmax of the cost, or the cheapest."""
    temperature: float = Field(default=0.01, gt=0)
    """Of --choice sample, in bits a token."""
    until: str = "mdl"
    """mdl: while the description gets shorter; or a number of groups."""
    merges: int | None = Field(default=None, ge=1)
    """Stop after so many merges."""
    level: float = Field(default=0.05, gt=0, le=1)
    """Chance that any two independent components may merge, over tokens and texts; 1: description length alone."""
    seeds: int = Field(default=10, ge=1)
    """Runs of the ensemble."""


def run(config: Config, ctx: Context) -> ComponentClusters:
    """Read, group, compare, write."""
    from radiograph.numerics.cofiring import agreement, group, shifted
    from radiograph.store.components import open_statistics

    until = _until(config.until)
    given = open_statistics(ctx.path(config.harvest, "harvest"))
    active, texts, kept = _activity(given, config)
    options: dict[str, Any] = {"alpha": config.alpha, "choice": config.choice, "temperature": config.temperature}
    options |= {"until": until, "steps": config.merges}
    runs: list[Groups] = []
    with ctx.measure("group"), ctx.progress.task("group", config.seeds + 2 * NULLS) as task:
        for number in range(config.seeds):
            seed = derive(ctx.seed, "cluster", number) % 2**32
            rows, own = (active, texts) if number == 0 else _drawn(active, texts, seed)
            runs.append(group(rows, level=config.level, texts=own, seed=seed, **options))
            task.advance()
        nulls: list[Groups] = []
        published: list[int] = []
        for number in range(NULLS):
            seed = derive(ctx.seed, "shuffled", number) % 2**32
            mixed = shifted(active, texts, seed)
            nulls.append(group(mixed, level=config.level, texts=texts, seed=seed, **options))
            task.advance()
            published.append(len(group(mixed, level=1.0, seed=seed, **options).history))
            task.advance()
    members = np.stack([found.member_of for found in runs])
    compared = agreement(members, seed=ctx.seed) if config.seeds > 1 else None
    apart = agreement(np.stack([found.member_of for found in nulls]), draws=1, seed=ctx.seed)
    _write(ctx, given, kept, runs)
    groups = _groups(given, kept, active, members, ctx.seed)
    first = runs[0]
    return ComponentClusters(
        harvest=ctx.label(config.harvest),
        harvest_seal=given.seal,
        decomposition_sha256=given.result.decomposition_sha256,
        model_sha256=given.result.model_sha256,
        rows=len(active),
        texts=len(np.unique(texts)),
        considered=len(kept),
        dropped=given.size - len(kept),
        active=config.active,
        least_rate=config.least_rate,
        alpha=config.alpha,
        choice=config.choice,
        level=config.level,
        until=config.until,
        runs=config.seeds,
        mdl_start=first.start,
        mdl_end=first.history[-1].mdl if first.history else first.start,
        merges=len(first.history),
        groups=groups,
        distance=None if compared is None else _spread(compared.distances),
        distance_chance=None if compared is None else _spread(compared.chance.ravel()),
        null_merges=tuple(len(found.history) for found in nulls),
        null_merges_published=tuple(published),
        null_distance=_spread(apart.distances),
        notes=_notes(config, until, first, len(groups), compared),
    )


def _until(text: str) -> int | None:
    if text == "mdl":
        return None
    if not text.isdigit() or int(text) < 1:
        raise UserError("--until", expected="mdl, or a number of groups", got=repr(text), code="bad_value")
    return int(text)


def _activity(given: ComponentStatistics, config: Config) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """[row, component] of those active often enough; the number of each row's group of texts; which components.

    Raises:
        Refusal: nothing was recorded, or nothing is active.
    """
    import polars as pl

    from radiograph.store.records import open_records

    if not given.result.recorded:
        raise Refusal(
            "no_records", "the harvest recorded no tokens, so what is active together is not known",
            fix="radiograph decompose harvest … --record-tokens 20000",
        )  # fmt: skip
    records = open_records(given.folder)
    rows = records.rows.select("row", "group_id").collect()
    count = rows.height
    values = records.values.filter(pl.col("value") > config.active).select("row", "feature").collect()
    feature = values["feature"].to_numpy()
    rate = np.bincount(feature, minlength=given.size) / max(1, count)
    kept = np.flatnonzero(rate >= config.least_rate) if config.least_rate else np.flatnonzero(rate > 0)
    if len(kept) < 2:
        raise Refusal(
            "too_few_components",
            f"{len(kept)} components are active often enough to be grouped",
            expected="2 or more",
            fix="record more tokens, or lower --least-rate or --active",
        )
    place = np.full(given.size, -1, np.int64)
    place[kept] = np.arange(len(kept))
    at = np.zeros(int(rows["row"].max()) + 1, np.int64)  # type: ignore[arg-type]
    at[rows["row"].to_numpy()] = np.arange(count)
    active = np.zeros((count, len(kept)), bool)
    own = place[feature] >= 0
    active[at[values["row"].to_numpy()[own]], place[feature[own]]] = True
    texts = rows["group_id"].rank("dense").to_numpy().astype(np.int64) - 1
    return active, texts, kept


def _drawn(active: np.ndarray, texts: np.ndarray, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Rows of as many texts, drawn with replacement, and the number of each row's text."""
    luck = np.random.default_rng(seed)
    order = np.argsort(texts, kind="stable")
    bounds = np.searchsorted(texts[order], np.arange(int(texts.max()) + 2))
    chosen = luck.integers(0, len(bounds) - 1, len(bounds) - 1)
    parts = [order[bounds[n] : bounds[n + 1]] for n in chosen.tolist()]
    return active[np.concatenate(parts)], np.repeat(np.arange(len(parts)), [len(part) for part in parts])


def _groups(
    given: ComponentStatistics, kept: np.ndarray, active: np.ndarray, members: np.ndarray, seed: int
) -> tuple[ComponentGroup, ...]:
    luck = np.random.default_rng(derive(seed, "stability") % 2**32)
    permuted = np.array([luck.permutation(run_) for run_ in members[1:] for _ in range(PERMUTED)])
    names, count = np.unique(members[0], return_counts=True)
    order = np.lexsort((names, -count))
    out: list[ComponentGroup] = []
    for name in names[order][count[order] > 1].tolist():
        own = members[0] == name
        addresses = [given.addresses[n] for n in kept[own].tolist()]
        out.append(
            ComponentGroup(
                name=given.addresses[int(kept[name])],
                members=tuple(addresses),
                weights=tuple(dict.fromkeys(address.split(":")[0] for address in addresses)),
                rate=float(active[:, own].any(axis=1).mean()),
                stability=_stability(own, members[1:]),
                stability_chance=_stability(own, permuted),
            )
        )
    return tuple(out)


def _stability(own: np.ndarray, others: np.ndarray) -> float | None:
    """Mean over runs of the largest Jaccard overlap of this group with one of theirs."""
    if not len(others):
        return None
    best: list[float] = []
    for run_ in others:
        theirs, size = np.unique(run_, return_counts=True)
        shared = np.bincount(np.searchsorted(theirs, run_[own]), minlength=len(theirs))
        best.append(float((shared / (size + own.sum() - shared)).max()))
    return float(np.mean(best))


def _spread(values: np.ndarray) -> Spread | None:
    if not len(values):
        return None
    low, high = np.quantile(values, [0.025, 0.975]).tolist()
    return Spread(mean=float(values.mean()), low=low, high=high, n=len(values))


def _write(ctx: Context, given: ComponentStatistics, kept: np.ndarray, runs: list[Groups]) -> None:
    names = [given.addresses[n] for n in kept.tolist()]
    columns: dict[str, list[Any]] = {"run": [], "component": [], "group": []}
    steps: dict[str, list[Any]] = {n: [] for n in ("run", "step", "left", "right", "cost", "groups", "mdl")}
    for number, found in enumerate(runs):
        columns["run"] += [number] * len(names)
        columns["component"] += names
        columns["group"] += [names[n] for n in found.member_of.tolist()]
        for step, merge in enumerate(found.history):
            line = (number, step, names[merge.left], names[merge.right], merge.cost, merge.groups, merge.mdl)
            for column, cell in zip(steps.values(), line, strict=True):
                column.append(cell)
    ctx.output.table("groups", columns)
    ctx.output.table("history", steps)


def _notes(
    config: Config, until: int | None, first: Groups, groups: int, compared: Agreement | None
) -> tuple[str, ...]:
    notes: list[str] = []
    left = len(set(first.member_of.tolist()))
    if until is not None and left > until and config.merges is None:
        notes.append(f"{left} groups are left: no other pair is active together more often than chance explains")
    if compared is not None and groups and compared.distances.mean() > UNSTABLE:
        notes.append("runs differ on most components: other texts would give other groups")
    if not groups:
        notes.append("no two components are described in fewer bits as one")
    return tuple(notes)


def recompute(result: dict[str, Any], folder: Path) -> list[str]:
    """Do groups, merges and lengths follow from the stored groupings and histories?"""
    import polars as pl

    stored = ComponentClusters.read(result)
    out: list[str] = []
    table = pl.read_parquet(folder / "tables" / "groups.parquet")
    first = table.filter(pl.col("run") == 0)
    found: dict[str, list[str]] = {}
    for component, name in first.select("component", "group").iter_rows():
        found.setdefault(name, []).append(component)
    large = {name: tuple(members) for name, members in found.items() if len(members) > 1}
    if large != {group.name: group.members for group in stored.groups}:
        out.append("the groups are not those of the table")
    if first.height != stored.considered:
        out.append(f"{stored.considered} components are stated, {first.height} are listed")
    history = pl.read_parquet(folder / "tables" / "history.parquet").filter(pl.col("run") == 0)
    end = stored.mdl_start + float(history["cost"].sum())
    if history.height != stored.merges or abs(end - stored.mdl_end) > 1e-9 * max(1.0, abs(end)):
        out.append(f"the history ends at {end:g} bits after {history.height} merges")
    if first.height - history.height != first["group"].n_unique():
        out.append("merges and groups do not add up")
    return out
