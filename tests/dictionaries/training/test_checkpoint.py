"""Runs that are killed and taken up again end with the bytes of one that was not."""

import dataclasses
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from dictionaries.make import planted
from radiograph.core import FormatError, UserError
from radiograph.dictionaries import load
from radiograph.dictionaries.training import Checkpoints, TrainingConfig, train
from radiograph.store.checkpoints import DOCUMENT, TENSORS

from .held import held

BUDGET = {"topk": {"k": 3}, "batchtopk": {"k": 3}, "jumprelu": {"l0": 3.0}, "relu": {}, "gated": {}}
STEPS = 40


def config(activation="topk", **changes):
    extra = {"ema": 0.99} if activation == "batchtopk" else {}
    extra |= {"resample": True, "sparsity": 0.5} if activation in ("relu", "gated") else {}
    given = {"size": 64, "tokens": STEPS * 256, "batch": 256, "learning_rate": 4e-3, "dead_after": 1024}
    return TrainingConfig(**(given | {"activation": activation} | BUDGET[activation] | extra | changes))


@pytest.fixture(scope="module")
def rows():
    return held(planted(4096, directions=32, width=16, active=3)[0] + 3)


class Killed(Exception):
    """Stands for a signal: raised between two steps."""


def killed_at(steps, rows, settings, folder):
    """Train with a checkpoint each step, and stop after some steps."""

    def stop(step, numbers):
        if step in steps:
            steps.remove(step)
            raise Killed

    return train(rows, settings, checkpoints=Checkpoints(folder, seconds=0), track=stop)


@pytest.mark.parametrize(
    "activation", [pytest.param(a, marks=() if a in ("batchtopk", "gated") else pytest.mark.slow) for a in BUDGET]
)
def test_a_stopped_run_ends_as_if_it_had_not_been(rows, activation, tmp_path):
    settings = config(activation)
    whole = train(rows, settings)
    steps = {7, 16, 30}
    while steps:
        with pytest.raises(Killed):
            killed_at(steps, rows, settings, tmp_path)
    again = killed_at(steps, rows, settings, tmp_path)
    assert again.dictionary.hash == whole.dictionary.hash
    assert again.log == whole.log
    assert again.resumed_at == 29, "the step before the one that was killed"
    assert whole.resumed_at is None


def test_how_often_checkpoints_are_written_changes_nothing(rows, tmp_path):
    hashes = {
        train(rows, config(), checkpoints=Checkpoints(tmp_path / str(seconds), seconds=seconds)).dictionary.hash
        for seconds in (0.0, 0.05, 600.0)
    }
    assert len(hashes) == 1
    assert not (tmp_path / "600.0").exists()


def test_the_last_two_and_the_best_are_kept_and_can_be_used(rows, tmp_path):
    train(rows, config(), checkpoints=Checkpoints(tmp_path, seconds=0))
    kept = sorted(int(path.name) for path in tmp_path.iterdir())
    assert kept[-2:] == [STEPS - 2, STEPS - 1]
    scores = {step: json.loads((tmp_path / f"{step:09d}" / DOCUMENT).read_text())["score"] for step in kept}
    assert len(kept) <= 3
    assert min(scores.values()) == scores[kept[0]]
    dictionary = load(tmp_path / f"{STEPS - 1:09d}" / "dictionary")
    x = rows.rows("resid_post.1", "validation")
    assert float((x - dictionary.reconstruct(x)).square().sum() / (x - x.mean(0)).square().sum()) < 0.9


@pytest.fixture
def half_done(rows, tmp_path):
    with pytest.raises(Killed):
        killed_at({20}, rows, config(), tmp_path)
    return tmp_path


def test_another_run_is_not_taken_up(rows, half_done):
    for name, changes in {
        "learning rate": {"learning_rate": 1e-3},
        "seed": {"seed": 1},
        "tokens": {"tokens": 9999},
    }.items():
        with pytest.raises(UserError, match=f"had another {name}") as error:
            train(rows, config(**changes), checkpoints=Checkpoints(half_done))
        assert error.value.code == "resume_mismatch"
    other = held(planted(4096, directions=32, width=16, active=3, seed=1)[0] + 3)
    with pytest.raises(UserError, match="had another activations"):
        train(other, config(), checkpoints=Checkpoints(half_done))


def test_what_was_half_written_is_never_read(rows, half_done):
    last = sorted(half_done.iterdir())[-1]
    torn = last.with_name(f"{int(last.name) + 1:09d}.partial")
    shutil.copytree(last, torn)
    (torn / TENSORS).write_bytes(b"torn")
    again = train(rows, config(), checkpoints=Checkpoints(half_done, seconds=0))
    assert again.resumed_at == int(last.name)
    assert not torn.exists()
    assert not [path for path in half_done.iterdir() if path.name.endswith(".partial")]
    assert again.dictionary.hash == train(rows, config()).dictionary.hash


@pytest.mark.parametrize("name", [TENSORS, DOCUMENT])
def test_a_changed_checkpoint_is_named(rows, half_done, name):
    path = sorted(half_done.iterdir())[-1] / name
    data = bytearray(path.read_bytes())
    data[len(data) // 2 :] = b"x" * (len(data) - len(data) // 2)
    path.write_bytes(bytes(data))
    with pytest.raises(FormatError) as error:
        train(rows, config(), checkpoints=Checkpoints(half_done))
    assert name in str(error.value)


def child(folder, activation):
    """What a killed process was doing."""
    rows = held(planted(8192, directions=32, width=16, active=3)[0] + 3)
    settings = config(activation, tokens=600 * 256)
    out = train(rows, settings, checkpoints=Checkpoints(folder / "checkpoints", seconds=0.1))
    log = [dataclasses.asdict(row) for row in out.log]
    answer = json.dumps({"hash": out.dictionary.hash, "log": log, "resumed_at": out.resumed_at})
    (folder / "answer.partial").write_text(answer)
    (folder / "answer.partial").rename(folder / "answer")


def attempt(folder, activation, seconds=None):
    """Train in a process of its own; False if it was killed (-9) after some seconds."""
    folder.mkdir(exist_ok=True)
    process = os.fork()
    if not process:
        try:
            child(folder, activation)
        finally:
            os._exit(0)
    end = time.monotonic() + (seconds or float("inf"))
    while time.monotonic() < end:
        if os.waitpid(process, os.WNOHANG)[0]:
            assert (folder / "answer").exists()
            return True
        time.sleep(0.002)
    os.kill(process, signal.SIGKILL)
    os.waitpid(process, 0)
    return False


def answer(folder):
    found = json.loads((folder / "answer").read_text())
    return (found["hash"], found["log"]), found["resumed_at"]


def kill_and_resume(folder, activation, kills):
    """Kill training at random moments until `kills` are done; every run that ends is compared with one left alone.

    Runs in an interpreter of its own, which forks: importing torch again for every kill would take most of the time.
    """
    torch.set_num_threads(1)
    folder = Path(folder)
    began = time.monotonic()
    assert attempt(folder / "whole", activation)
    seconds = time.monotonic() - began
    whole, _ = answer(folder / "whole")
    rng, killed, resumed = random.Random(activation), 0, []
    while killed < kills:
        run = folder / f"run-{killed}"
        # From the first moment to a little after the end; what is left of a run is taken up again until it ends.
        while not attempt(run, activation, rng.uniform(0, seconds) if killed < kills else None):
            killed += 1
        again, step = answer(run)
        assert again == whole
        resumed.append(step)
        shutil.rmtree(run)
    print(json.dumps(resumed))


def resumed_at(tmp_path, activation, kills):
    """The step at which every run that ended was taken up for the last time."""
    code = f"from {__name__} import kill_and_resume; kill_and_resume({str(tmp_path)!r}, {activation!r}, {kills})"
    tests = Path(__file__).parents[2]
    environment = {"PYTHONPATH": str(tests), "OMP_NUM_THREADS": "1", "PATH": os.environ["PATH"]}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tests, env=environment, capture_output=True, text=True, timeout=1200
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.slow
def test_kill_9_in_training(tmp_path):
    assert any(step is not None for step in resumed_at(tmp_path, "batchtopk", 3))


@pytest.mark.slow
@pytest.mark.parametrize("activation", list(BUDGET))
def test_kill_9_at_ten_random_moments(tmp_path, activation):
    assert any(step is not None for step in resumed_at(tmp_path, activation, 10))
