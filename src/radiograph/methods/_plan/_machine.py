"""What the machine can do: stated on the command line, measured before, or assumed with a range.

1. cores, memory, free disk and accelerators: of this machine, of a doctor result, or of a machine file
2. rates: from a machine file that `plan --measure` left; what it lacks is assumed, and an assumed rate is a range
3. what the user states wins

Assumed: a core multiplies 20 to 160 GFLOP/s in float32 (AVX2 to AVX-512); an accelerator what its maker states for
dense bfloat16, or 20 to 1,000 TFLOP/s where it is not in the table; of that, a harvest reaches 20 to 70 %, a training
25 to 65 %. Memory moves 5 to 40 GB/s, an accelerator's what its maker states; a disk writes 0.1 to 3 GB/s.
"""

from __future__ import annotations

import json
import shutil
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

from radiograph.core import FormatError
from radiograph.evidence import Document, Record
from radiograph.methods import _machine as here
from radiograph.methods._plan._ledger import Ledger, Origin, Range, Unit

GIB = 2**30
DRIVER = Path("/dev/nvidiactl")
CORE_FLOPS: Range = (20e9, 160e9)
CPU_BANDWIDTH: Range = (5e9, 40e9)
DISK: Range = (0.1e9, 3e9)
HARVEST_EFFICIENCY: Range = (0.2, 0.7)
TRAINING_EFFICIENCY: Range = (0.25, 0.65)
OVERHEAD: Range = (2.0, 60.0)
PROCESS: Range = (0.4e9, 1.5e9)
GPUS: dict[str, tuple[float, float]] = {
    "B200": (2250e12, 8.0e12),
    "H200": (989e12, 4.8e12),
    "H100 PCIe": (756e12, 2.0e12),
    "H100": (989e12, 3.35e12),
    "A100": (312e12, 1.6e12),
    "L40": (362e12, 0.86e12),
    "A10": (125e12, 0.6e12),
    "L4": (121e12, 0.3e12),
    "V100": (125e12, 0.9e12),
    "T4": (65e12, 0.32e12),
    "4090": (165e12, 1.0e12),
    "3090": (71e12, 0.94e12),
}
"""Dense half-precision FLOP/s and bytes per second of memory, as the maker states them."""
OTHER_GPU: tuple[Range, Range] = ((20e12, 1000e12), (0.3e12, 8e12))


class Gpu(Record):
    """One accelerator."""

    name: str
    memory: int


class Rates(Record):
    """What a pilot run reached."""

    model: str
    """The model that ran: a small one reaches a smaller share of the peak."""
    dictionary: str
    """What was trained, in words."""
    flop_rate: float
    """FLOP/s of a large float32 product."""
    bandwidth: float
    """Bytes per second of a copy, read and written."""
    disk_rate: float
    """Bytes per second, hashed, written and synced."""
    harvest_rate: float
    """FLOP/s of a harvest by the plan's formula, everything that a token costs included."""
    harvest_overhead: float
    """Seconds of a harvest beside its tokens."""
    training_rate: float
    """FLOP/s of a training by the plan's formula, everything that a step costs included."""
    training_overhead: float
    """Seconds of a training beside its steps."""
    harvest_cores: float
    """Processor seconds a second while rows are harvested: few where others used the machine at the time."""
    training_cores: float
    harvest_overhead_cpu: float
    """Processor seconds of a harvest beside its rows."""
    training_overhead_cpu: float
    process_memory: int
    """Bytes of a process before any model is in it."""
    harvest_process: int
    """Bytes of a process that harvests beside model, batch and shards."""
    entry_bytes: float | None = None
    """Bytes of an entry of sparse records in Parquet; None: the pilot's dictionary was not worth keeping."""
    context: float
    """Mean tokens of a window."""


class MachineFile(Document):
    """`machine.json`: a machine and, where they were measured, its rates."""

    SCHEMA: ClassVar[str] = "radiograph.machine/1"

    cores: float
    memory: int
    disk_free: int
    gpus: tuple[Gpu, ...] = ()
    rates: Rates | None = None


@dataclass(frozen=True, slots=True)
class Machine:
    """One machine, as the formulas need it."""

    file: MachineFile
    source: str
    stated: dict[str, float] = field(default_factory=dict[str, float])
    """Rates that the user states, by name."""

    @property
    def accelerated(self) -> bool:
        """Whether there is an accelerator."""
        return bool(self.file.gpus)

    @property
    def gpu_memory(self) -> int:
        """Of one accelerator, the smallest."""
        return min((gpu.memory for gpu in self.file.gpus), default=0)


def this_machine(folder: Path) -> MachineFile:
    """What can be seen without torch. `folder` is on the disk that will hold the shards."""
    total = here.memory_total()
    cores = here.usable_cores()
    return MachineFile(
        cores=min(cores, here.core_quota() or cores),
        memory=min(total, here.memory_limit() or total),
        disk_free=shutil.disk_usage(folder).free,
        gpus=_gpus(),
    )


def read_machine(path: Path) -> MachineFile:
    """A machine file, or the result of `doctor`.

    Raises:
        FormatError: the file is neither.
    """
    try:
        document: dict[str, Any] = json.loads(path.read_bytes())
        schema = str(document.get("schema"))
    except (ValueError, AttributeError, OSError) as error:
        raise FormatError("not a machine file", where=path.name, expected="machine.json, or a doctor result") from error
    if schema.startswith("radiograph.machine/"):
        return MachineFile.read(document, path.name)
    if not schema.startswith("radiograph.doctor/"):
        raise FormatError(
            "not a machine file", where=path.name, expected="machine.json, or a doctor result", got=schema
        )
    try:
        memory, cpu = document["memory"], document["cpu"]
        return MachineFile(
            cores=min(cpu["usable"], cpu["quota"] or cpu["usable"]),
            memory=min(memory["total"], memory["limit"] or memory["total"]),
            disk_free=document["disk"]["free"] * GIB,
            gpus=tuple(Gpu(name=gpu["name"], memory=gpu["memory"]) for gpu in document["gpus"]),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise FormatError("not a whole doctor result", where=path.name, got=str(error)) from error


def enter(ledger: Ledger, machine: Machine) -> None:
    """Sizes and rates of a machine, each with its origin."""
    file, rates = machine.file, machine.file.rates
    sizes: tuple[tuple[str, float, Unit, str], ...] = (
        ("machine_memory", file.memory, "bytes", "Memory of a machine"),
        ("disk_free", file.disk_free, "bytes", "Free disk of a machine"),
        ("gpus", len(file.gpus), "count", "Accelerators of a machine"),
        ("gpu_memory", machine.gpu_memory, "bytes", "Memory of an accelerator"),
    )
    for name, value, unit, label in sizes:
        ledger.fact(name, value, unit, "measured", label, section="machine", note=machine.source)
    peak, moved, why = _assumed(file)
    _rate(ledger, machine, "flop_rate", peak, "FLOP/s", "Large products", why)
    _rate(ledger, machine, "bandwidth", moved, "bytes/s", "Memory", why)
    _rate(ledger, machine, "disk_rate", DISK, "bytes/s", "Disk, written and synced", "old disk to fast flash")
    _rate(ledger, machine, "harvest_overhead", OVERHEAD, "s", "Start of a harvest", "small to large models")
    _rate(ledger, machine, "training_overhead", OVERHEAD, "s", "Start and end of a training", "small to large")
    _rate(ledger, machine, "process_memory", PROCESS, "bytes", "A process before its work", "libraries alone")
    _rate(ledger, machine, "harvest_process", PROCESS, "bytes", "A harvest beside model and shards", "libraries alone")
    if rates is not None and not machine.stated.keys() & {"flop_rate"}:
        _rate(ledger, machine, "harvest_rate", (0, 0), "FLOP/s", "Rate that a harvest reaches", "")
        _rate(ledger, machine, "training_rate", (0, 0), "FLOP/s", "Rate that training reaches", "")
        return
    share = "share of the peak"
    for name, value in (("harvest_efficiency", HARVEST_EFFICIENCY), ("training_efficiency", TRAINING_EFFICIENCY)):
        label = f"{name.split('_')[0].capitalize()}, {share}"
        ledger.fact(name, value, "share", "assumed", label, section="machine", note="small to large products")


def _rate(ledger: Ledger, machine: Machine, name: str, assumed: Range, unit: Unit, label: str, why: str) -> None:
    """Stated, else measured, else assumed."""
    rates = machine.file.rates
    value: float | Range = assumed
    origin: Origin = "assumed"
    if name in machine.stated:
        value, origin, why = machine.stated[name], "stated", ""
    elif rates is not None:
        value, origin, why = float(getattr(rates, name)), "measured", f"{machine.source}: {rates.model}"
        if name.startswith("training"):
            why = f"{machine.source}: {rates.dictionary}"
    ledger.fact(name, value, unit, origin, label, section="machine", note=why)


def _assumed(file: MachineFile) -> tuple[Range, Range, str]:
    """Peak and bandwidth of a machine, all its accelerators or all its cores together."""
    if not file.gpus:
        low, high = CORE_FLOPS
        return (low * file.cores, high * file.cores), CPU_BANDWIDTH, f"{file.cores:g} cores"
    count, name = len(file.gpus), file.gpus[0].name
    known = next((rates for part, rates in GPUS.items() if part in name), None)
    if known is None:
        (low, high), (narrow, wide) = OTHER_GPU
        return (low * count, high * count), (narrow * count, wide * count), f"{count} × {name}, not in the table"
    peak, moved = known
    # What a maker states is never quite reached.
    return (0.8 * peak * count, peak * count), (0.7 * moved * count, moved * count), f"{count} × {name}"


def _gpus() -> tuple[Gpu, ...]:
    """What the driver's own library (NVML) knows, which takes milliseconds where torch takes seconds."""
    if not DRIVER.exists():
        return ()
    import ctypes

    found: list[Gpu] = []
    with suppress(OSError, AttributeError):
        library = ctypes.CDLL("libnvidia-ml.so.1")
        if library.nvmlInit_v2() != 0:
            return ()
        count = ctypes.c_uint()
        library.nvmlDeviceGetCount_v2(ctypes.byref(count))
        for index in range(count.value):
            handle, name = ctypes.c_void_p(), ctypes.create_string_buffer(96)
            memory = (ctypes.c_ulonglong * 3)()  # total, free, used
            library.nvmlDeviceGetHandleByIndex_v2(ctypes.c_uint(index), ctypes.byref(handle))
            library.nvmlDeviceGetMemoryInfo(handle, ctypes.byref(memory))
            library.nvmlDeviceGetName(handle, name, ctypes.c_uint(96))
            found.append(Gpu(name=name.value.decode(errors="replace"), memory=memory[0]))
        library.nvmlShutdown()
    return tuple(found)
