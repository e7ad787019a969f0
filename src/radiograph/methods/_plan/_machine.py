"""What the machine can do: stated on the command line, measured before, or assumed with a range.

1. sizes (memory, disk, accelerator) from a doctor result or from this machine   2. rates from a machine file that
`plan --measure` wrote; what it lacks is assumed, and an assumed rate is a range   3. what the user states wins

The ranges: a CPU core does 15 to 60 GFLOP/s of float32 matrix products; an accelerator 30 to 400 TFLOP/s; memory moves
8 to 30 GB/s on a CPU and 0.6 to 4 TB/s on an accelerator; a disk writes 0.1 to 2 GB/s. Of its peak a forward pass
reaches 25 to 60 %, and a dictionary's training likewise.
"""

from __future__ import annotations

import json
import os
import shutil
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

from radiograph.core import FormatError
from radiograph.evidence import Document
from radiograph.methods import _machine as here
from radiograph.methods._plan._quantity import Origin, Range

GIB = 2**30
CORE_FLOPS: Range = (15e9, 60e9)
GPU_FLOPS: Range = (30e12, 400e12)
CPU_BANDWIDTH: Range = (8e9, 30e9)
GPU_BANDWIDTH: Range = (0.6e12, 4e12)
DISK: Range = (0.1e9, 2e9)
EFFICIENCY: Range = (0.25, 0.6)
NVIDIA = Path("/proc/driver/nvidia/gpus")


class MachineFile(Document):
    """`machine.json`: rates that were measured, in what they were measured on."""

    SCHEMA: ClassVar[str] = "radiograph.machine/1"

    memory: int
    disk_free: int
    gpu_memory: int = 0
    model: str
    """The model that the rates belong to: a small model reaches a smaller share of the peak."""
    harvest_flops: float
    """FLOP/s of a truncated forward, everything around it included."""
    harvest_tokens: float
    """Tokens per second."""
    train_flops: float
    """FLOP/s of a training step."""
    train_bandwidth: float
    """Bytes per second that a training step moves by the formula of the plan."""
    train_seconds: float = 0.0
    """Seconds that a training takes beside its steps."""
    harvest_seconds: float = 0.0
    """Seconds that a harvest takes beside its forwards."""
    disk_rate: float
    """Bytes per second, written, hashed and synced."""
    sparse_bytes: float | None = None
    """Bytes of an entry in Parquet."""


@dataclass(frozen=True, slots=True)
class Rate:
    """Something per second, or a share."""

    value: float | Range
    origin: Origin


@dataclass(frozen=True, slots=True)
class Machine:
    """One machine, as the formulas need it."""

    memory: int
    disk_free: int
    gpu_memory: int
    harvest: Rate
    """FLOP/s of a forward, efficiency included."""
    train: Rate
    bandwidth: Rate
    disk: Rate
    source: str
    train_seconds: float = 0.0
    harvest_seconds: float = 0.0

    @property
    def accelerated(self) -> bool:
        """Whether there is an accelerator."""
        return self.gpu_memory > 0


def machine(path: Path | None, folder: Path) -> Machine:
    """From a machine file or a doctor result; None is this machine.

    Raises:
        FormatError: the file is neither.
    """
    if path is None:
        memory = min(here.memory_total(), here.memory_limit() or here.memory_total())
        free = shutil.disk_usage(folder).free
        # Without a driver's library its memory is not known; that there is one is.
        gpus = len(list(NVIDIA.iterdir())) if NVIDIA.is_dir() else 0
        cores = min(here.usable_cores(), here.core_quota() or os.cpu_count() or 1)
        return _assumed(memory, free, 16 * GIB * gpus, cores, "this machine")
    try:
        document: dict[str, Any] = json.loads(path.read_bytes())
        schema = str(document.get("schema"))
    except (ValueError, AttributeError) as error:
        raise FormatError("not a machine file", where=path.name, expected="a doctor result or machine.json") from error
    if schema.startswith("radiograph.machine/"):
        return measured(MachineFile.read(document, path.name))
    if not schema.startswith("radiograph.doctor/"):
        raise FormatError("not a machine file", where=path.name, expected="a doctor result or machine.json", got=schema)
    memory = min(document["memory"]["total"], document["memory"]["limit"] or document["memory"]["total"])
    cores = min(document["cpu"]["usable"], document["cpu"]["quota"] or document["cpu"]["usable"])
    gpu = sum(g["memory"] for g in document["gpus"])
    return _assumed(memory, document["disk"]["free"] * GIB, gpu, cores, path.name)


def stated(found: Machine, *, flops: float | None, bandwidth: float | None, disk_rate: float | None) -> Machine:
    """The same with the rates that the user states; stated FLOP/s are a peak, of which a share is reached."""
    if flops is not None:
        reached = Rate((flops * EFFICIENCY[0], flops * EFFICIENCY[1]), "assumed")
        found = replace(found, harvest=reached, train=reached)
    if bandwidth is not None:
        found = replace(found, bandwidth=Rate(bandwidth, "stated"))
    if disk_rate is not None:
        found = replace(found, disk=Rate(disk_rate, "stated"))
    return found


def _assumed(memory: int, free: int, gpu_memory: int, cores: float, source: str) -> Machine:
    peak = GPU_FLOPS if gpu_memory else (CORE_FLOPS[0] * cores, CORE_FLOPS[1] * cores)
    reached = Rate((peak[0] * EFFICIENCY[0], peak[1] * EFFICIENCY[1]), "assumed")
    moved = Rate(GPU_BANDWIDTH if gpu_memory else CPU_BANDWIDTH, "assumed")
    return Machine(memory, free, gpu_memory, reached, reached, moved, Rate(DISK, "assumed"), source)


def measured(file: MachineFile) -> Machine:
    """The machine of a file."""
    return Machine(
        memory=file.memory,
        disk_free=file.disk_free,
        gpu_memory=file.gpu_memory,
        harvest=Rate(file.harvest_flops, "measured"),
        train=Rate(file.train_flops, "measured"),
        bandwidth=Rate(file.train_bandwidth, "measured"),
        disk=Rate(file.disk_rate, "measured"),
        source=f"measured on {file.model}",
        train_seconds=file.train_seconds,
        harvest_seconds=file.harvest_seconds,
    )
