"""A capture that is killed, at whatever moment, and resumed leaves the bytes of one that was not."""

import os
import random
import signal
import time

import pytest

from forked import Child, fork
from running import contents, go

CONFIG = {
    "model": "bundled:base",
    "grid": "stories",
    "where": "level=1,type=telling",
    "site": ["mlp_hidden.2", "resid_post.0"],
    "write": ["mlp_hidden.2[17]:set:-5,5", "resid_post.0[3]:scale:2@last"],
    "new_tokens": 8,
    "mode": "sample",
    "batch_rows": 4,
}


def kept(folder):
    """What must be equal byte by byte."""
    found = {n: d for n, d in contents(folder).items() if n.startswith(("tables/", "vectors/", "conditions", "result"))}
    assert not any(name.endswith((".partial", "plan.json")) for name in found)
    return found


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path_factory.mktemp("whole"))
        found = {f: kept(go("resonance.capture", follow=f, **CONFIG).path) for f in ("own", "reference")}
    assert sum(name.startswith("vectors/0") for name in found["own"]) >= 12
    return found


def start(options):
    """What a process of its own does."""
    go("resonance.capture", **options)


def committed(run) -> int:
    return len(list(run.glob("vectors/0*.json")))


def wait_for(what, child: Child) -> None:
    """Until it is so, or the process ended."""
    deadline = time.monotonic() + 120
    while not what() and child.poll() is None:
        assert time.monotonic() < deadline, "the run does not get on"
        time.sleep(0.001)


def kill_and_resume(workspace, config, undisturbed, chance: random.Random, kills: int) -> int:
    """Kill -9 at random moments, resume in the end; how many kills hit a run that had done some and not all."""
    batches = sum(name.startswith("vectors/0") for name in undisturbed[config["follow"]])
    last, hits = {}, 0
    for number in range(kills):
        run = workspace / f"{number}.partial"
        child = fork(start, {"out": str(number), **config, **last})
        done = chance.randrange(1, batches)
        wait_for(lambda run=run, done=done: committed(run) >= done, child)
        time.sleep(chance.random() * 0.02)
        if child.poll() is None:
            os.killpg(child.pid, signal.SIGKILL)
        if child.wait(60) == 0:
            assert kept(workspace / str(number)) == undisturbed[config["follow"]]
            return hits
        hits += 0 < committed(run) < batches
        last = {"resume": run.name}
    whole = go("resonance.capture", out="last", **config, **last)
    assert kept(whole.path) == undisturbed[config["follow"]]
    return hits


@pytest.mark.slow
@pytest.mark.parametrize("follow", ["own", "reference"])
def test_e8_killed_and_resumed_leaves_equal_bytes(workspace, undisturbed, follow):
    assert kill_and_resume(workspace, CONFIG | {"follow": follow}, undisturbed, random.Random(0), kills=1)


@pytest.mark.slow
@pytest.mark.parametrize("trial", range(20))
def test_e8_twenty_kills(trial, workspace, undisturbed):
    chance = random.Random(trial)
    config = CONFIG | {"follow": chance.choice(["own", "reference"])}
    kill_and_resume(workspace, config, undisturbed, chance, kills=chance.choice([1, 1, 2]))
