"""What this machine does with this model: a pilot harvest and a pilot training by the real verbs, as recorded steps.

1. a large product, a copy in memory, a file that is hashed, written and synced
2. `harvest` of the data that are planned (else of the small world) at growing length, until seconds are seen; what a
   row costs is the difference of the last two runs, what is left over is the overhead
3. `dictionary train` for 20 and for 40 steps on these rows: both hold the same validations, so their difference is 20
   steps. A dictionary too large for the machine, or for a minute, is measured smaller

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
from radiograph.methods._plan._asked import Asked
from radiograph.methods._plan._formulas import DENSE
from radiograph.methods._plan._machine import MachineFile, Rates, this_machine
from radiograph.methods._plan._source import from_harvest, shape_of

ROWS: Final = (4_000, 16_000, 64_000, 256_000, 1_000_000)
ENOUGH: Final = 4.0
"""Seconds of a harvest after which no longer one is run."""
STEPS: Final = (20, 40)
DISK_BYTES: Final = 64 * 2**20
COPY_BYTES: Final = 128 * 2**20
PRODUCT: Final = 1_536
MEMORY_SHARE: Final = 8
"""The pilot's dictionary takes at most this part of the memory."""
TRAINING_SECONDS: Final = 60.0
"""What all pilot steps together may take."""
WORLD: Final = "world:mixture#20000"


@dataclass(frozen=True, slots=True)
class _Pilot:
    """One harvest."""

    rows: int
    seconds: float
    context: float
    path: str
    source: str
    width: int


def measure(ctx: Context, model: str, want: Asked, folder: Path) -> MachineFile:
    """The machine with its rates."""
    machine = this_machine(folder)
    with ctx.measure("arithmetic"):
        flop_rate, bandwidth, disk = _product(ctx.device), _copy(), _disk(folder)
    loaded, process, config = _load(ctx, model, want)
    pilots = _harvests(ctx, config, want)
    per_row, once = _slope([(pilot.rows, pilot.seconds) for pilot in pilots])
    last = pilots[-1]
    per_token = 2 * config["run_params"] + 2 * config["d_model"] * last.context * config["layers"]
    size = _size(last.width, want, machine.memory, flop_rate)
    trained = [_train(ctx, last, want, size, steps) for steps in STEPS]
    per_step, start = _slope(list(zip(STEPS, trained, strict=True)))
    batch, k = want["train_batch_size"], min(want["top_k_active"], size)
    per_feature = 10 * last.width * size if want["activation"] in DENSE else (2 * size + 8 * k) * last.width
    rates = Rates(
        model=ctx.label(model),
        dictionary=f"{want['activation']}, {size:,} features of width {last.width:,}, batch {batch:,}",
        flop_rate=flop_rate,
        bandwidth=bandwidth,
        disk_rate=disk,
        harvest_rate=per_token / per_row,
        harvest_overhead=once + loaded,
        training_rate=batch * per_feature / per_step,
        training_overhead=start + loaded,
        process_memory=process,
        context=last.context,
    )
    return machine.model_copy(update={"rates": rates})


def _load(ctx: Context, model: str, want: Asked) -> tuple[float, int, dict[str, Any]]:
    """Seconds to load a model, bytes of the process beside it, and what its pilot runs."""
    from radiograph import models, organisms

    began = time.perf_counter()
    network = ctx.model(model, "measured").model
    seconds = time.perf_counter() - began
    process = _resident() - sum(p.numel() * p.element_size() for p in network.parameters())
    base = models.ModelRef.parse(model).base
    shape = shape_of(models.locate(base, base_dir=ctx.locate("."), resolve=organisms.bundled_path))
    config: dict[str, Any] = dict(want.fields) | {"model": model, "data": list(want.data or (WORLD,))}
    config["site"] = list(want.sites or (f"resid_post.{shape.layers - 1}",))
    return seconds, max(process, 0), from_harvest(config, shape) | {"harvest": config}


def _harvests(ctx: Context, config: dict[str, Any], want: Asked) -> list[_Pilot]:
    """The same harvest, longer each time; at least two of different length where the data allow it."""
    from radiograph.store import Bundle

    found: list[_Pilot] = []
    most = want["tokens"] if want.data else ROWS[-1]
    for rows in ROWS:
        step = ctx.step("harvest", **config["harvest"], max_tokens=min(rows, most))
        folder, result = ctx.output.folder(step.path), step.result
        timed = {part.name: part.seconds for part in Bundle(folder).manifest.steps}
        seconds = timed["tokenise"] + timed["harvest"]
        first = result.sources[0]
        found.append(
            _Pilot(result.rows, seconds, result.tokens_fed / result.windows, str(folder), first.source, first.width)
        )
        grown = len(found) > 1 and result.rows > found[-2].rows
        if (len(found) > 2 and seconds > ENOUGH) or (len(found) > 1 and not grown) or rows >= most:
            break
    return found[1:] if len(found) > 2 else found  # the first run pays for what is loaded on first use


def _train(ctx: Context, pilot: _Pilot, want: Asked, size: int, steps: int) -> float:
    """Seconds of a training of so many steps."""
    from radiograph.store import Bundle

    batch, activation = want["train_batch_size"], want["activation"]
    sparse = {"topk": "k", "batchtopk": "k", "jumprelu": "l0"}.get(activation)
    options: dict[str, Any] = {sparse: min(want["top_k_active"], size)} if sparse else {}
    step = ctx.step(
        "dictionary.train",
        activations=pilot.path,
        activation=activation,
        input=pilot.source,
        size=size,
        batch=batch,
        tokens=steps * batch,
        **options,
    )
    timed = {part.name: part.seconds for part in Bundle(ctx.output.folder(step.path)).manifest.steps}
    return timed["train"]


def _size(width: int, want: Asked, memory: int, flop_rate: float) -> int:
    """Features of the pilot's dictionary: those that are planned, where memory and a minute allow it."""
    size, batch = want["latent_dim"], want["train_batch_size"]

    def too_large() -> bool:
        seconds = sum(STEPS) * 2 * (2 * width * size * batch) / flop_rate
        return 32 * width * size > memory / MEMORY_SHARE or seconds > TRAINING_SECONDS

    while size > 4 * width and too_large():
        size //= 2
    return size


def _slope(points: list[tuple[int, float]]) -> tuple[float, float]:
    """Seconds per unit and seconds beside them, from the last two points."""
    few, short = points[-2] if len(points) > 1 else (0, 0.0)
    many, long = points[-1]
    if many <= few or long <= short:
        return max(long, 1e-3) / many, 0.0
    slope = (long - short) / (many - few)
    return slope, max(0.0, long - many * slope)


def _product(device: str) -> float:
    """FLOP/s of a large float32 product, the best of five."""
    import torch

    left, right = torch.rand(2, PRODUCT, PRODUCT, device=device)

    def run() -> None:
        # Reading one number waits for an accelerator.
        (left @ right)[0, 0].item()

    run()
    return 2 * PRODUCT**3 / min(_timed(run) for _ in range(5))


def _copy() -> float:
    """Bytes per second, read and written, of the better of three copies."""
    import numpy as np

    data, target = np.ones(COPY_BYTES // 8), np.empty(COPY_BYTES // 8)
    np.copyto(target, data)
    return 2 * COPY_BYTES / min(_timed(lambda: np.copyto(target, data)) for _ in range(3))


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

        return DISK_BYTES / _timed(write)


def _resident() -> int:
    """Bytes of this process in memory."""
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
    except OSError:
        import resource

        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return pages * os.sysconf("SC_PAGE_SIZE")


def _timed(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began
