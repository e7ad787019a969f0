"""A run leaves one bundle, the same for the same inputs, and says nothing about who made it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from radiograph.core import ExitCode, UserError
from radiograph.runtime import verify
from radiograph.store import TIMED, Bundle
from running import contents, go, leaks, numbers

pytestmark = pytest.mark.usefixtures("toy", "workspace")


def untimed(folder: Path) -> dict[str, bytes]:
    return {k: v for k, v in contents(folder).items() if Path(k).name not in TIMED}


def test_bundle_is_complete_and_sealed(workspace):
    outcome = go("toy.mean", data=str(numbers(workspace / "x.txt", 1, 2, 6)), out="run")
    assert outcome.exit_code is ExitCode.PASS
    assert outcome.path == workspace / "run"
    assert outcome.seal == verify(outcome.path).seal
    assert set(contents(outcome.path)) >= {
        "manifest.json",
        "manifest.sha256",
        "result.json",
        "report.md",
        "report.html",
        "tool_calls.jsonl",
        "tables/values.parquet",
    }
    assert not list(workspace.glob("*.partial"))
    manifest = Bundle(outcome.path).manifest
    assert manifest.config == {"data": "x.txt", "limit": None, "scale": 1.0, "mode": "plain", "tag": []}
    assert manifest.config_origins["data"] == "command line"
    assert manifest.config_origins["scale"] == "default"
    assert [(i.role, i.ref, i.kind) for i in manifest.inputs] == [("data", "x.txt", "file")]
    assert [(s.name, s.status) for s in manifest.steps] == [("read", "done")]


def test_same_seed_same_bytes_outside_timed_files(workspace):
    data = str(numbers(workspace / "x.txt", 1, 2, 6))
    runs = [go("toy.mean", data=data, mode="noisy", seed=s, out=f"run{i}") for i, s in enumerate((3, 3, 4))]
    first, again, other = (untimed(r.path) for r in runs)
    assert first == again
    assert first["result.json"] != other["result.json"]


def test_a_second_run_never_touches_the_first(workspace):
    data = str(numbers(workspace / "x.txt", 1, 2))
    first = go("toy.mean", data=data)
    before = contents(first.path)
    second = go("toy.mean", data=data)
    assert first.path != second.path
    assert first.path.parent == second.path.parent == workspace / "runs"
    assert contents(first.path) == before
    with pytest.raises(UserError, match="exists already"):
        go("toy.mean", data=data, out=str(first.path))


def test_nothing_names_a_path_a_person_or_a_host(workspace, somebody):
    outside = numbers(somebody / "x.txt", 1, 2)
    for outcome in (go("toy.mean", data=str(outside)), go("toy.twice", data=str(outside))):
        assert leaks(outcome.path, workspace) == []


def test_a_refusal_is_a_complete_bundle(workspace):
    outcome = go("toy.mean", data=str(numbers(workspace / "x.txt", 1)))
    assert outcome.exit_code is ExitCode.NOT_MEASURED
    assert json.loads((outcome.path / "result.json").read_text())["code"] == "too_few"
    assert Bundle(outcome.path).manifest.status == "refused"
    assert verify(outcome.path).status == "intact"


def test_bad_input_leaves_nothing(workspace):
    with pytest.raises(UserError, match="no number"):
        go("toy.mean", data=str(numbers(workspace / "x.txt", 1, "two")))
    with pytest.raises(UserError, match="nothing at") as caught:
        go("toy.mean", data="y.txt")
    assert "x.txt" in str(caught.value)
    assert not list((workspace / "runs").glob("*"))


def test_a_failed_gate_is_a_result(workspace):
    outcome = go("toy.mean", data=str(numbers(workspace / "x.txt", 1, 9)), limit=2)
    assert outcome.exit_code is ExitCode.GATE_FAILED
    assert Bundle(outcome.path).manifest.exit_code == 2


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), RuntimeError("bug"), KeyboardInterrupt()])
def test_what_breaks_a_run_leaves_it_unfinished(workspace, monkeypatch, error):
    import radiograph_toy.mean

    def broken(config, ctx):
        ctx.output.text("half.txt", "half")
        raise error

    monkeypatch.setattr(radiograph_toy.mean, "run", broken)
    with pytest.raises(type(error)):
        go("toy.mean", data=str(numbers(workspace / "x.txt", 1, 2)), out="run")
    assert not (workspace / "run").exists()
    assert verify(workspace / "run.partial").exit_code is ExitCode.BAD_INPUT


def test_steps_leave_bundles_inside_the_bundle(workspace):
    outcome = go("toy.twice", data=str(numbers(workspace / "x.txt", 1, 2)))
    steps = Bundle(outcome.path).manifest.steps
    assert [s.run for s in steps] == ["steps/1-toy.mean", "steps/2-toy.mean"]
    assert [Bundle(outcome.path / s.run).result["mean"] for s in steps] == [1.5, 3.0]
    assert verify(outcome.path).status == "intact"


def test_a_config_path_outside_the_workspace_is_refused(workspace, tmp_path_factory):
    outside = numbers(tmp_path_factory.mktemp("elsewhere") / "x.txt", 1, 2)
    (workspace / "link.txt").symlink_to(outside)
    for path in (str(outside), "link.txt", f"../{outside.parent.name}/x.txt", "/etc/hostname", "/no/such/file"):
        with pytest.raises(UserError) as caught:
            go("toy.mean", data=path, confined=True)
        assert caught.value.code == "path_outside_workspace"
