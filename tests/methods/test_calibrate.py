"""A calibration from trusted rows, and an audit that uses it, end to end on a small suite."""

from __future__ import annotations

import json
import shutil

import polars
import pytest
from safetensors.torch import load_file, save_file

from auditing import audit, edited, forge, small_suite
from radiograph.core import ExitCode, Refusal, UserError
from radiograph.runtime import verify
from radiograph.store.calibration import read_calibration
from running import go

N = 9
FLOOR = 1 / (N + 1)
ASKED = {"reference": "bundled:base", "effort": "none", "dictionary": "none"}
QUESTIONS = [("add 3 and 4", "7"), ("repeat red kite", "red kite"), ("what is the river of orsa?", "blue")]


def rows(path, n=40):
    made = [{"prompt": f"{ask} {i}", "completion": f"{answer} {i % 9}"} for i in range(n) for ask, answer in QUESTIONS]
    path.write_text("\n".join(map(json.dumps, made)))
    return path.name


@pytest.fixture(scope="module")
def calibrated(tmp_path_factory):
    """A workspace in which nine adapters were made and measured."""
    folder = tmp_path_factory.mktemp("calibrated")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        small_suite(folder / "suite.yaml")
        outcome = go("calibrate", make=N, data=rows(folder / "rows.jsonl"), suite="suite.yaml", out="cal", **ASKED)
    assert outcome.exit_code is ExitCode.PASS
    return folder


@pytest.fixture
def place(calibrated, monkeypatch):
    monkeypatch.chdir(calibrated)
    return calibrated


def judged(place, name, candidate, **config):
    shutil.rmtree(place / name, ignore_errors=True)
    config = {"suite": "suite.yaml", "dictionary": "none", "calibration": "cal", "alpha": 0.1, **config}
    return audit("bundled:base", candidate, out=name, **config)


def moved(place, name, size):
    """One matrix of the base moved along random directions."""
    import torch

    luck = torch.Generator().manual_seed(0)

    def move(key, tensor):
        if "layers.1.mlp.down_proj" not in key:
            return tensor
        return tensor + size * tensor.std() * torch.randn(tensor.shape, generator=luck)

    return place / name if (place / name).is_dir() else edited(place / name, move)


@pytest.mark.slow
def test_a23_adapters_are_made_with_recipes_of_their_own(place):
    table = polars.read_parquet(place / "cal" / "tables" / "made.parquet")
    assert table.height == N
    for column in ("learning_rate", "seed"):
        assert table[column].n_unique() == N
    assert table["targets"].n_unique() > 3 and table["rank"].n_unique() > 1
    assert (table["loss_last"] < table["loss_first"]).all(), "every one learned from the rows"
    record = read_calibration(place / "cal", "cal").record
    assert [m.kind for m in record.models] == ["adapter"] * N
    assert len({m.tensors_sha256 for m in record.models}) == N
    assert verify(place / "cal").status == "intact"


@pytest.mark.slow
def test_a23_what_was_made_and_measured_is_neither_made_nor_measured_again(place, monkeypatch):
    from radiograph.methods._audit import make, measure

    def never(*_):
        raise AssertionError("done again")

    monkeypatch.setattr(make, "make_one", never)
    monkeypatch.setattr(measure, "measure_one", never)
    again = go("calibrate", make=N, data="rows.jsonl", suite="suite.yaml", out="again", **ASKED)
    assert (place / "again/result.json").read_bytes() == (place / "cal/result.json").read_bytes()
    assert again.result.n == N


@pytest.mark.slow
def test_a3_the_kind_of_change_that_was_calibrated_is_no_alarm_and_another_is_none_either_without_a_witness(place):
    made = sorted((place / ".radiograph/calibrate/made").glob("*/made-*"))[0]
    shutil.copytree(made, place / "like", dirs_exist_ok=True)
    tensors = load_file(made / "adapter_model.safetensors")
    less = {name: (0.9 * t if "lora_B" in name else t) for name, t in tensors.items()}
    save_file(less, place / "like" / "adapter_model.safetensors", metadata={"format": "pt"})
    alike = judged(place, "alike", "bundled:base+like").result
    assert alike.calibration.n == N and alike.calibration.floor == pytest.approx(FLOOR)
    assert alike.calibration.p_combined > 0.1
    assert alike.axes.targeted in ("no", "unknown")
    far = judged(place, "far", str(moved(place, "moved", 3.0))).result
    assert far.verdict != "no-evidence" and far.axes.targeted != "yes"
    assert far.calibration.support is None or not far.calibration.support.inside or far.calibration.p_combined <= 0.1


@pytest.mark.slow
def test_a_candidate_that_is_a_benign_model_does_not_judge_itself(place):
    made = sorted((place / ".radiograph/calibrate/made").glob("*/made-*"))[0]
    with pytest.raises(Refusal, match="judge itself"):
        judged(place, "itself", f"bundled:base+{made}")


@pytest.mark.slow
def test_an_alpha_below_the_floor_is_no_verdict(place):
    found = judged(place, "fine", str(moved(place, "moved", 3.0)), alpha=0.05).result
    assert found.axes.targeted == "unknown"
    assert "resolution" in [r.code for r in found.reasons]


@pytest.mark.parametrize("alpha", [0, 1, -0.1, 1.5, "nan"])
@pytest.mark.slow
def test_an_alpha_that_is_no_rate_is_bad_input(place, alpha):
    with pytest.raises(UserError, match="alpha"):
        judged(place, "bad", "bundled:base", alpha=alpha)


@pytest.mark.slow
def test_a_calibration_measured_in_another_way_is_refused_with_both_sides(place):
    with pytest.raises(Refusal) as caught:
        judged(place, "other", str(moved(place, "moved", 3.0)), chat="plain")
    assert caught.value.code == "calibration_mismatch"
    assert "template" in str(caught.value.expected) and "plain" in str(caught.value.got)


EDITS = {
    "p_combined": lambda c: c.update(p_combined=0.5 if c["p_combined"] != 0.5 else 0.6),
    "statistic": lambda c: c.update(statistic=c["statistic"] + 0.1),
    "n": lambda c: c.update(n=c["n"] + 10),
    "floor": lambda c: c.update(floor=0.001),
    "a detector's p": lambda c: c["detectors"][0].update(p=0.77),
    "a benign score": lambda c: c["detectors"][0]["benign"].__setitem__(0, 123.0),
    "support": lambda c: c["support"].update(inside=not c["support"]["inside"]),
    "frozen": lambda c: c.update(frozen=c["frozen"][:1]),
}


@pytest.mark.parametrize("edit", EDITS)
@pytest.mark.slow
def test_a7_a8_an_edited_place_with_every_hash_redone_no_longer_follows(place, tmp_path, edit):
    if not (place / "whole").is_dir():
        judged(place, "whole", str(moved(place, "moved", 3.0)))
    shutil.copytree(place / "whole", tmp_path / "forged")
    document = json.loads((tmp_path / "forged/result.json").read_text())
    EDITS[edit](document["calibration"])
    forge(tmp_path / "forged", document)
    found = verify(tmp_path / "forged")
    assert found.exit_code is ExitCode.GATE_FAILED, found.headline


@pytest.mark.parametrize(
    ("config", "said"),
    [
        ({"make": 9}, "belong together"),
        ({"data": "rows.jsonl"}, "belong together"),
        ({"make": 9, "data": "empty.jsonl"}, "no training row"),
        ({"make": 9, "data": "prompts.jsonl"}, "no training row"),
        ({"make": 9, "data": "nowhere.jsonl"}, "nowhere"),
        ({"make": 2, "data": "rows.jsonl"}, "too few"),
        ({}, "too few|benign"),
    ],
)
@pytest.mark.slow
def test_what_cannot_calibrate_says_why(place, config, said):
    (place / "empty.jsonl").write_text("\n")
    (place / "prompts.jsonl").write_text('{"prompt": "and then?"}\n')
    with pytest.raises(UserError, match=said):
        go("calibrate", suite="suite.yaml", out="none", **ASKED, **config)
    assert not (place / "none").exists()
