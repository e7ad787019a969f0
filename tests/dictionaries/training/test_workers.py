"""Several ranks take the steps of one, agree on what they count, and leave the same bytes wherever they run."""

import dataclasses
import os
import signal
import threading
import time
from pathlib import Path

import pytest
import torch
from torch import distributed

from dictionaries.make import planted
from radiograph.core import UserError
from radiograph.core.work.cluster import Workers
from radiograph.core.work.process import spread
from radiograph.dictionaries import Metadata
from radiograph.dictionaries.training import Checkpoints, TooFewRows, TrainingConfig, WorseThanMean, train
from radiograph.dictionaries.training._rows import DTYPES, Layout, places, scales
from radiograph.dictionaries.training.loop._run import Run, sampled
from radiograph.dictionaries.training.workers import Alone, Assignment, Group, train_together
from radiograph.store.shards import open_activations

from .held import held, written

BUDGET = {"topk": {"k": 3}, "batchtopk": {"k": 3}, "jumprelu": {"l0": 3.0}, "relu": {}, "gated": {"resample": True}}
STEPS, BATCH = 20, 256


def config(activation="topk", **changes):
    given = {"size": 64, "tokens": 1000 * BATCH, "batch": BATCH, "learning_rate": 2e-3, "precision": "fp64"}
    return TrainingConfig(**(given | {"activation": activation} | BUDGET[activation] | changes))


def rows():
    return held(planted(8192, directions=32, width=16, active=3)[0] + 3)


def twenty_steps(given):
    """Every batch is dealt in equal parts: rank r takes the r-th. Plain torch.distributed, no launcher."""
    torch.set_num_threads(1)
    rank, world, meeting, settings = given
    if world > 1:
        distributed.init_process_group("gloo", init_method=meeting, rank=rank, world_size=world)
    try:
        activations = rows()
        where = places(settings, activations)
        layout = Layout(where, scales(where, activations), DTYPES[settings.precision])
        team = Group() if world > 1 else Alone()
        run = Run(layout, settings, activations.count("train"), sampled(layout, activations, settings.seed), team)
        reader = activations.reader(where.sources, split="train", batch=BATCH, endless=True)
        said = []
        for _ in range(STEPS):
            parts = [part.chunk(world)[rank] for part in next(reader)]
            run.advance(layout.batch(parts))
            said.append(dataclasses.asdict(run.last))
        reader.close()
        return run.state(), said
    finally:
        if world > 1:
            distributed.destroy_process_group()


def on(world, settings, folder):
    meeting = (folder / f"ranks-{world}").as_uri()
    answers = dict(spread(twenty_steps, [(rank, world, meeting, settings) for rank in range(world)], world))
    return [answers[rank] for rank in range(world)]


def assert_close(left, right, tolerance):
    assert left.keys() == right.keys()
    for name in left:
        a, b = left[name].double(), right[name].double()
        assert float((a - b).abs().max()) <= tolerance, name


@pytest.mark.slow
def test_two_ranks_on_halves_equal_one_on_the_whole(tmp_path):
    ((whole, numbers), said) = on(1, config(), tmp_path)[0]
    ((first, n1), said1), ((second, n2), said2) = on(2, config(), tmp_path)
    assert_close(whole, first, 1e-9)
    assert all(torch.equal(first[name], second[name]) for name in first), "weights, moments and dead counters"
    assert numbers == n1 == n2
    assert said1 == said2
    for one, two in zip(said, said1, strict=True):
        assert two["active"] == pytest.approx(one["active"], abs=1e-9)
        assert two["losses"] == pytest.approx(one["losses"], abs=1e-9)


@pytest.mark.slow
@pytest.mark.parametrize("activation", ["batchtopk", "jumprelu", "relu", "gated"])
def test_ranks_agree_whatever_the_activation(activation, tmp_path):
    settings = config(activation, tokens=STEPS * BATCH, dead_after=512)
    ((first, n1), said1), ((second, n2), said2) = on(2, settings, tmp_path)
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert (n1, said1) == (n2, said2)


@pytest.fixture(scope="module")
def shards(tmp_path_factory):
    return written(tmp_path_factory.mktemp("shards") / "a", rows())


def assignment(shards, folder, settings=None, **changes):
    settings = settings or config("batchtopk", tokens=60 * BATCH, precision="fp32")
    return Assignment(
        **{
            "activations": str(shards),
            "config": settings,
            "metadata": Metadata(),
            "scratch": str(folder),
            "checkpoints": str(folder / "checkpoints"),
            "checkpoint_seconds": 600.0,
        }
        | changes
    )


@pytest.mark.slow
def test_two_processes_agree_with_one_within_a_hundredth_of_the_variance(shards, tmp_path):
    given = assignment(shards, tmp_path)
    alone = train(open_activations(shards), given.config).dictionary.metadata.quality
    together = train_together(given, Workers(2))
    assert together.dictionary.metadata.quality.fvu == pytest.approx(alone.fvu, abs=0.01)
    assert len(together.log) == 60


@pytest.mark.slow
def test_two_processes_leave_the_same_bytes_twice_and_go_on_where_they_were(shards, tmp_path):
    whole = train_together(assignment(shards, tmp_path / "whole"), Workers(2))
    again = train_together(assignment(shards, tmp_path / "again", checkpoint_seconds=0.0), Workers(2))
    # The run has 60 steps, and ranks ask for a checkpoint at the fiftieth.
    resumed = train_together(
        assignment(shards, tmp_path / "resumed", checkpoints=str(tmp_path / "again" / "checkpoints")), Workers(2)
    )
    assert resumed.resumed_at == 50
    assert whole.dictionary.hash == again.dictionary.hash == resumed.dictionary.hash
    assert whole.log == resumed.log
    with pytest.raises(UserError, match="another workers"):
        train(
            open_activations(shards),
            assignment(shards, tmp_path).config,
            checkpoints=Checkpoints(tmp_path / "again" / "checkpoints"),
        )


@pytest.mark.slow
def test_what_goes_wrong_at_a_rank_reaches_the_caller(shards, tmp_path):
    with pytest.raises(TooFewRows, match="training rows"):
        many = config(size=4096, tokens=BATCH)
        train_together(assignment(shards, tmp_path / "a", many, require_rows=True), Workers(2))
    with pytest.raises(UserError, match="no rows of"):
        train_together(assignment(shards, tmp_path / "b", config(input="resid_post.7")), Workers(2))
    bad = planted(4096, directions=32, width=16, active=3)[0]
    bad[:410] = bad[:410] * 0.01 + 5
    folder = written(tmp_path / "bad", held(bad))
    with pytest.raises(WorseThanMean) as error:
        train_together(assignment(folder, tmp_path / "c", config(tokens=4 * BATCH, learning_rate=1e-5)), Workers(2))
    assert error.value.log and error.value.quality.fvu >= 1


@pytest.fixture
def no_ray_address(monkeypatch):
    pytest.importorskip("ray")
    monkeypatch.delenv("RAY_ADDRESS", raising=False)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # Ray's own
def test_ray_leaves_the_bytes_of_the_same_number_of_workers(shards, tmp_path, no_ray_address):
    one = assignment(shards, tmp_path / "one")
    alone = train(open_activations(shards), one.config)
    assert train_together(one, Workers(1, ray=True)).dictionary.hash == alone.dictionary.hash
    here = train_together(assignment(shards, tmp_path / "here"), Workers(2))
    there = train_together(assignment(shards, tmp_path / "there"), Workers(2, ray=True))
    assert there.dictionary.hash == here.dictionary.hash
    assert there.log == here.log


def parent(process):
    text = Path(f"/proc/{process}/stat").read_text()
    return int(text.rpartition(")")[2].split()[1])


def ours(process):
    """Whether this test started it, through however many processes."""
    try:
        while process > 1:
            process = parent(process)
            if process == os.getpid():
                return True
    except OSError:
        pass
    return False


def workers_of_ray():
    """Process ids of the ranks that train now, among those that descend from this process."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            text = path.read_bytes()
        except OSError:
            continue
        if b"RayTrainWorker" in text and ours(int(path.parent.name)):
            found.append(int(path.parent.name))
    return found


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_a_killed_worker_of_ray_costs_nothing_but_time(shards, tmp_path, no_ray_address):
    settings = config("topk", tokens=3000 * BATCH, precision="fp32")
    whole = train(open_activations(shards), settings)
    killed = []

    def kill_one():
        folder = tmp_path / "checkpoints"
        while not list(folder.glob("*[0-9]/state.json")):
            time.sleep(0.02)
        for process in workers_of_ray():
            os.kill(process, signal.SIGKILL)
            killed.append(process)

    watcher = threading.Thread(target=kill_one, daemon=True)
    watcher.start()
    done = train_together(assignment(shards, tmp_path, settings, checkpoint_seconds=0.05), Workers(1, ray=True))
    watcher.join(5)
    assert killed
    assert done.resumed_at is not None
    assert done.dictionary.hash == whole.dictionary.hash
