"""`decompose train` as a user runs it."""

import json

import polars as pl
import pytest

from radiograph.core import ExitCode, UserError
from radiograph.decompose import load
from radiograph.runtime import verify
from radiograph.store import Bundle, file_sha256
from running import contents, go

QUICK = {"model": "bundled:tms-5-2", "steps": 120, "batch": 64, "eval_every": 40}
EXACT = [("tms-5-2", 5, 60), ("tms-10-5", 10, 90)]


@pytest.fixture(scope="module")
def ran(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path_factory.mktemp("decompose"))
        patch.delenv("RADIOGRAPH_BASE_DIR", raising=False)
        yield go("decompose.train", **QUICK, out="run")


def test_a_run_leaves_a_decomposition_its_tables_and_a_page(ran):
    result, folder = ran.result, ran.path
    own = load(folder)
    assert (result.sha256, result.components) == (own.sha256, own.size) == (own.sha256, 40)
    assert own.document.trained.losses["minimality"]["weight"] == 3e-3
    assert own.document.metrics["alive"] == result.alive
    table = pl.read_parquet(folder / "tables" / "training.parquet")
    assert table["step"].to_list() == [0, 40, 80, 120] and table["total"][3] < table["total"][0]
    components = pl.read_parquet(folder / "tables" / "components.parquet")
    assert components["component"].to_list() == [str(c) for c in own.components]
    assert not (folder / "checkpoints").exists()
    page = (folder / "report.html").read_text()
    assert "Against the known truth" in page and "random decompositions" in page and "before" in page


def test_verify_derives_the_result_again_and_sees_a_change(ran, tmp_path):
    assert verify(ran.path).exit_code == ExitCode.PASS
    from radiograph.methods.decompose import train

    wrong = ran.result.model_copy(update={"alive": 3, "importance_beats_zero": False})
    assert len(train.recompute(wrong.model_dump(mode="json"), ran.path)) == 2
    first = ran.result.recovered[0].model_copy(update={"live": 5, "errors": 0})
    wrong = ran.result.model_copy(update={"recovered": (first, *ran.result.recovered[1:])})
    assert train.recompute(wrong.model_dump(mode="json"), ran.path) != []


def test_d10_3_chance_stands_beside_every_number_and_an_untrained_one_fails(ran):
    for own in ran.result.recovered:
        assert own.mmcs_start > 0.98 and own.mmcs_random > 0.95
        assert own.live_start != 5 and own.errors_start > 0
    assert ran.result.random_decompositions == 100
    assert {m.condition for m in ran.result.masks} == {
        "importance",
        "unmasked",
        "stochastic",
        "random",
        "rounded",
        "zero",
    }
    zero = next(m for m in ran.result.masks if m.condition == "zero")
    assert zero.unrecovered.value == pytest.approx(1.0) and zero.distance.n > 100
    assert ran.result.adversarial.value >= ran.result.adversarial.best_random >= ran.result.adversarial.mean_random


def test_the_data_and_target_are_in_the_manifest(ran):
    manifest = Bundle(ran.path).manifest
    assert [(i.role, i.ref, i.kind) for i in manifest.inputs] == [("model", "bundled:tms-5-2", "model")]
    assert {o.path for o in manifest.outputs} >= {"decomposition/components.safetensors", "tables/masks.parquet"}
    assert file_sha256(ran.path / "decomposition" / "decomposition.json")


def test_restarts_keep_the_lowest_held_out_loss(workspace):
    done = go("decompose.train", **QUICK | {"steps": 8, "eval_every": 8}, restarts=3, out="r").result
    kept = [r for r in done.restarts if r.kept]
    assert [r.seed for r in done.restarts] == [0, 1, 2] and len(kept) == 1
    assert kept[0].held_out == min(r.held_out for r in done.restarts)


def test_a_killed_run_is_resumed_to_the_same_bytes(workspace, monkeypatch):
    from radiograph.decompose.training import Checkpoints

    own = QUICK | {"steps": 12, "eval_every": 4, "batch": 16}
    whole = go("decompose.train", **own, out="whole")
    save = Checkpoints.save

    def dies(self, state):
        save(self, state)
        if state.step == 8:
            raise MemoryError

    with monkeypatch.context() as patch, pytest.raises(MemoryError):
        patch.setattr(Checkpoints, "save", dies)
        go("decompose.train", **own, out="killed")
    again = go("decompose.train", **own, resume="killed.partial", out="again")
    skip = {"manifest.json", "manifest.sha256", "tool_calls.jsonl", "report.html", "report.md"}
    ours, theirs = ({k: v for k, v in contents(p.path).items() if k not in skip} for p in (again, whole))
    assert ours == theirs
    with pytest.raises(MemoryError), monkeypatch.context() as patch:
        patch.setattr(Checkpoints, "save", dies)
        go("decompose.train", **own, out="second")
    with pytest.raises(UserError, match="another settings"):
        go("decompose.train", **own | {"batch": 8}, resume="second.partial", out="third")


@pytest.mark.parametrize(
    ("changed", "named"),
    [
        ({"preset": "tms-5"}, "tms-5-2"),
        ({"weights": ["down.*=4"]}, "w_in, w_out"),
        ({"loss": ["recn:1"]}, "recon"),
        ({"importance": "scaler"}, "scalar"),
        ({"importance": "shared:hiden=3"}, "hidden"),
        ({"squash": "hardd"}, "hard"),
        ({"data": ["world:story#20"]}, "no --data"),
    ],
)
def test_bad_input_names_what_was_meant_and_leaves_nothing(workspace, changed, named):
    with pytest.raises(UserError, match=named):
        go("decompose.train", **QUICK | changed, out="r")
    assert not list(workspace.glob("r*"))


def test_both_uses_of_one_matrix_need_leave(workspace):
    options = {"model": "bundled:base", "preset": "lm", "weights": ["embed=4", "unembed=4"], "data": ["world:story#40"]}
    with pytest.raises(UserError, match="one stored matrix"):
        go("decompose.train", **options, out="r")


@pytest.fixture(scope="module")
def language(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path_factory.mktemp("language"))
        patch.delenv("RADIOGRAPH_BASE_DIR", raising=False)
        yield go(
            "decompose.train",
            model="bundled:base",
            preset="lm-block",
            weights=["up.1=12", "down.1=12"],
            data=["world:story#120"],
            steps=6,
            batch=2,
            length=32,
            warmup_steps=10,
            eval_every=3,
            out="run",
        )


def test_a_block_of_a_language_model(language):
    result = language.result
    assert [w.address for w in result.weights] == ["up.1", "down.1"]
    assert all(m.ce_difference is not None for m in result.masks)
    assert json.loads((language.path / "decomposition" / "decomposition.json").read_text())["target"]["tokens"]
    assert verify(language.path).exit_code == ExitCode.PASS


@pytest.mark.slow
@pytest.mark.parametrize("seed", [0, 1, 2])
@pytest.mark.parametrize(("name", "parts", "seconds"), EXACT)
def test_d10_2_small_toys_are_exact_on_every_seed(workspace, name, parts, seconds, seed):
    import time

    began = time.process_time()
    result = go("decompose.train", model=f"bundled:{name}", seed=seed, out="run").result
    assert time.process_time() - began < seconds
    for own in result.recovered:
        assert (own.live, own.errors) == (parts, 0), own
        assert abs(own.ratio - 1) <= 0.02 and abs(own.ml2r - 1) <= 0.02, own


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "live", "off"),
    [
        ("tms-40-10", [40, 40], 0),
        ("tms-5-2-identity", [5, 2, 5], 0),
        ("tms-40-10-identity", [40, 10, 40], 1),
    ],
)
def test_d10_2_larger_toys_and_identities(workspace, name, live, off):
    result = go("decompose.train", model=f"bundled:{name}", out="run").result
    found = [own.live for own in result.recovered]
    assert all(abs(a - b) <= (off if b == 40 else 0) for a, b in zip(found, live, strict=True)), found
