"""What this machine does with this model: a short harvest, a shard on disk, and training steps.

Each is run at two lengths, so that what a stage costs once and what it costs per token or step come apart. Takes well
under a minute. Tokens are drawn at random: speed does not depend on what a text says.
"""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from radiograph.core import Progress, derive
from radiograph.methods import _machine as here
from radiograph.methods._plan._formulas import Ask, parameters, training_flops
from radiograph.methods._plan._machine import MachineFile

if TYPE_CHECKING:
    from radiograph.models import LanguageModel

SECONDS = 4.0
"""A harvest is made longer until it takes this long."""
TOKENS = 16_384
MOST_TOKENS = 2_000_000
STEPS = (20, 60)
"""Both hold the twenty validations of a run."""
MEMORY_SHARE = 8
DISK_BYTES = 64 * 2**20


def measured_here(model: LanguageModel, name: str, ask: Ask, folder: Path, progress: Progress) -> MachineFile:
    """Rates of this machine with this model, for a dictionary like that of `ask` where it fits."""
    with progress.task("measuring the harvest"):
        per_token, once, rows = _harvest(model, ask)
    with progress.task("measuring the disk"):
        disk = _disk(folder)
    with progress.task("measuring training"):
        per_step, start, trained = _training(rows, ask)
    layers, width = model.n_layers, model.width
    length = min(ask.context, model.context_length)
    flops = 2 * _block_parameters(model) + 2 * width * length * layers
    moved = 28 * parameters(trained) + 16 * trained.batch * trained.k * trained.d_model
    return MachineFile(
        memory=min(here.memory_total(), here.memory_limit() or here.memory_total()),
        disk_free=shutil.disk_usage(folder).free,
        gpu_memory=_gpu_memory(),
        model=name,
        harvest_flops=flops / per_token,
        harvest_tokens=1 / per_token,
        harvest_seconds=once,
        train_flops=training_flops(trained) * trained.batch / per_step,
        train_bandwidth=moved / per_step,
        train_seconds=start,
        disk_rate=disk,
    )


def _harvest(model: LanguageModel, ask: Ask) -> tuple[float, float, Any]:
    """Seconds per token, seconds beside them, and the activations of the longest run."""
    from radiograph.harvest import Text, harvest

    length = min(ask.context, model.context_length)
    low = 2 if model.vocab_size > 8 else 0
    ids = np.random.default_rng(derive(0, "plan", "tokens")).integers(low, model.vocab_size, MOST_TOKENS)
    found: Any = None

    def run(count: int) -> None:
        nonlocal found
        parts = (ids[i : i + length] for i in range(0, count, length))
        texts = [Text(str(i), "", str(i), tokens=tuple(map(int, part))) for i, part in enumerate(parts)]
        found = harvest(model, texts, [f"resid_post.{model.n_layers - 1}"], length=length, keep="all")

    run(length)
    points = [(TOKENS, _timed(run, TOKENS))]
    while points[-1][1] < SECONDS and points[-1][0] * 4 <= MOST_TOKENS:
        points.append((points[-1][0] * 4, _timed(run, points[-1][0] * 4)))
    if len(points) == 1:
        return points[0][1] / points[0][0], 0.0, found
    (few, short), (many, long) = list(pairwise(points))[-1]
    slope = max((long - short) / (many - few), long / many / 10)
    return slope, max(0.0, short - slope * few), found


def _training(rows: Any, ask: Ask) -> tuple[float, float, Ask]:
    """Seconds per step, seconds beside the steps, and what was trained."""
    from dataclasses import replace

    from radiograph.dictionaries.training import TrainingConfig, train

    (source,) = rows.sources
    width = rows.widths[source]
    size = ask.latent_dim
    while 16 * 2 * width * size > here.memory_total() / MEMORY_SHARE and size > 4 * width:
        size //= 2
    batch, k = min(ask.batch, rows.count("train")), min(ask.k, size // 2)
    trained = replace(ask, d_model=width, latent_dim=size, batch=batch, k=k, dtype="fp32", sites=1)
    control: dict[str, Any] = {"k": k} if ask.activation in ("topk", "batchtopk") else {}

    def run(steps: int) -> None:
        train(
            rows,
            TrainingConfig(activation=_known(ask.activation), size=size, batch=batch, tokens=steps * batch, **control),
        )

    short, long = (_timed(run, steps) for steps in STEPS)
    per_step = max((long - short) / (STEPS[1] - STEPS[0]), long / STEPS[1] / 10)
    return per_step, max(0.0, short - STEPS[0] * per_step), trained


def _disk(folder: Path) -> float:
    """Bytes per second, hashed, written and synced as shards are."""
    import hashlib

    data = np.random.default_rng(0).bytes(DISK_BYTES)
    with TemporaryDirectory(dir=folder, prefix=".plan-") as place:

        def write(_: int) -> None:
            hashlib.sha256(data)
            with (Path(place) / "shard").open("wb") as handle:
                handle.write(data)
                handle.flush()
                os.fsync(handle.fileno())

        return DISK_BYTES / _timed(write, 0)


def _block_parameters(model: LanguageModel) -> int:
    from radiograph.methods._plan._source import BLOCK

    return sum(p.numel() for name, p in model.parameters().items() if BLOCK.search(name))


def _gpu_memory() -> int:
    import torch

    return sum(torch.cuda.get_device_properties(i).total_memory for i in range(torch.cuda.device_count()))


def _timed(work: Callable[[int], None], count: int) -> float:
    began = time.perf_counter()
    work(count)
    return time.perf_counter() - began


def _known(name: str) -> Literal["topk", "batchtopk", "relu", "jumprelu", "gated"]:
    return name  # type: ignore[return-value]  # the verb's configuration allows no other
