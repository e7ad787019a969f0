"""A Ray cluster of several processes leaves the bytes of one process, also where an actor is killed."""

import os
import random
import signal
import time
from pathlib import Path

import pytest

from radiograph.core import UserError, Workers
from running import go

from .test_resume import CONFIG, start, sums, wait_for

SLOWER = {**CONFIG, "data": ["world:mixture#1500"], "batch_tokens": 128}


def actors() -> list[int]:
    """Processes that are actors of a harvest."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if b"HarvestWorker" in path.read_bytes():
                found.append(int(path.parent.name))
        except OSError:
            continue
    return found


@pytest.mark.parametrize("text", ["0", "two", "ray:0", "ray:", "-1", "1.5", "slurm"])
def test_what_is_no_number_of_workers_is_named(text):
    with pytest.raises(UserError, match="not a number of workers"):
        Workers.parse(text)


@pytest.mark.slow
def test_an_actor_that_is_killed_costs_nothing_but_time(workspace):
    pytest.importorskip("ray")
    wanted = sums(go("harvest", **SLOWER).path)
    child = start("cluster", **SLOWER, workers="ray:2")
    shards = workspace / "cluster.partial" / "activations"
    wait_for(lambda: len(list(shards.glob("0*.json"))) >= 3, child)
    victims = actors()
    assert len(victims) == 2, "several processes"
    os.kill(random.Random(0).choice(victims), signal.SIGKILL)
    started = time.monotonic()
    while child.poll() is None and time.monotonic() - started < 300:
        time.sleep(0.05)
    assert child.poll() == 0
    assert sums(workspace / "cluster") == wanted
