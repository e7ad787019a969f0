"""Limits of containers are found wherever they stand on the way to the root."""

from __future__ import annotations

from pathlib import Path

import pytest

from radiograph.methods import _machine as machine


@pytest.fixture
def group(tmp_path):
    def write(membership: str, files: dict[str, str]) -> dict[str, Path]:
        for name, text in files.items():
            path = tmp_path / "cgroup" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text + "\n")
        (tmp_path / "self").write_text(membership + "\n")
        return {"root": tmp_path / "cgroup", "membership": tmp_path / "self"}

    return write


def test_version_two_takes_the_tightest_on_the_way_up(group):
    where = group(
        "0::/pod/box",
        {
            "pod/cpu.max": "150000 100000",
            "pod/box/cpu.max": "max 100000",
            "pod/memory.max": "4096",
            "pod/box/memory.max": "8192",
        },
    )
    assert machine.core_quota(**where) == 1.5
    assert machine.memory_limit(**where) == 4096


def test_version_one_has_a_folder_a_controller(group):
    where = group(
        "4:cpu,cpuacct:/box\n3:memory:/box",
        {
            "cpu/box/cpu.cfs_quota_us": "50000",
            "cpu/box/cpu.cfs_period_us": "100000",
            "memory/box/memory.limit_in_bytes": "1024",
            "memory/memory.limit_in_bytes": "9223372036854771712",
        },
    )
    assert machine.core_quota(**where) == 0.5
    assert machine.memory_limit(**where) == 1024


@pytest.mark.parametrize(
    "files",
    [{}, {"cpu.max": "max 100000", "memory.max": "max"}, {"cpu.cfs_quota_us": "-1", "cpu.cfs_period_us": "100000"}],
)
def test_no_limit_is_none(group, files):
    where = group("0::/", files)
    assert machine.core_quota(**where) is None
    assert machine.memory_limit(**where) is None


def test_this_machine_has_cores_and_memory(tmp_path):
    assert machine.usable_cores() >= 1
    assert machine.memory_total() > 2**28
    assert machine.memory_limit(tmp_path, tmp_path / "none") is None
