"""Replay runs again and says whether anything differs."""

from __future__ import annotations

import pytest

from radiograph.core import ExitCode, UserError
from radiograph.runtime import verify
from running import contents, go, numbers

pytestmark = pytest.mark.usefixtures("toy", "workspace")


@pytest.fixture
def bundle(workspace):
    return go("toy.mean", data=str(numbers(workspace / "x.txt", 1, 2, 6)), mode="noisy", seed=5, out="run").path


def test_the_same_run_is_identical(bundle):
    before = contents(bundle)
    outcome = go("replay", run="run", seed=99)
    assert outcome.exit_code is ExitCode.PASS
    assert outcome.result.status == "identical"
    assert {o.status for o in outcome.result.outputs} == {"identical"}
    assert "result.json" in {o.path for o in outcome.result.outputs}
    assert contents(bundle) == before
    assert verify(bundle.parent / "runs" / outcome.result.again).status == "intact"


@pytest.mark.parametrize(("shift", "status", "code"), [(1e-9, "equivalent", 0), (1e-3, "different", 2)])
def test_the_verbs_own_tolerance_decides(bundle, monkeypatch, shift, status, code):
    import radiograph_toy.mean as verb

    original = verb.run
    monkeypatch.setattr(
        verb, "run", lambda config, ctx: (r := original(config, ctx)).model_copy(update={"mean": r.mean * (1 + shift)})
    )
    outcome = go("replay", run="run")
    assert (outcome.result.status, int(outcome.exit_code)) == (status, code)
    if status == "different":
        assert "/mean" in outcome.result.headline


def test_changed_input_is_bad_input(bundle, workspace):
    numbers(workspace / "x.txt", 1, 2, 7)
    with pytest.raises(UserError) as caught:
        go("replay", run="run")
    assert caught.value.code == "input_changed"
    (workspace / "x.txt").unlink()
    with pytest.raises(UserError, match="nothing at"):
        go("replay", run="run")


def test_moved_input_is_named_anew(bundle, workspace):
    (workspace / "x.txt").rename(workspace / "y.txt")
    assert go("replay", run="run", with_=["data=y.txt"]).result.status == "identical"
    with pytest.raises(UserError, match="KEY=VALUE"):
        go("replay", run="run", with_=["data"])


def test_an_input_whose_path_is_not_stored_must_be_named(workspace, somebody):
    path = numbers(somebody / "x.txt", 1, 2)
    go("toy.mean", data=str(path), out="run")
    with pytest.raises(UserError) as caught:
        go("replay", run="run")
    assert caught.value.code == "input_missing"
    assert go("replay", run="run", with_=[f"data={path}"]).result.status == "identical"


def test_steps_and_refusals_replay_too(workspace):
    data = str(numbers(workspace / "x.txt", 1, 2))
    go("toy.twice", data=data, out="nested")
    assert go("replay", run="nested").result.status == "identical"
    numbers(workspace / "x.txt", 1)
    go("toy.mean", data=data, out="refused")
    assert go("replay", run="refused").result.status == "identical"


def test_unfinished_runs_cannot_be_replayed(workspace):
    (workspace / "run.partial").mkdir()
    with pytest.raises(UserError, match="unfinished"):
        go("replay", run="run.partial")
