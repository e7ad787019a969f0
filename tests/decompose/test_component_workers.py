"""Real processes, real kills, real sizes: the same bytes, nothing asked of memory that one component does not need."""

import json
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from decompose.planted import write_planted
from radiograph.core import UserError
from running import contents, go

pytestmark = pytest.mark.slow

GIVEN = {"decomposition": "planted", "model": "bundled:base"}
HARVEST = {"data": ["world:story#24"], "examples": 10, "record_tokens": 200, "shard_tokens": 40}
ATTRIBUTE = {"data": ["world:story#4"], "shard_tokens": 12, "batch_tokens": 64}
CLOCK = {"manifest.json", "manifest.sha256", "tool_calls.jsonl", "report.html", "report.md"}


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    home = tmp_path_factory.mktemp("workers")
    write_planted(home / "planted")
    return home


def _held(folder):
    return {name: data for name, data in contents(folder).items() if name not in CLOCK}


@pytest.mark.parametrize(("verb", "options"), [("decompose.harvest", HARVEST), ("decompose.attribute", ATTRIBUTE)])
def test_d10_10_one_two_and_seven_processes_give_equal_bytes(home, monkeypatch, verb, options):
    monkeypatch.chdir(home)
    found = []
    for workers in ("1", "2", "7"):
        out = f"{verb}-{workers}"
        assert go(verb, workers=workers, out=out, **GIVEN, **options).exit_code == 0
        found.append(_held(home / out))
    assert found[0].keys() == found[1].keys() == found[2].keys()
    for name, data in found[0].items():
        assert found[1][name] == data and found[2][name] == data, name


@pytest.mark.parametrize(("verb", "options"), [("decompose.harvest", HARVEST), ("decompose.attribute", ATTRIBUTE)])
def test_dd_15_a_run_that_is_killed_resumes_to_the_same_bytes(home, monkeypatch, verb, options):
    """Killed at several moments of its work; each time no run is left that a reader takes for one."""
    monkeypatch.chdir(home)
    whole = home / f"{verb}-plain"
    assert go(verb, out=str(whole), **GIVEN, **options).exit_code == 0
    words = verb.replace(".", " ").split()
    arguments = [GIVEN["decomposition"], GIVEN["model"]]
    for name, value in options.items():
        for one in value if isinstance(value, list) else [value]:
            arguments += [f"--{name.replace('_', '-')}", str(one)]
    for number, parts in enumerate((0, 1, 3)):
        out = home / f"{verb}-killed-{number}"
        partial = out.with_name(out.name + ".partial")
        command = [sys.executable, "-m", "radiograph", *words, *arguments, "--out", str(out)]
        child = subprocess.Popen(command, cwd=home, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        deadline = time.monotonic() + 300
        while time.monotonic() < deadline and child.poll() is None:
            if (partial / "parts").is_dir() and len(list((partial / "parts").glob("0*.npz"))) >= parts:
                break
            time.sleep(0.01)
        os.kill(child.pid, signal.SIGKILL)
        child.wait()
        assert not out.exists() and partial.is_dir()
        resumed = home / f"{verb}-resumed-{number}"
        assert go(verb, out=str(resumed), resume=str(partial), **GIVEN, **options).exit_code == 0
        assert _held(resumed) == _held(whole) and not partial.exists()


KILLS = 20
TRAIN = {"model": "bundled:tms-5-2", "steps": 200, "batch": 64, "eval_every": 20}


def _command(verb, options, out):
    words = [sys.executable, "-m", "radiograph", *verb.replace(".", " ").split()]
    for name, value in options.items():
        place = name in ("decomposition", "model") or (name == "harvest" and verb == "decompose.label")
        for one in value if isinstance(value, list) else [value]:
            words += [str(one)] if place else [f"--{name.replace('_', '-')}", str(one)]
    return [*words, "--out", str(out)]


@pytest.mark.parametrize(
    ("verb", "options"),
    [
        ("decompose.harvest", GIVEN | HARVEST),
        ("decompose.attribute", GIVEN | ATTRIBUTE),
        ("decompose.label", {"harvest": "counted"}),
        ("decompose.train", TRAIN),
    ],
)
def test_dd_15_killed_at_twenty_random_points(home, monkeypatch, verb, options):
    """Whatever it was at: no run that a reader takes for one is left, and what goes on ends with the same bytes."""
    monkeypatch.chdir(home)
    if verb == "decompose.label" and not (home / "counted").exists():
        assert go("decompose.harvest", out="counted", **GIVEN, **HARVEST).exit_code == 0
    whole = home / f"{verb}-whole"
    began = time.monotonic()
    subprocess.run(_command(verb, options, whole), check=True, capture_output=True, cwd=home)
    took = time.monotonic() - began
    luck = np.random.default_rng(15)
    killed = 0
    for number, share in enumerate(luck.permutation(KILLS) / KILLS):
        out = home / f"{verb}-{number}"
        partial = out.with_name(out.name + ".partial")
        child = subprocess.Popen(_command(verb, options, out), cwd=home, stdout=-3, stderr=-3)
        try:
            child.wait((share + luck.random() / KILLS) * took)
        except subprocess.TimeoutExpired:
            killed += 1
        child.kill()
        child.wait()
        if out.exists():
            assert _held(out) == _held(whole) and not partial.exists()
            continue
        resume = {"resume": str(partial)} if partial.is_dir() else {}
        try:
            outcome = go(verb, out=f"{out}-resumed", **options, **resume)
        except UserError as problem:  # killed when its work was done, and what it had kept was on its way out
            assert problem.code == "no_run", problem
            outcome = go(verb, out=f"{out}-resumed", **options)
        assert outcome.exit_code == 0 and _held(outcome.path) == _held(whole)
    assert killed >= KILLS // 2


def _large(folder, components=40_000, tokens=2_000):
    """A harvest of many components, a few entries each, sealed by hand."""
    import polars as pl

    from radiograph.evidence.components import ComponentHarvest, WeightCounts
    from radiograph.store import BundleWriter
    from radiograph.store.components import ExampleRows, Windows, write_examples, write_tokens
    from store.test_bundle import manifest

    writer = BundleWriter(folder.parent, folder.name)
    folder = writer.path

    luck = np.random.default_rng(0)
    (folder / "tables").mkdir(parents=True)
    numbers = np.arange(components)
    firings = luck.integers(5, 500, components)
    pl.DataFrame(
        {
            "component": [f"down.{n // 1000}:{n % 1000}" for n in numbers],
            "weight": [f"down.{n // 1000}" for n in numbers],
            "index": (numbers % 1000).astype(np.uint32),
            "firings": firings,
            **{name: luck.random(components) for name in ("importance", "h", "size", "largest")},
            "tokens": np.full(components, 100_000),
        }
    ).write_parquet(folder / "tables" / "components.parquet")
    pl.DataFrame(
        {
            "token": np.arange(tokens, dtype=np.uint32),
            "text": [f" w{n}" for n in range(tokens)],
            "count": np.full(tokens, 50),
            "mass": np.full(tokens, 50.0),
        }
    ).write_parquet(folder / "tables" / "tokens.parquet")
    owner = np.repeat(numbers, 100)
    token = np.tile(np.arange(100), components)
    write_tokens(folder, "tokens_in", owner, token, np.ones(len(owner), np.int64), "count")
    write_tokens(folder, "tokens_out", owner, token, np.ones(len(owner)), "mass")
    i = np.repeat(numbers[:-50], 50)
    pl.DataFrame(
        {"i": i.astype(np.uint32), "j": (i + np.tile(np.arange(1, 51), components - 50)).astype(np.uint32), "count": 3}
    ).write_parquet(folder / "tables" / "cofire.parquet", row_group_size=50_000)
    n, wide = components * 40, 41
    rows = ExampleRows(
        component=np.repeat(numbers, 40).astype(np.int32),
        key=np.arange(n, dtype=np.uint64),
        window=np.zeros(n, np.int32),
        position=np.full(n, 30, np.int32),
        first=np.zeros(n, np.int32),
        size=np.full(n, wide, np.int32),
        importance=np.ones((n, wide), np.float32),
        h=np.ones((n, wide), np.float32),
    )
    texts = Windows(("d",), np.zeros(1, np.int64), np.arange(wide + 10, dtype=np.uint32), np.zeros(1, np.int64))
    write_examples(folder, rows, texts, 1e-6, components)
    result = ComponentHarvest(
        model="m",
        model_sha256="0" * 64,
        decomposition="d",
        decomposition_sha256="1" * 64,
        tokenizer_sha256=None,
        weights=tuple(
            WeightCounts(address=f"down.{w}", components=1000, alive=1000, few=0, firings=1) for w in range(40)
        ),
        fires=1e-6,
        tokens=100_000,
        tokens_fed=100_000,
        tokens_excluded=0,
        documents=1,
        documents_left_out=0,
        windows=1,
        shards=1,
        examples=40,
        around=20,
        output_tokens=256,
        recorded=0,
        data={"d": "2" * 64},
        spec_sha256="3" * 64,
        seed=0,
    )
    writer.json("result.json", result)
    writer.seal(manifest(writer))


_FIRST = """
import json, sys, time
from pathlib import Path
start = time.process_time()
from radiograph.methods.decompose._label.slots import Slotted
from radiograph.store.components import open_statistics
given = open_statistics(Path(sys.argv[1]))
numbers = given.alive(5).tolist()
slots, _ = Slotted(given, "texts", 0, 30).plain(numbers[0])()
took = time.process_time() - start
for n in numbers[1:50]:
    Slotted(given, "texts", 0, 30).plain(n)()
# ru_maxrss would count what the parent held when it forked.
peak = int(next(x for x in Path("/proc/self/status").read_text().splitlines() if x.startswith("VmHWM")).split()[1])
print(json.dumps({"seconds": took, "mebibytes": peak / 1024, "torch": "torch" in sys.modules, "n": len(numbers)}))
"""


def test_dd_14_the_first_prompt_of_forty_thousand_components(tmp_path):
    _large(tmp_path / "large")
    done = subprocess.run(
        [sys.executable, "-c", _FIRST, str(tmp_path / "large")], capture_output=True, text=True, check=True
    )
    found = json.loads(done.stdout)
    assert found["n"] == 40_000 and not found["torch"]
    assert found["mebibytes"] < 1024
    assert found["seconds"] < 5 * 3, "processor seconds; three times the bar, for a loaded machine"
