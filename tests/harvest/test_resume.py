"""A harvest that is killed, at whatever moment, and resumed leaves the bytes of one that was not."""

import hashlib
import os
import random
import signal
import time
from pathlib import Path
from typing import Any

import pytest

from forked import Child, fork
from radiograph.core import UserError
from radiograph.store.shards import open_activations
from running import contents, go

SHARDS = 12
CONFIG = {
    "model": "bundled:base",
    "site": ["resid_post.{0,2}"],
    "data": ["world:mixture#400"],
    "shard_size": "256KiB",
    "batch_tokens": 512,
}
RECORDS = {"dictionary": "dictionary:bundled", "records": "too"}


def sums(folder: Path) -> dict[str, str]:
    """SHA-256 of everything that a harvest stored."""
    files = {name: data for name, data in contents(folder).items() if name.startswith(("activations", "records"))}
    assert not any(name.endswith(".partial") or "/plan/" in name for name in files)
    return {name: hashlib.sha256(data).hexdigest() for name, data in files.items()}


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path_factory.mktemp("whole"))
        found = {kind: sums(go("harvest", **CONFIG, **more).path) for kind, more in (("dense", {}), ("both", RECORDS))}
    assert sum(name.endswith(".safetensors") and name[12:17].isdigit() for name in found["dense"]) == SHARDS
    return found


def start(out: str, **config) -> Child:
    """A process of its own that harvests."""
    return fork(_harvest, {"out": out, **config})


def _harvest(config: dict[str, Any]) -> None:
    go("harvest", **config)


def wait_for(what, child: Child) -> None:
    """Until it is so, or the process ended."""
    deadline = time.monotonic() + 120
    while not what() and child.poll() is None:
        assert time.monotonic() < deadline, "the run does not get on"
        time.sleep(0.001)


def kill_at(child: Child, folder: Path, committed: int, delay: float, *, group: bool = True) -> bool:
    """Kill -9 once so many shards are committed and a moment has passed; whether it was still running."""
    wait_for(lambda: len(list(folder.glob("activations/0*.json"))) >= committed, child)
    time.sleep(delay)
    if child.poll() is None:
        (os.killpg if group else os.kill)(child.pid, signal.SIGKILL)
    return child.wait(60) != 0


def kill_and_resume(workspace: Path, name: str, chance: random.Random, **config) -> dict[str, str]:
    """Start, kill at a random moment, resume; sometimes kill that one, too."""
    last: dict[str, str] = {}
    for number in range(chance.choice([1, 1, 2])):
        run = workspace / f"{name}-{number}.partial"
        child = start(f"{name}-{number}", **config, **last)
        wait_for(run.is_dir, child)
        if not kill_at(child, run, chance.randrange(SHARDS), chance.random() * 0.05, group=chance.random() < 0.5):
            return sums(workspace / f"{name}-{number}")
        last = {"resume": run.name}
    time.sleep(0.2)  # workers whose parent is gone end by themselves
    outcome = go("harvest", out=f"{name}-last", **config, **last)
    assert not (workspace / last["resume"]).exists(), "the killed run goes when the new one is complete"
    return sums(outcome.path)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["dense", "both"])
def test_a_killed_run_resumes_to_the_same_bytes(kind, workspace, undisturbed):
    more = RECORDS if kind == "both" else {}
    assert kill_and_resume(workspace, kind, random.Random(kind), **CONFIG, **more) == undisturbed[kind]


@pytest.mark.slow
def test_three_workers_killed_with_their_parent_or_alone_leave_the_same_bytes(workspace, undisturbed):
    chance = random.Random(3)
    found = kill_and_resume(workspace, "three", chance, **CONFIG, workers="3")
    assert found == undisturbed["dense"]


@pytest.mark.slow
@pytest.mark.parametrize("trial", range(50))
def test_fifty_kills(trial, workspace, undisturbed):
    chance = random.Random(trial)
    kind = chance.choice(["dense", "both"])
    more = (RECORDS if kind == "both" else {}) | {"workers": chance.choice(["1", "1", "3"])}
    assert kill_and_resume(workspace, "run", chance, **CONFIG, **more) == undisturbed[kind]


def test_resuming_another_harvest_names_what_differs(workspace):
    partial = workspace / "one.partial"
    short = CONFIG | {"data": ["world:mixture#100"], "shard_size": "64KiB"}
    kill_at(start("one", **short), partial, 2, 0)
    for name, value in (
        ("batch_tokens", 513),
        ("site", ["resid_post.1"]),
        ("max_length", 32),
        ("data", ["world:mixture#99"]),
        ("rows", "all"),
        ("dtype", "bf16"),
    ):
        named = {"site": "sources", "max_length": "length"}.get(name, name)
        with pytest.raises(UserError, match=f"{named} differs"):
            go("harvest", out="two", resume="one.partial", **{**short, name: value})
        assert not (workspace / "two.partial").exists()
    with pytest.raises(UserError, match="was not finished"):
        open_activations(partial)
    (workspace / "two").mkdir()
    with pytest.raises(UserError, match="not an unfinished run"):
        go("harvest", out="three", resume="two", **short)
    finished = go("harvest", out="four", resume="one.partial", **short)
    assert open_activations(finished.path, verify=True).index.complete
    assert not partial.exists()
