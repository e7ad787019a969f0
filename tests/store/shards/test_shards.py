"""What is written is whole, hashed, equal whoever writes it, and read back as it was; anything else is refused."""

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from radiograph.core import FormatError, RadiographError, UserError
from radiograph.store import _atomic, file_sha256
from radiograph.store.shards import Activations, ShardWriter, begin, committed, finish, open_activations, write_shard

from .make import SOURCES, SPEC, hashes, index, memory, shards, write

PER_PROMPT = [5, 1, 9, 3, 7, 2, 8, 4, 6, 5, 3, 1]


def test_a_shard_is_a_safetensors_file_that_the_library_reads(tmp_path):
    write(tmp_path / "a", PER_PROMPT, 5, "BF16")
    _, data = shards(PER_PROMPT, 5, "BF16")
    for shard in data:
        stored = load_file(tmp_path / "a" / f"{shard.number:05d}.safetensors")
        for source, rows in shard.rows.items():
            assert stored[source].dtype == torch.bfloat16
            assert torch.equal(stored[source], rows)
        assert stored["prompt"].dtype == torch.uint32
        assert stored["position"].dtype == torch.uint16
        assert stored["prompt"].tolist() == shard.prompts.tolist()


def test_statistics_are_those_of_all_rows_together(tmp_path):
    write(tmp_path / "a", PER_PROMPT, 5)
    found = open_activations(tmp_path / "a")
    _, data = shards(PER_PROMPT, 5)
    for source in SOURCES:
        rows = torch.cat([shard.rows[source] for shard in data]).double()
        moments = found.moments(source)
        assert moments.count == len(rows)
        assert np.allclose(moments.mean, rows.mean(0), rtol=1e-12)
        assert moments.variance == pytest.approx(float(rows.var(0, correction=0).sum()), rel=1e-10)
        statistics = found.statistics(source)
        norms = rows.norm(dim=1)
        assert statistics.largest == pytest.approx(float(norms.max()), rel=1e-6)
        assert statistics.histogram.sum() == len(rows)
        below = (norms < 2.0).sum()
        assert statistics.histogram[: (1 + 16) * 8].sum() == below
        record = next(r for r in found.index.sources if r.source == source)
        assert record.variance == moments.variance


def test_files_do_not_depend_on_who_writes_which_shard_in_which_order(tmp_path):
    write(tmp_path / "one", PER_PROMPT, 3)
    prompts, data = shards(PER_PROMPT, 3)
    begin(tmp_path / "many", index(len(data)), prompts)
    for shard in [*data[::-1], data[1]]:
        write_shard(tmp_path / "many", shard, SPEC)
    finish(tmp_path / "many", SPEC, {"documents": len(PER_PROMPT)})
    assert hashes(tmp_path / "one") == hashes(tmp_path / "many")


def test_no_file_holds_a_path_or_a_clock(tmp_path):
    write(tmp_path / "a", PER_PROMPT, 3)
    year = str(time.gmtime().tm_year)
    for path in (tmp_path / "a").glob("*.json"):
        assert str(tmp_path) not in path.read_text()
        assert f'"{year}-' not in path.read_text()


def test_disk_and_memory_answer_the_same_protocol(tmp_path):
    write(tmp_path / "a", PER_PROMPT, 5)
    disk, held = open_activations(tmp_path / "a"), memory(PER_PROMPT)
    assert isinstance(disk, Activations)
    assert isinstance(held, Activations)
    for split in (None, "train", "validation"):
        assert disk.count(split) == held.count(split)
    assert disk.widths == held.widths == SOURCES
    for source in SOURCES:
        ours, theirs = disk.moments(source), held.moments(source)
        assert (ours.count, ours.mean[0]) == (theirs.count, theirs.mean[0])
        assert ours.deviations[0] == pytest.approx(theirs.deviations[0], rel=1e-9)
    with pytest.raises(UserError, match="no rows of reference/embed"):
        disk.moments("embed")


def test_a_bundle_of_a_harvest_is_opened_as_its_activations(tmp_path):
    write(tmp_path / "run" / "activations", PER_PROMPT, 5)
    assert open_activations(tmp_path / "run").count() == sum(PER_PROMPT)


def test_a_base_against_itself_has_identical_tensors(tmp_path):
    prompts, data = shards(PER_PROMPT, 5)
    twice = index(
        len(data),
        sources=[{"source": f"{role}/resid_post.1", "width": 6, "dtype": "F32"} for role in ("reference", "candidate")],
    )
    begin(tmp_path, twice, prompts)
    for shard in data:
        rows = shard.rows["reference/resid_post.1"]
        both = {"reference/resid_post.1": rows, "candidate/resid_post.1": rows.clone()}
        write_shard(tmp_path, type(shard)(**{**vars(shard), "rows": both}), SPEC)
    finish(tmp_path, SPEC)
    reader = open_activations(tmp_path).reader(
        ["reference/resid_post.1", "candidate/resid_post.1"], split="train", batch=7, columns=("token", "prompt")
    )
    for ours, theirs, token, prompt in reader:
        assert torch.equal(ours, theirs)
        assert torch.equal(token, prompt % 97)


@pytest.mark.parametrize("whose", ["file", "record"])
def test_a_missing_shard_is_named(tmp_path, whose):
    write(tmp_path, PER_PROMPT, 3)
    (tmp_path / ("00001.safetensors" if whose == "file" else "00001.json")).unlink()
    with pytest.raises(FormatError, match="shard") as error:
        list(open_activations(tmp_path).reader(["reference/resid_post.1"], split="train", batch=4))
    assert "00001" in str(error.value.where)


def test_a_short_shard_is_named_with_both_sizes(tmp_path):
    write(tmp_path, PER_PROMPT, 3)
    path = tmp_path / "00002.safetensors"
    whole = path.read_bytes()
    path.write_bytes(whole[:-8])
    with pytest.raises(FormatError) as error:
        open_activations(tmp_path)
    assert f"{len(whole):,}" in str(error.value.expected)
    assert f"{len(whole) - 8:,}" in str(error.value.got)


@pytest.mark.parametrize("name", ["00002.safetensors", "statistics.safetensors", "prompts.parquet"])
def test_a_changed_byte_is_found_before_a_row_is_given_out(tmp_path, name):
    write(tmp_path, PER_PROMPT, 3)
    before = file_sha256(tmp_path / name)
    data = bytearray((tmp_path / name).read_bytes())
    data[-1] ^= 1
    (tmp_path / name).write_bytes(data)
    found = open_activations(tmp_path)
    with pytest.raises(FormatError, match="not what was written") as error:
        if name.startswith("statistics"):
            found.moments("reference/resid_post.1")
        else:
            next(found.reader(["reference/resid_post.1"], split="train", batch=4))
    assert (error.value.where, error.value.expected, error.value.got) == (
        str(tmp_path / name),
        before,
        file_sha256(tmp_path / name),
    )
    if name.startswith("0"):
        assert list(open_activations(tmp_path, verify=False).reader(["resid_post.1"], split="train", batch=4))


@pytest.mark.parametrize(
    ("text", "match"),
    [("{", "JSON"), ("[]", "object"), ('{"schema": "radiograph.bundle/1"}', "document"), ("{}", "document")],
)
def test_an_index_that_is_none_is_refused(tmp_path, text, match):
    write(tmp_path, PER_PROMPT, 3)
    (tmp_path / "index.json").write_text(text)
    with pytest.raises(FormatError, match=match):
        open_activations(tmp_path)


def test_a_harvest_that_was_not_finished_is_refused_and_an_empty_folder_too(tmp_path):
    prompts, data = shards(PER_PROMPT, 3)
    begin(tmp_path / "a", index(len(data)), prompts)
    with pytest.raises(UserError, match="not finished"):
        open_activations(tmp_path / "a")
    with pytest.raises(FormatError, match="missing"):
        finish(tmp_path / "a", SPEC)
    with pytest.raises(UserError, match="no activations"):
        open_activations(tmp_path)


def test_only_whole_shards_of_this_spec_are_used_again(tmp_path):
    prompts, data = shards(PER_PROMPT, 3)
    begin(tmp_path, index(len(data)), prompts)
    for shard in data:
        write_shard(tmp_path, shard, SPEC)
    (tmp_path / "00000.json").unlink()
    (tmp_path / "00001.safetensors").write_bytes(b"short")
    changed = bytearray((tmp_path / "00002.safetensors").read_bytes())
    changed[-1] ^= 1
    (tmp_path / "00002.safetensors").write_bytes(changed)
    half = tmp_path / "00009.safetensors.partial"
    half.write_bytes(b"half")
    assert set(committed(tmp_path, SPEC)) == {2, 3}
    assert not half.exists()
    assert set(committed(tmp_path, SPEC, verify=True)) == {3}
    assert committed(tmp_path, "6" * 64) == {}


def test_another_model_or_option_does_not_go_on_in_the_folder(tmp_path):
    prompts, data = shards(PER_PROMPT, 3)
    begin(tmp_path, index(len(data)), prompts)
    begin(tmp_path, index(len(data)), prompts)
    with pytest.raises(UserError, match="config_sha256 differs"):
        begin(tmp_path, index(len(data), config_sha256="9" * 64), prompts)


def test_a_full_disk_stops_the_run_and_says_what_it_needs(tmp_path, monkeypatch):
    import resource

    prompts, data = shards([4000, 4000], 1)
    begin(tmp_path, index(len(data)), prompts)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    previous = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (60_000, hard))
    try:
        with pytest.raises(RadiographError, match="errno") as error, ShardWriter(tmp_path, SPEC) as writer:
            for shard in data:
                writer.submit(shard)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, previous)
    assert "00000.safetensors" in str(error.value)
    assert not list(tmp_path.glob("*.partial")), "what is half-written takes no room from what follows"
    assert int(error.value.exit_code) == 1
    assert committed(tmp_path, SPEC) == {}
    for shard in data:
        write_shard(tmp_path, shard, SPEC)
    needed = (tmp_path / "00000.safetensors").stat().st_size
    assert f"it needs {needed:,} bytes" in str(error.value)
    assert finish(tmp_path, SPEC).complete


def test_a_harvest_never_holds_more_than_three_shards(tmp_path, monkeypatch):
    prompts, data = shards(PER_PROMPT, 1)
    begin(tmp_path, index(len(data)), prompts)
    behind, done = [], []

    def slow(folder, shard, spec):
        time.sleep(0.01)
        done.append(write_shard(folder, shard, spec))
        return done[-1]

    monkeypatch.setattr("radiograph.store.shards._writer.write_shard", slow)
    with ShardWriter(tmp_path, SPEC) as writer:
        for made, shard in enumerate(data, 1):
            writer.submit(shard)
            behind.append(made - len(done))
    assert max(behind) == 2, "two handed over, and one that capture makes meanwhile"
    assert [c.number for c in writer.commits] == list(range(len(data)))


def test_two_processes_that_write_the_same_shard_never_write_into_each_other(tmp_path, monkeypatch):
    prompts, data = shards(PER_PROMPT, 3)
    begin(tmp_path, index(len(data)), prompts)
    real, entered = _atomic.os.fsync, []

    def interrupted(descriptor):
        """Another writer does all of the same shard while the first one's file lies there unnamed."""
        if not entered:
            entered.append(True)
            write_shard(tmp_path, data[0], SPEC)
        real(descriptor)

    monkeypatch.setattr(_atomic.os, "fsync", interrupted)
    first = write_shard(tmp_path, data[0], SPEC)
    assert entered
    assert first.sha256 == file_sha256(tmp_path / "00000.safetensors")
    assert set(committed(tmp_path, SPEC, verify=True)) == {0}


CHILD = """
import os, sys
from pathlib import Path
sys.path.insert(0, sys.argv[2])
from tests.store.shards.make import SPEC, index, shards
from radiograph.store.shards import ShardWriter, begin, committed, finish
folder = Path(sys.argv[1])
for line in sys.stdin:  # one import for all writers: each is a process of its own, forked before there is a thread
    writer = os.fork()
    if writer == 0:
        prompts, data = shards([30, 20, 40] * 40, 6)
        begin(folder, index(len(data)), prompts)
        done = committed(folder, SPEC)
        with ShardWriter(folder, SPEC) as writer:
            for shard in data:
                if shard.number not in done:
                    writer.submit(shard)
        finish(folder, SPEC, {"documents": 120})
        os._exit(0)
    print(writer, flush=True)
    sys.stdin.readline()
    print(os.waitstatus_to_exitcode(os.waitpid(writer, 0)[1]), flush=True)
"""


@pytest.mark.slow
def test_a_writer_killed_at_any_moment_leaves_what_resumes_to_the_same_bytes(tmp_path):
    write(tmp_path / "whole", [30, 20, 40] * 40, 6)
    killed, root = tmp_path / "killed", str(Path(__file__).parents[3])
    command = [sys.executable, "-c", CHILD, str(killed), root]
    moments = random.Random(0)
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=root) as child:
        assert child.stdin is not None
        assert child.stdout is not None

        def ask():
            child.stdin.write("\n")
            child.stdin.flush()
            return int(child.stdout.readline())

        kills, span = 0, 0.1
        for _ in range(20):
            before = len(list(killed.glob("[0-9]*.json")))
            writer = ask()
            time.sleep(moments.uniform(0, span))
            os.kill(writer, signal.SIGKILL)  # its parent does not wait for it before it is asked to
            code = ask()
            for record in killed.glob("[0-9]*.json"):
                commit = json.loads(record.read_text())
                assert file_sha256(record.with_suffix(".safetensors")) == commit["sha256"]
            kills += code == -signal.SIGKILL
            if code == 0:
                assert hashes(tmp_path / "whole") == hashes(killed)
                shutil.rmtree(killed)
                span /= 2
            elif len(list(killed.glob("[0-9]*.json"))) == before:
                span = min(span * 1.5, 1.0)
        ask()
        assert ask() == 0
    assert kills > 5
    assert hashes(tmp_path / "whole") == hashes(killed)
