"""What does this machine have, what is missing, and which way of working fits?

1. Python, cores (affinity and container quota), memory (container limit), free disk at `--path`
2. GPUs, their memory and bfloat16, and the torch build that would use them
3. every requirement and every extra: version, missing or too old or too new, and the line that installs it
4. credentials as present or absent, never their text; the hashes of the bundled models
5. which device, precision, size of model and interface fit, each with its reason
6. with `--self-test` a small inspection of the bundled model, compared with stored numbers

No network unless `--network`, which opens one connection to the model hub and sends nothing. No name of a person,
a host or a path is written. Sizes in bytes; free disk in whole GiB, as it changes all the time.

Exit codes: 0 everything that radiograph itself needs is there · 2 something is missing or of a wrong version, or the
self-test differs.
"""

from __future__ import annotations

import os
import platform
import shutil
import socket
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path
from typing import ClassVar, Literal

from radiograph.core import Config as Base
from radiograph.core import Context, ExitCode, FolderPath
from radiograph.evidence import Record, Result
from radiograph.methods import _machine as machine
from radiograph.methods._doctor.self_test import SelfTest, self_test

GIB = 2**30
AGGREGATES = {"all", "dev"}
CREDENTIALS = ("HF_TOKEN", "NEURONPEDIA_API_KEY", "ANTHROPIC_API_KEY", "OPENAI_API_KEY")
HUB = ("huggingface.co", 443)


class Config(Base):
    """Where to look."""

    path: FolderPath = "."
    """Folder whose disk will hold runs and shards."""
    network: bool = False
    """Also see whether the model hub can be reached."""
    self_test: bool = False
    """Also run a small inspection, and compare it with stored numbers."""


class Cpu(Record):
    """Cores."""

    machine: str
    cores: int
    usable: int
    """After the affinity mask."""
    quota: float | None
    """Cores' worth of time that the container grants."""


class Memory(Record):
    """Bytes."""

    total: int
    limit: int | None
    """Of the container."""


class Disk(Record):
    """GiB at `--path`."""

    total: int
    free: int


class Gpu(Record):
    """One accelerator."""

    name: str
    memory: int
    bf16: bool


class Torch(Record):
    """The build."""

    version: str
    cuda: str | None
    threads: int


class Requirement(Record):
    """A package that radiograph, or one of its extras, asks for."""

    package: str
    extra: str | None
    needs: str
    version: str | None
    status: Literal["ok", "missing", "incompatible"]
    install: str | None = None


class Bundled(Record):
    """A model that ships with the package."""

    name: str
    sha256: str


class Route(Record):
    """What fits this machine, and why."""

    choice: str
    reason: str


class Doctor(Result):
    """The machine, as it matters to radiograph."""

    SCHEMA: ClassVar[str] = "radiograph.doctor/1"

    python: str
    cpu: Cpu
    memory: Memory
    disk: Disk
    gpus: tuple[Gpu, ...]
    torch: Torch
    requirements: tuple[Requirement, ...]
    credentials: dict[str, bool]
    """Present or absent."""
    bundled: tuple[Bundled, ...]
    hub_reachable: bool | None
    """None: not asked."""
    routes: tuple[Route, ...]
    self_test: SelfTest | None = None
    """None: not asked."""

    @property
    def broken(self) -> tuple[Requirement, ...]:
        """What radiograph itself cannot do without."""
        return tuple(r for r in self.requirements if r.extra is None and r.status != "ok")

    @property
    def headline(self) -> str:
        """What works."""
        if self.broken:
            return "missing or of a wrong version: " + ", ".join(r.package for r in self.broken)
        if self.self_test is not None and self.self_test.status == "differs":
            return "the self-test gave other numbers than those stored"
        tested = "" if self.self_test is None else ", the self-test agrees"
        return f"ready: Python {self.python}, torch {self.torch.version}, {len(self.gpus)} GPUs{tested}"

    @property
    def lines(self) -> tuple[str, ...]:
        """Routes, then what could be installed."""
        absent = (r for r in self.requirements if r.status != "ok")
        compared = () if self.self_test is None else self.self_test.numbers
        return (
            *(
                f"{n.name}: {n.stored:.6g} stored, {n.here if n.here is None else f'{n.here:.6g}'} here"
                for n in compared
            ),
            *(f"{route.choice}: {route.reason}" for route in self.routes),
            *(f"{r.package} {r.status}{f' ({r.version})' if r.version else ''}: {r.install}" for r in absent),
        )

    @property
    def exit_code(self) -> ExitCode:
        """2 where something essential is missing, or computes something else."""
        differs = self.self_test is not None and self.self_test.status == "differs"
        return ExitCode.GATE_FAILED if self.broken or differs else ExitCode.PASS


def run(config: Config, ctx: Context) -> Doctor:
    """Look."""
    place = shutil.disk_usage(ctx.locate(config.path))
    cpu = Cpu(
        machine=platform.machine(),
        cores=os.cpu_count() or 1,
        usable=machine.usable_cores(),
        quota=machine.core_quota(),
    )
    memory = Memory(total=machine.memory_total(), limit=machine.memory_limit())
    with ctx.measure("torch"):
        torch, gpus = _torch()
    requirements = _requirements()
    return Doctor(
        python=platform.python_version(),
        cpu=cpu,
        memory=memory,
        disk=Disk(total=place.total // GIB, free=place.free // GIB),
        gpus=gpus,
        torch=torch,
        requirements=requirements,
        credentials={name: bool(os.environ.get(name)) for name in CREDENTIALS},
        bundled=_bundled(),
        hub_reachable=_reachable() if config.network else None,
        routes=_routes(cpu, memory, gpus, requirements),
        self_test=self_test(ctx) if config.self_test else None,
    )


def _torch() -> tuple[Torch, tuple[Gpu, ...]]:
    import torch

    gpus: list[Gpu] = []
    for index in range(torch.cuda.device_count()):
        found = torch.cuda.get_device_properties(index)
        gpus.append(Gpu(name=found.name, memory=found.total_memory, bf16=found.major >= 8))
    build = Torch(version=torch.__version__, cuda=torch.version.cuda, threads=torch.get_num_threads())
    return build, tuple(gpus)


def _requirements() -> tuple[Requirement, ...]:
    from packaging.requirements import Requirement as Line

    found: list[Requirement] = []
    for line in map(Line, requires("radiograph") or ()):
        extra = next((m for m in _extras() if line.marker and line.marker.evaluate({"extra": m})), None)
        if line.name == "radiograph" or extra in AGGREGATES or (line.marker and extra is None):
            continue
        installed = _version(line.name)
        fits = installed is not None and line.specifier.contains(installed, prereleases=True)
        found.append(
            Requirement(
                package=line.name,
                extra=extra,
                needs=str(line.specifier),
                version=installed,
                status="ok" if fits else "missing" if installed is None else "incompatible",
                install=None if fits else f'pip install "radiograph[{extra}]"' if extra else f'pip install "{line}"',
            )
        )
    return tuple(found)


def _extras() -> list[str]:
    from importlib.metadata import metadata

    return metadata("radiograph").get_all("Provides-Extra") or []


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _bundled() -> tuple[Bundled, ...]:
    from radiograph import organisms
    from radiograph.store import folder_sha256

    names = organisms.bundled_names()
    return tuple(Bundled(name=f"bundled:{n}", sha256=folder_sha256(Path(organisms.bundled_path(n)))) for n in names)


def _reachable() -> bool:
    try:
        socket.create_connection(HUB, timeout=5).close()
    except OSError:
        return False
    return True


def _routes(
    cpu: Cpu, memory: Memory, gpus: tuple[Gpu, ...], requirements: tuple[Requirement, ...]
) -> tuple[Route, ...]:
    """Device and precision, the largest pair of models, workers, and the interface for agents."""
    best = max(gpus, key=lambda gpu: gpu.memory, default=None)
    cores = max(1, int(min(cpu.usable, cpu.quota or cpu.usable)))
    if best is None:
        device = Route(choice="--device cpu", reason=f"no GPU; {cores} cores")
        size, bytes_each, where = min(memory.total, memory.limit or memory.total), 4, "memory"
    else:
        kind = "bfloat16" if best.bf16 else "float32"
        device = Route(choice="--device cuda", reason=f"{best.name}, {best.memory // GIB} GiB, {kind}")
        size, bytes_each, where = best.memory, 2 if best.bf16 else 4, "GPU memory"
    # Two models, and as much again for activations and everything else.
    largest = size / (2 * 2 * bytes_each) / 1e9
    agents = next((r for r in requirements if r.extra == "mcp"), None)
    served = agents is not None and agents.status == "ok"
    return (
        device,
        Route(choice=f"pairs of up to {largest:.1f} billion parameters", reason=f"both in half of the {where}"),
        Route(choice=f"--workers {cores}", reason="as many as cores may be used"),
        Route(
            choice="radiograph mcp" if served else "command line",
            reason="the extra for agents is installed" if served else 'agents need pip install "radiograph[mcp]"',
        ),
    )
