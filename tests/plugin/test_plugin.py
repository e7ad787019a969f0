"""A package of somebody else joins through its entry points alone: listed, run, verified, replayed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from running import numbers

RADIOGRAPH = Path(sys.executable).with_name("radiograph")


@pytest.fixture
def shell(toy_site, workspace):
    def call(*arguments: str) -> subprocess.CompletedProcess[str]:
        env = {"PYTHONPATH": str(toy_site), "PATH": os.environ["PATH"], "HOME": str(workspace)}
        return subprocess.run(
            [RADIOGRAPH, *arguments], capture_output=True, text=True, env=env, timeout=60, check=False
        )

    return call


def test_listed_run_verified_and_replayed(shell, workspace):
    listed = shell("--help").stdout
    assert "toy mean" in listed
    assert "Is the mean of a column of numbers above a limit?" in listed
    helped = shell("toy", "mean", "--help").stdout
    assert "--limit" in helped
    assert "The gate fails above it." in helped
    numbers(workspace / "x.txt", 1, 2, 3)
    done = shell("toy", "mean", "x.txt", "--out", "r", "--json")
    assert (done.returncode, json.loads(done.stdout)["mean"]) == (0, 2.0)
    seal = done.stderr.split("seal: ")[1].strip()
    assert shell("verify", "r", "--seal", seal).returncode == 0
    assert shell("verify", "r", "--seal", "0" * 64).returncode == 2
    assert shell("replay", "r").returncode == 0


def test_without_the_package_there_is_no_such_verb():
    done = subprocess.run([RADIOGRAPH, "toy", "mean"], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 3
