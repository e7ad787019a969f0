"""What could go wrong with a plan, how to lessen it, and what to type next."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final, Literal

from radiograph.core.sizes import binary_text, bytes_text, count_text
from radiograph.evidence import Record
from radiograph.methods._plan._formulas import Ask
from radiograph.methods._plan._machine import GIB, Machine
from radiograph.methods._plan._quantity import Quantity

Profile = Literal["local-cpu", "single-gpu", "cluster", "remote-api", "frontier-lab"]
SHARD_TARGETS: Final[dict[Profile, int]] = {
    "local-cpu": GIB // 2,
    "single-gpu": 4 * GIB,
    "cluster": 32 * GIB,
    "remote-api": GIB,
    "frontier-lab": 64 * GIB,
}
ROOM: Final[dict[Profile, int]] = {"local-cpu": 100 * GIB, "single-gpu": 2048 * GIB, "cluster": 102_400 * GIB}
"""Dense bytes at which the next profile begins."""
HUGE_MODEL: Final = 10**12
ROWS_PER_FEATURE: Final = 300
PLACING_ROWS: Final = 10
SHARDS_HELD: Final = 3
LARGE_FOR_CPU: Final = 10**9


class Risk(Record):
    """Something that may stop or spoil the run."""

    code: str
    level: Literal["high", "medium", "low"]
    text: str
    mitigation: str


class Action(Record):
    """Something to type next."""

    id: str
    title: str
    why: str
    command: str


@dataclass(frozen=True, slots=True)
class Situation:
    """All that risks and actions are derived from."""

    ask: Ask
    machine: Machine
    profile: Profile
    chosen: bool
    """The user chose the profile."""
    planned: Mapping[str, Quantity]
    model: str | None
    data: str | None
    site: str | None


def profile_of(dense: float, model_params: int) -> Profile:
    """The smallest profile that holds the data."""
    if model_params >= HUGE_MODEL or dense >= ROOM["cluster"]:
        return "frontier-lab"
    return "cluster" if dense >= ROOM["single-gpu"] else "single-gpu" if dense >= ROOM["local-cpu"] else "local-cpu"


def risks(now: Situation) -> tuple[Risk, ...]:
    """Every flag that is raised, the worst first."""
    order = ("high", "medium", "low")
    harvested = (*_space(now), *_time(now)) if "dense_bytes" in now.planned else ()
    found = (*harvested, *_memory(now), *_rows(now), *_unknown(now))
    return tuple(sorted(found, key=lambda risk: order.index(risk.level)))


def _space(now: Situation) -> Iterator[Risk]:
    dense, sparse = now.planned["dense_bytes"].low, now.planned["sparse_bytes"].low
    free = now.machine.disk_free * now.ask.machines
    if dense > free:
        text = f"{bytes_text(dense)} of activations, {bytes_text(free)} of disk free"
        yield Risk(
            code="dense_exceeds_disk", level="high", text=text, mitigation="store sparse records, or fewer tokens"
        )
    if now.chosen and dense >= ROOM.get(now.profile, float("inf")):
        text = f"{bytes_text(dense)} is more than the profile {now.profile} is meant for"
        yield Risk(code="dense_exceeds_profile", level="medium", text=text, mitigation="use --profile auto")
    if sparse > dense:
        text = f"{count_text(now.ask.k)} entries a row take more than the row: {bytes_text(sparse)}"
        yield Risk(
            code="sparse_exceeds_dense", level="medium", text=text, mitigation="store dense shards, or a smaller k"
        )
    if SHARDS_HELD * now.ask.shard_bytes > now.machine.memory / 2:
        text = f"{SHARDS_HELD} shards of {binary_text(now.ask.shard_bytes)} are held at a time"
        yield Risk(code="shard_too_large", level="medium", text=text, mitigation="use a smaller --target-shard-size")
    if now.ask.dtype == "fp16":
        text = "float16 ends at 65,504, and residual streams have larger outliers"
        yield Risk(
            code="fp16_overflow", level="medium", text=text, mitigation="use bf16; the harvest stops at |x| > 60,000"
        )


def _memory(now: Situation) -> Iterator[Risk]:
    training = now.planned["training_memory"].low
    model = now.planned["model_memory"].low if "model_memory" in now.planned else 0
    room, place = (now.machine.gpu_memory, "vram") if now.machine.accelerated else (now.machine.memory, "ram")
    if model > room * now.ask.machines:
        text = f"the model needs {bytes_text(model)}, there are {bytes_text(room * now.ask.machines)}"
        yield Risk(
            code="model_does_not_fit", level="high", text=text, mitigation="more or larger machines, or --dtype bf16"
        )
    if training > room:
        text = f"one dictionary needs {bytes_text(training)} to train, there are {bytes_text(room)}"
        yield Risk(
            code=f"memory_exceeds_{place}",
            level="high",
            text=text,
            mitigation="a smaller --latent-dim, or a larger machine",
        )
    if not now.machine.accelerated and now.ask.model_params >= LARGE_FOR_CPU:
        text = f"a model of {count_text(now.ask.model_params)} parameters runs on CPU cores"
        yield Risk(
            code="no_accelerator", level="medium", text=text, mitigation="a machine with a GPU, or a pilot first"
        )


def _rows(now: Situation) -> Iterator[Risk]:
    rows = now.ask.tokens / now.ask.latent_dim
    if rows < ROWS_PER_FEATURE:
        text = f"{rows:,.0f} rows a feature; {ROWS_PER_FEATURE} are what a sparse feature needs to be seen"
        level = "high" if rows < PLACING_ROWS else "medium"
        yield Risk(
            code="few_rows_per_feature", level=level, text=text, mitigation="more tokens or a smaller --latent-dim"
        )


def _time(now: Situation) -> Iterator[Risk]:
    harvest, training, causal = (now.planned[f"{name}_hours"] for name in ("harvest", "training", "causal"))
    disk = now.machine.disk.value
    written = now.planned["dense_bytes"].low / (disk if isinstance(disk, float | int) else disk[0]) / 3600
    if written / now.ask.machines >= harvest.high * 0.999:
        text = "the disk, not the model, decides how long the harvest takes"
        yield Risk(code="io_bound", level="low", text=text, mitigation="a faster disk, bf16, or sparse records")
    if causal.high > harvest.high + training.high:
        text = f"causal tests take {causal.text}, more than harvest and training together"
        yield Risk(
            code="causal_dominates",
            level="medium",
            text=text,
            mitigation="fewer --causal-features or --controls for a first look",
        )


def _unknown(now: Situation) -> Iterator[Risk]:
    if "assumed" in (now.machine.harvest.origin, now.machine.train.origin):
        text = "no rate of this machine was measured: times are ranges"
        yield Risk(code="rate_assumed", level="low", text=text, mitigation="run the plan with --measure MODEL")
    if not any(name.endswith("_cost") for name in now.planned):
        yield Risk(
            code="price_unknown",
            level="low",
            text="no price was stated",
            mitigation="state --price-hour and --price-storage",
        )


def actions(now: Situation) -> tuple[Action, ...]:
    """Commands in the order in which they help; words in capitals are the reader's to fill in."""
    return tuple(_actions(now))


def _actions(now: Situation) -> Iterator[Action]:
    model, data, site = now.model or "MODEL", now.data or "DATA", now.site or "SITE"
    ask = now.ask
    same = (
        f"radiograph plan --model-params {ask.model_params} --tokens {ask.tokens} --d-model {ask.d_model} "
        f"--selected-layers {ask.sites} --latent-dim {ask.latent_dim} --dtype {ask.dtype}"
    )
    harvest = f"radiograph harvest {_quoted(model)} --site {_quoted(site)} --data {_quoted(data)}"
    if "dense_bytes" in now.planned:
        yield Action(
            id="pilot",
            title="Harvest a pilot shard",
            why="real text, real speed, and the first look at the norms of the site",
            command=f"{harvest} --max-tokens 100k",
        )
    if now.machine.harvest.origin == "assumed":
        yield Action(
            id="measure",
            title="Measure this machine",
            why="turns every assumed rate into a measured one, in less than a minute",
            command=f"{same} --measure {_quoted(model)}",
        )
    raised = {risk.code for risk in risks(now)}
    if raised & {"dense_exceeds_disk", "io_bound"}:
        yield Action(
            id="sparse",
            title="Store sparse records instead of rows",
            why=f"{now.planned['sparse_bytes'].text} instead of {now.planned['dense_bytes'].text}",
            command=f"{harvest} --dictionary DICTIONARY --records only",
        )
    if raised & {"few_rows_per_feature", "memory_exceeds_ram", "memory_exceeds_vram"}:
        fewer = max(2, min(ask.tokens // ROWS_PER_FEATURE, ask.latent_dim // 2))
        yield Action(
            id="smaller",
            title="Plan a smaller dictionary",
            why="features that are seen too seldom end dead or arbitrary",
            command=same.replace(f"--latent-dim {ask.latent_dim}", f"--latent-dim {fewer}"),
        )


def _quoted(text: str) -> str:
    """Safe to paste into a shell."""
    return shlex.quote(text)
