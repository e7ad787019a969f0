"""What this machine does with this model: a pilot harvest and a pilot training by the real verbs, as recorded steps.

1. `harvest` of the data that are planned (else of the small world) at growing length, until seconds are seen; what a
   row costs is the difference of the last two runs; what the first, which is cold, costs beside its rows is overhead
2. `dictionary train` on these rows for 20 steps, cold, then for 20 and for 40, or more where steps are short: all hold
   the same validations, so two runs differ by steps alone. A dictionary too large for the machine, or for a minute, is
   measured smaller
3. sparse records with that dictionary: bytes of an entry
4. a large product, a copy in memory, a file that is hashed, written and synced

Rates are those of the plan's own formulas, so that a plan of the same kind gives back the time that was seen. What the
steps leave stays in the bundle, under `steps`.
"""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

from radiograph.core import Context
from radiograph.methods._plan._asked import VALUE_BYTES, Asked
from radiograph.methods._plan._formulas import DENSE, VALIDATION_ROWS, VALIDATIONS
from radiograph.methods._plan._machine import MachineFile, Rates, this_machine
from radiograph.methods._plan._source import from_harvest, shape_of

ROWS: Final = (4_000, 16_000, 64_000, 256_000, 1_000_000)
ENOUGH: Final = 4.0
"""Seconds between a short pilot and a long one after which no longer one is run."""
STEPS: Final = (20, 40, 160, 640)
"""Twenty or more, so that every run holds the same number of validations; more where a step is too short to see."""
DISK_BYTES: Final = 64 * 2**20
COPY_BYTES: Final = 128 * 2**20
PRODUCT: Final = 1_536
MEMORY_SHARE: Final = 8
"""The pilot's dictionary takes at most this part of the memory."""
TRAINING_SECONDS: Final = 60.0
"""What all pilot steps together may take."""
STARTING: Final = 3.0
"""Seconds that a process takes to begin, at most."""
WORLD: Final = "world:mixture#20000"


@dataclass(frozen=True, slots=True)
class _Cost:
    """Of something that was done."""

    seconds: float
    cpu: float
    """Processor seconds, of all threads."""

    def per(self, other: _Cost, amount: int) -> _Cost:
        """What one more costs, where `other` was the cost of `amount` fewer."""
        wall, cpu = self.seconds - other.seconds, self.cpu - other.cpu
        return _Cost(max(wall, 0.01 * self.seconds) / amount, max(cpu, 0.01 * self.cpu) / amount)

    def beside(self, one: _Cost, amount: float) -> _Cost:
        """What is left over, where each of `amount` costs as much as `one`."""
        return _Cost(max(0.0, self.seconds - amount * one.seconds), max(0.0, self.cpu - amount * one.cpu))

    def __add__(self, other: _Cost) -> _Cost:
        return _Cost(self.seconds + other.seconds, self.cpu + other.cpu)


@dataclass(frozen=True, slots=True)
class _Harvest:
    """One pilot harvest."""

    rows: int
    cost: _Cost
    context: float
    path: str
    source: str
    width: int


def measure(ctx: Context, model: str, want: Asked, folder: Path) -> MachineFile:
    """The machine with its rates."""
    machine = this_machine(folder)
    loading, process, config = _load(ctx, model, want)
    cold, few, many = _harvests(ctx, config, want)
    beside = max(process, _peak() - _held(config, want, many))
    with ctx.measure("arithmetic"):
        flop_rate, bandwidth, disk = _product(ctx.device), _copy(), _disk(folder)
    per_row = many.cost.per(few.cost, max(1, many.rows - few.rows))
    per_token = 2 * config["run_params"] + 2 * config["d_model"] * many.context * config["layers"]
    size = _size(many.width, want, machine.memory, flop_rate)
    first, per_step, trained = _trainings(ctx, many, want, size)
    batch, k = want["train_batch_size"], min(want["top_k_active"], size)
    per_feature = 10 * many.width * size if want["activation"] in DENSE else (2 * size + 8 * k) * many.width
    # The formula of a training counts validation by itself, as if it were steps.
    held = VALIDATIONS * min(config["validation"] * many.rows, VALIDATION_ROWS)
    validated = held * 2 * many.width * size / (batch * per_feature)
    harvest = cold.cost.beside(per_row, cold.rows) + loading
    training = first.beside(per_step, STEPS[0] + validated) + loading
    rates = Rates(
        model=ctx.label(model),
        dictionary=f"{want['activation']}, {size:,} features of width {many.width:,}, batch {batch:,}",
        flop_rate=flop_rate,
        bandwidth=bandwidth,
        disk_rate=disk,
        harvest_rate=per_token / per_row.seconds,
        harvest_overhead=harvest.seconds,
        harvest_cores=per_row.cpu / per_row.seconds,
        harvest_overhead_cpu=harvest.cpu,
        training_rate=batch * per_feature / per_step.seconds,
        training_overhead=training.seconds,
        training_cores=per_step.cpu / per_step.seconds,
        training_overhead_cpu=training.cpu,
        process_memory=process,
        harvest_process=beside,
        entry_bytes=_entry(ctx, config, trained),
        context=many.context,
    )
    return machine.model_copy(update={"rates": rates})


def _load(ctx: Context, model: str, want: Asked) -> tuple[_Cost, int, dict[str, Any]]:
    """What it costs to load a model, bytes of the process beside it, and what its pilot runs."""
    from radiograph import models, organisms

    begun = min(time.process_time(), STARTING)  # so far this process has only begun, unless it serves
    cost, loaded = _timed(lambda: ctx.model(model, "measured"))
    process = _resident() - sum(p.numel() * p.element_size() for p in loaded.model.parameters())
    base = models.ModelRef.parse(model).base
    shape = shape_of(models.locate(base, base_dir=ctx.locate("."), resolve=organisms.bundled_path))
    config: dict[str, Any] = dict(want.fields) | {"model": model, "data": list(want.data or (WORLD,))}
    config["site"] = list(want.sites or (f"resid_post.{shape.layers - 1}",))
    return cost + _Cost(begun, begun), max(process, 0), from_harvest(config, shape) | {"harvest": config}


def _harvests(ctx: Context, config: dict[str, Any], want: Asked) -> tuple[_Harvest, _Harvest, _Harvest]:
    """The same harvest, longer each time: the first, which pays for first use, and the last two."""
    found: list[_Harvest] = []
    most = want["tokens"] if want.data else ROWS[-1]
    for rows in ROWS:
        cost, step = _timed(lambda rows=rows: ctx.step("harvest", **config["harvest"], max_tokens=min(rows, most)))
        result, folder = step.result, str(ctx.output.folder(step.path))
        first, context = result.sources[0], result.tokens_fed / result.windows
        found.append(_Harvest(result.rows, cost, context, folder, first.source, first.width))
        ended = len(found) > 1 and result.rows == found[-2].rows
        if ended or (len(found) > 2 and cost.seconds - found[0].cost.seconds > ENOUGH):
            break
    return found[0], found[-2], found[-1]


def _held(config: dict[str, Any], want: Asked, pilot: _Harvest) -> int:
    """Bytes of model, batch and shards in a pilot, by the plan's formula."""
    item, batch = VALUE_BYTES[config["model_dtype"]], want["batch_tokens"]
    dense = pilot.rows * (config["row_width"] * VALUE_BYTES[config["dtype"]] + 10)
    return int(item * (config["model_params"] + 12 * batch * config["d_model"]) + 3 * dense)


def _entry(ctx: Context, config: dict[str, Any], trained: Any) -> float | None:
    """Bytes of an entry of sparse records, of the dictionary that the last training left."""
    folder = ctx.output.folder(trained.path) / "dictionary"
    if not folder.is_dir():
        return None
    options = config["harvest"] | {"site": [trained.result.sites[0]], "max_tokens": ROWS[1]}
    stored = ctx.step("harvest", **options, dictionary=str(folder), records="only").result.records
    return stored.bytes / max(1, stored.entries)


def _trainings(ctx: Context, pilot: _Harvest, want: Asked, size: int) -> tuple[_Cost, _Cost, Any]:
    """What a cold training of the fewest steps costs, what a step costs, and the step of the last training."""
    cold, _ = _train(ctx, pilot, want, size, STEPS[0])
    short, last = _train(ctx, pilot, want, size, STEPS[0])
    per_step = _Cost(short.seconds / STEPS[0], short.cpu / STEPS[0])
    for steps in STEPS[1:]:
        long, last = _train(ctx, pilot, want, size, steps)
        per_step = long.per(short, steps - STEPS[0])
        if long.seconds - short.seconds > ENOUGH:
            break
    return cold, per_step, last


def _train(ctx: Context, pilot: _Harvest, want: Asked, size: int, steps: int) -> tuple[_Cost, Any]:
    """What a training of so many steps costs, and the step."""
    batch, activation = want["train_batch_size"], want["activation"]
    sparse = {"topk": "k", "batchtopk": "k", "jumprelu": "l0"}.get(activation)
    options: dict[str, Any] = {sparse: min(want["top_k_active"], size)} if sparse else {}
    options |= {"activations": pilot.path, "activation": activation, "input": pilot.source}
    return _timed(lambda: ctx.step("dictionary.train", **options, size=size, batch=batch, tokens=steps * batch))


def _size(width: int, want: Asked, memory: int, flop_rate: float) -> int:
    """Features of the pilot's dictionary: those that are planned, where memory and a minute allow it."""
    size, batch = want["latent_dim"], want["train_batch_size"]

    def too_large() -> bool:
        seconds = (2 * STEPS[0] + STEPS[1]) * 2 * (2 * width * size * batch) / flop_rate
        return 32 * width * size > memory / MEMORY_SHARE or seconds > TRAINING_SECONDS

    while size > 4 * width and too_large():
        size //= 2
    return size


def _product(device: str) -> float:
    """FLOP/s of a large float32 product, the best of five."""
    import torch

    left, right = torch.rand(2, PRODUCT, PRODUCT, device=device)

    def run() -> None:
        # Reading one number waits for an accelerator.
        (left @ right)[0, 0].item()

    run()
    return 2 * PRODUCT**3 / min(_timed(run)[0].seconds for _ in range(5))


def _copy() -> float:
    """Bytes per second, read and written, of the better of three copies."""
    import numpy as np

    data, target = np.ones(COPY_BYTES // 8), np.empty(COPY_BYTES // 8)
    np.copyto(target, data)
    return 2 * COPY_BYTES / min(_timed(lambda: np.copyto(target, data))[0].seconds for _ in range(3))


def _disk(folder: Path) -> float:
    """Bytes per second, hashed, written and synced as shards are."""
    data = os.urandom(DISK_BYTES)
    with TemporaryDirectory(dir=folder, prefix=".plan-") as place:

        def write() -> None:
            hashlib.sha256(data).digest()
            with (Path(place) / "shard").open("wb") as handle:
                handle.write(data)
                handle.flush()
                os.fsync(handle.fileno())

        return DISK_BYTES / _timed(write)[0].seconds


def _resident() -> int:
    """Bytes of this process in memory."""
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
    except OSError:
        return _peak()
    return pages * os.sysconf("SC_PAGE_SIZE")


def _peak() -> int:
    """The most bytes that this process has had in memory."""
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def _timed(work: Callable[[], Any]) -> tuple[_Cost, Any]:
    wall, cpu = time.perf_counter(), time.process_time()
    made = work()
    return _Cost(time.perf_counter() - wall, time.process_time() - cpu), made
