"""`dictionary train` as a user runs it."""

import json
import shutil

import polars as pl
import pytest

from dictionaries.make import planted
from dictionaries.training.held import held, written
from radiograph.core import ExitCode, Refusal, UserError
from radiograph.dictionaries import load
from radiograph.runtime import find
from radiograph.store import Bundle, file_sha256
from running import contents, go

SMALL = {"size": 64, "k": 3, "tokens": "30k", "batch": 512, "learning_rate": 4e-3}


@pytest.fixture(scope="module")
def shards(tmp_path_factory):
    rows = planted(8192, directions=32, width=16, active=3)[0] + 3
    sources = {"reference/resid_post.1": rows, "candidate/resid_post.1": rows * 2}
    return written(tmp_path_factory.mktemp("planted") / "activations", held(sources))


@pytest.fixture
def here(workspace, shards):
    shutil.copytree(shards, workspace / "h" / "activations")
    return workspace


def train(**options):
    return go("dictionary.train", **({"activations": "h", "input": "resid_post.1"} | SMALL | options))


def test_a_run_leaves_the_dictionary_its_log_and_a_page(here):
    done = train(out="run")
    result = done.result
    dictionary = load(done.path / "dictionary")
    assert (result.sha256, result.size, result.fvu) == (dictionary.hash, 64, dictionary.metadata.quality.fvu)
    assert result.fvu < 0.5 < result.fvu_random
    assert dictionary.metadata.model.reference == "reference"
    assert dictionary.metadata.training.data_sha256 == result.index_sha256
    table = pl.read_parquet(done.path / "tables" / "training.parquet")
    assert table["step"].to_list() == list(range(1, 60))
    assert table["fvu"].drop_nulls().len() == 20
    assert not [name for name in table.columns if "second" in name or "time" in name]
    assert (done.path / "figures" / "training.svg").is_file()
    page = (done.path / "report.html").read_text()
    assert "How it got there" in page and "random dictionary" in page
    assert Bundle(done.path).manifest.inputs[0].sha256 == file_sha256(here / "h" / "activations" / "index.json")
    assert not (done.path / "checkpoints").exists()


def test_the_candidate_is_named_where_its_rows_were_read(here):
    dictionary = load(train(input="candidate/resid_post.1").path / "dictionary")
    assert dictionary.sites == ("resid_post.1",)
    assert dictionary.metadata.model.reference == "candidate"


def test_a_crosscoder_names_both_models(here):
    done = train(input=None, kind="crosscoder", out="run")
    dictionary = load(done.path / "dictionary")
    assert dictionary.sites == ("reference/resid_post.1", "candidate/resid_post.1")
    assert [m.reference for m in dictionary.metadata.candidates] == ["candidate"]
    assert [t.source for t in done.result.targets] == list(dictionary.sites)
    assert "Source by source" in (done.path / "report.html").read_text()


def test_several_seeds_are_compared(here):
    done = train(seeds=2, out="run")
    (other,) = done.result.siblings
    assert load(done.path / other.folder).hash == other.sha256 != done.result.sha256
    assert 0 <= other.shared_null <= 1 and 0 <= other.shared <= 1 and other.n == 64
    assert "Other seeds" in (done.path / "report.html").read_text()


def test_worse_than_the_mean_leaves_the_curve_and_no_dictionary(workspace):
    import torch

    g = torch.Generator().manual_seed(0)
    rows = torch.randn(2000, 32, generator=g)
    rows[:200] = rows[:200] * 0.01 + torch.randn(32, generator=g)
    written(workspace / "h", held(rows, groups=2000))
    done = go("dictionary.train", activations="h", size=64, k=2, tokens=2048, batch=256, learning_rate=1e-4, out="run")
    assert done.exit_code is ExitCode.GATE_FAILED
    assert done.result.sha256 is None and done.result.fvu >= 1
    assert not (done.path / "dictionary").exists()
    assert "not kept" in done.result.headline
    assert "was not kept" in (done.path / "report.html").read_text()
    assert (done.path / "tables" / "training.parquet").is_file()


def test_a_killed_run_is_resumed_with_the_same_bytes(here, monkeypatch):
    whole = train(out="whole")
    from radiograph.dictionaries.training import Checkpoints

    real, saved = Checkpoints.save, []

    def die(self, step, *what, **more):
        real(self, step, *what, **more)
        saved.append(step)
        if len(saved) == 5:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(Checkpoints, "save", die)
        train(out="killed", checkpoint_minutes=0.0)
    assert (here / "killed.partial").is_dir()
    with pytest.raises(UserError, match="had another batch"):
        train(resume="killed.partial", batch=256)
    done = train(resume="killed.partial", out="again")
    assert not (here / "killed.partial").exists()
    same = ("dictionary/", "tables/", "figures/", "result.json")
    ours, theirs = (
        {name: data for name, data in contents(path).items() if name.startswith(same)}
        for path in (whole.path, done.path)
    )
    assert ours == theirs
    steps = [step.name for step in Bundle(done.path).manifest.steps]
    assert "resumed at step 5" in steps


def test_checkpoints_can_be_kept_and_begun_with(here):
    done = train(checkpoint_minutes=0.0, keep_checkpoints=True, out="run")
    kept = sorted((done.path / "checkpoints").iterdir())
    assert load(kept[-1] / "dictionary").size == 64
    again = train(init_from="run/dictionary", size=None, out="again")
    assert again.result.begun_with == done.result.sha256
    assert again.result.size == 64
    assert again.result.fvu < done.result.fvu


def test_trackers_write_outside_the_bundle(here):
    pytest.importorskip("tensorboard")
    plain, tracked = train(out="plain"), train(track="tensorboard", out="tracked")
    assert plain.result == tracked.result
    assert list((here / "tracking").rglob("events.out.tfevents.*"))
    assert not list(tracked.path.rglob("*tfevents*"))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"tokens": "0"}, "forms|whole number"),
        ({"tokens": "64GBs"}, "forms|whole number"),
        ({"size": 64, "expansion": 4}, "both say how many"),
        ({"workers": 3}, "equal parts"),
        ({"workers": "many"}, "number of workers"),
        ({"track": "tensorbord"}, "did you mean tensorboard"),
        ({"matryoshka": "32,16"}, "matryoshka widths"),
        ({"resume": "h"}, "unfinished run"),
        ({"activations": "."}, "no activations|nothing at"),
    ],
)
def test_bad_options_leave_nothing_behind(here, changes, message):
    before = {path.name for path in here.iterdir()}
    with pytest.raises(UserError, match=message):
        train(**(changes if "workers" not in changes else changes | {"workers": str(changes["workers"])}))
    assert {path.name for path in here.iterdir()} - before <= {"runs"}
    assert not list(here.glob("runs/*"))


def test_another_model_than_was_harvested_is_refused(here):
    with pytest.raises(Refusal, match="another model") as error:
        train(model="bundled:base")
    assert error.value.exit_code is ExitCode.BAD_INPUT


def test_a_shard_that_changed_stops_training(here):
    shard = next((here / "h" / "activations").glob("*.safetensors"))
    shard.write_bytes(shard.read_bytes()[:-8])
    with pytest.raises(UserError):
        train()


def test_harvest_then_train_gives_a_dictionary_that_an_audit_accepts(workspace):
    go("harvest", model="bundled:base", site=["resid_post.1"], data=["world:mixture#400"], out="h")
    options = {"activations": "h", "model": "bundled:base", "data": ["world:mixture#400"]}
    done = go("dictionary.train", **options, size=64, k=8, tokens=40_000, batch=256, out="d")
    assert done.result.fvu < 0.5 < done.result.fvu_random
    assert 0.5 < done.result.ce_recovered_mean.value <= 1
    assert done.result.ce_recovered_mean.null < done.result.ce_recovered_mean.value
    meta = load(done.path / "dictionary").metadata
    assert meta.neutral is not None and meta.quality.ce_recovered_zero == done.result.ce_recovered_zero.value
    assert json.loads((done.path / "result.json").read_text())["split_salt"] == 0
    assert go("replay", run="d").result.status == "identical"


def test_help_names_every_option_without_torch():
    from importlib import import_module

    assert import_module("radiograph.methods.dictionary.train").Config.model_fields
    assert find("dictionary train").summary.startswith("Train a sparse dictionary")
