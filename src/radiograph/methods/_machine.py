"""What this process may use: cores and memory, under affinity masks and container limits.

A container sees the whole machine in `/proc`; its limits stand in its control group. Version 2 keeps them on the way
from the group to the root (`cpu.max`, `memory.max`), version 1 in one folder a controller. The smallest one counts.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

CGROUPS = Path("/sys/fs/cgroup")
MEMBERSHIP = Path("/proc/self/cgroup")


def usable_cores() -> int:
    """Cores that this process may be scheduled on."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def core_quota(root: Path = CGROUPS, membership: Path = MEMBERSHIP) -> float | None:
    """Cores' worth of time that the container may use; None without a limit."""
    quotas: list[float] = []
    for folder in _groups(root, membership):
        words = _read(folder / "cpu.max").split() or [
            _read(folder / "cpu.cfs_quota_us"),
            _read(folder / "cpu.cfs_period_us"),
        ]
        if len(words) == 2 and words[0].isdigit() and words[1].isdigit() and int(words[1]):
            quotas.append(int(words[0]) / int(words[1]))
    return min(quotas, default=None)


def memory_limit(root: Path = CGROUPS, membership: Path = MEMBERSHIP) -> int | None:
    """Bytes that the container may use; None without a limit."""
    limits: list[int] = []
    for folder in _groups(root, membership):
        word = _read(folder / "memory.max") or _read(folder / "memory.limit_in_bytes")
        if word.isdigit() and int(word) < 1 << 60:  # version 1 writes "no limit" as a huge number
            limits.append(int(word))
    return min(limits, default=None)


def memory_total() -> int:
    """Bytes of memory in the machine."""
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def _groups(root: Path, membership: Path) -> Iterator[Path]:
    """Folders that may hold a limit of this process, from its own group up to the root."""
    yield root
    for line in _read(membership).splitlines():
        _, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        bases = [root / controllers, *(root / c for c in controllers.split(","))] if controllers else [root]
        for base in bases:
            group = base / path.strip("/")
            while group.is_relative_to(base):
                yield group
                group = group.parent


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8").strip()
    except OSError:
        return ""
