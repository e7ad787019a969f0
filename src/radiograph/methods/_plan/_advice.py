"""What could go wrong with a plan, how to lessen it, and what to type next."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final, Literal

from radiograph.core.sizes import binary_text
from radiograph.evidence import Record
from radiograph.methods._plan._ledger import Ledger
from radiograph.methods._plan._machine import GIB, Machine

Profile = Literal["local-cpu", "single-gpu", "cluster", "remote-api", "frontier-lab"]
SHARD_TARGETS: Final[dict[Profile, int]] = {
    "local-cpu": GIB // 2,
    "single-gpu": 4 * GIB,
    "cluster": 32 * GIB,
    "remote-api": GIB,
    "frontier-lab": 64 * GIB,
}
ROOM: Final[dict[Profile, int]] = {
    "local-cpu": 100 * GIB,
    "single-gpu": 2 * 1024 * GIB,
    "cluster": 100 * 1024 * GIB,
    "remote-api": 10 * 1024 * GIB,
    "frontier-lab": 10 * 1024 * 1024 * GIB,
}
"""Dense bytes that a profile is meant for; above the first three, `auto` takes the next."""
HUGE_MODEL: Final = 10**12
ROWS_PER_FEATURE: Final = 300
PLACING_ROWS: Final = 10
SHARDS_HELD: Final = 3
LARGE_FOR_CPU: Final = 10**9
_LEVELS = ("high", "medium", "low")


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

    ledger: Ledger
    machine: Machine
    profile: Profile
    chosen: bool
    """The user chose the profile."""
    dtype: str
    options: Mapping[str, str]
    """What was typed, flag to value, without --measure and --machine."""
    model: str | None
    data: str | None
    site: str | None

    def low(self, name: str) -> float:
        """The least that a quantity can be."""
        return self.ledger[name].low

    def text(self, name: str) -> str:
        """A quantity in words."""
        return self.ledger[name].text


def profile_of(dense: float, model_params: int) -> Profile:
    """The smallest profile that holds the data."""
    if model_params >= HUGE_MODEL or dense >= ROOM["cluster"]:
        return "frontier-lab"
    return "cluster" if dense >= ROOM["single-gpu"] else "single-gpu" if dense >= ROOM["local-cpu"] else "local-cpu"


def risks(now: Situation) -> tuple[Risk, ...]:
    """Every flag that is raised, the worst first."""
    harvested = (*_space(now), *_model(now), *_time(now)) if "harvest_time" in now.ledger else ()
    found = (*harvested, *_training(now), *_unknown(now))
    return tuple(sorted(found, key=lambda risk: _LEVELS.index(risk.level)))


def _space(now: Situation) -> Iterator[Risk]:
    dense, room = now.low("dense_bytes"), now.low("disk_free") * now.low("machines")
    if dense > room:
        yield Risk(
            code="dense_exceeds_disk",
            level="high",
            text=f"{now.text('dense_bytes')} of activations; {now.text('disk_free')} of disk are free",
            mitigation="store sparse records, fewer tokens or fewer sites; or harvest to a shared disk (--to)",
        )
    if now.chosen and dense >= ROOM[now.profile]:
        yield Risk(
            code="dense_exceeds_profile",
            level="high",
            text=f"{now.text('dense_bytes')}; {now.profile} is meant for less than {binary_text(ROOM[now.profile])}",
            mitigation="use --profile auto, or harvest in parts",
        )
    if SHARDS_HELD * now.low("shard_size") > now.low("machine_memory") / 2:
        yield Risk(
            code="shard_too_large",
            level="medium",
            text=f"{SHARDS_HELD} shards of {now.text('shard_size')} are held at once, in {now.text('machine_memory')}",
            mitigation="a smaller --target-shard-size",
        )
    if now.low("sparse_bytes") > dense:
        yield Risk(
            code="sparse_exceeds_dense",
            level="medium",
            text=f"records take {now.text('sparse_bytes')}, the rows themselves {now.text('dense_bytes')}",
            mitigation="store dense shards, or use a smaller k",
        )
    if now.dtype == "fp16":
        yield Risk(
            code="fp16_overflow",
            level="medium",
            text="float16 ends at 65,504, and residual streams have outliers beyond it",
            mitigation="use bf16; a harvest in fp16 stops at the first |x| above 60,000",
        )


def _model(now: Situation) -> Iterator[Risk]:
    model, machines = now.low("models") * now.low("model_memory"), now.low("machines")
    fast = now.machine.accelerated
    room = (now.low("gpu_memory") * now.low("gpus") if fast else now.low("machine_memory")) * machines
    if model > room:
        yield Risk(
            code="model_does_not_fit",
            level="high",
            text=f"running it takes {now.text('model_memory')}; a machine has "
            f"{now.text('gpu_memory' if fast else 'machine_memory')}{' an accelerator' if fast else ''}",
            mitigation="more or larger machines (--machines, --machine FILE), or a smaller --dtype",
        )
    elif not fast and now.ledger["harvest_memory"].low > room:
        yield Risk(
            code="memory_exceeds_ram",
            level="high",
            text=f"the harvest holds {now.text('harvest_memory')}; a machine has {now.text('machine_memory')}",
            mitigation="a smaller --target-shard-size",
        )
    if not fast and now.low("model_params") >= LARGE_FOR_CPU:
        yield Risk(
            code="no_accelerator",
            level="medium",
            text=f"a model of {now.text('model_params')} parameters would run on CPU cores",
            mitigation="a machine with an accelerator (--machine FILE), or a pilot first",
        )


def _training(now: Situation) -> Iterator[Risk]:
    fast = now.machine.accelerated
    place, code = ("gpu_memory", "memory_exceeds_vram") if fast else ("machine_memory", "memory_exceeds_ram")
    if now.low("training_memory") > now.low(place):
        yield Risk(
            code=code,
            level="high",
            text=f"training one dictionary takes {now.text('training_memory')}; there are {now.text(place)}",
            mitigation="a smaller --latent-dim or --train-batch-size, or a larger machine",
        )
    rows = now.low("train_tokens") / now.low("features")
    if rows < ROWS_PER_FEATURE:
        yield Risk(
            code="few_rows_per_feature",
            level="high" if rows < PLACING_ROWS else "medium",
            text=f"{rows:,.0f} rows a feature; rare features are seldom found with fewer than {ROWS_PER_FEATURE}",
            mitigation="more tokens, or a smaller --latent-dim",
        )


def _time(now: Situation) -> Iterator[Risk]:
    ledger = now.ledger
    writing, arithmetic = ledger["harvest_writing"], ledger["harvest_arithmetic"]
    if writing.high > arithmetic.low:
        sure = writing.low > arithmetic.high
        yield Risk(
            code="io_bound",
            level="medium" if sure else "low",
            text=f"writing takes {writing.text}, computing {arithmetic.text}",
            mitigation="a faster disk, a smaller --dtype, or sparse records",
        )
    causal = ledger["causal_time"]
    if causal.high > ledger["harvest_time"].high + ledger["training_time"].high:
        yield Risk(
            code="causal_dominates",
            level="medium",
            text=f"causal tests take {causal.text}, more than harvest and training together",
            mitigation="fewer --causal-features, --causal-prompts or --controls in a first round",
        )


def _unknown(now: Situation) -> Iterator[Risk]:
    if any(q.origin == "assumed" for q in now.ledger.values() if q.section == "machine"):
        yield Risk(
            code="rate_assumed",
            level="low",
            text="rates of the machine are assumed, so times are ranges",
            mitigation="plan with --measure, on the machine that will run it",
        )
    if not now.ledger.keys() & {"price_hour", "price_storage"}:
        yield Risk(
            code="price_unknown",
            level="low",
            text="no price was stated, so there is no cost",
            mitigation="state --price-hour and --price-storage",
        )


def actions(now: Situation, raised: tuple[Risk, ...]) -> tuple[Action, ...]:
    """Commands that can be pasted, in the order in which they help."""
    return tuple(_actions(now, {risk.code for risk in raised}))


def _actions(now: Situation, raised: set[str]) -> Iterator[Action]:
    model = now.model or "bundled:base"
    mine = "" if now.model else "; put your model, site and texts in the place of the bundled ones"
    site, data = now.site or "resid_post.1", now.data or "world:mixture#2000"
    harvest = ["harvest", model, "--site", site, "--data", data]
    if "rate_assumed" in raised:
        yield Action(
            id="measure",
            title="Measure this machine",
            why="a pilot of both stages, less than two minutes; every assumed rate becomes a measured one",
            command=_command("plan", *_flat(now.options), "--measure"),
        )
    if "harvest_time" in now.ledger:
        yield Action(
            id="pilot",
            title="Harvest a pilot shard",
            why=f"real speed, and a first look at the norms of the site{mine}",
            command=_command(*harvest, "--max-tokens", "20k", "--shard-size", "64MiB"),
        )
    if raised & {"dense_exceeds_disk", "dense_exceeds_profile", "io_bound"}:
        yield Action(
            id="sparse",
            title="Store sparse records instead of rows",
            why=f"{now.text('sparse_bytes')} instead of {now.text('dense_bytes')}{mine}",
            command=_command(*harvest, "--dictionary", "dictionary:bundled", "--records", "only"),
        )
    if raised & {"few_rows_per_feature", "memory_exceeds_ram", "memory_exceeds_vram"}:
        seen = int(now.low("train_tokens")) // ROWS_PER_FEATURE
        fewer = max(2, min(seen, int(now.low("features")) // 2))
        yield Action(
            id="smaller",
            title="Plan a smaller dictionary",
            why=f"{fewer:,} features: less memory, and more rows for each",
            command=_command("plan", *_flat({**now.options, "--latent-dim": str(fewer)})),
        )
    if raised & {"model_does_not_fit", "no_accelerator", "memory_exceeds_ram"}:
        yield Action(
            id="machine",
            title="Describe the machine that will run it",
            why="run there; its result.json is what --machine reads",
            command=_command("doctor"),
        )


def _flat(options: Mapping[str, str]) -> Iterator[str]:
    for flag, value in options.items():
        yield from (flag, value)


def _command(*words: str) -> str:
    return shlex.join(("radiograph", *words))
