"""Workflows: everything is checked before the first step, steps chain by name, gates stop."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from radiograph.core import ExitCode, FormatError, UserError
from radiograph.runtime import verify
from radiograph.store import Bundle
from running import contents, go, numbers

pytestmark = pytest.mark.usefixtures("toy", "workspace")

YAML = """
schema: radiograph.workflow/1
vars: {data: x.txt, limit: 3, label: "n-{limit}"}
steps:
  - {name: one, verb: toy.mean, with: {data: "{config_dir}/{data}", limit: "{limit}", tag: ["${label}", "{{raw}}"]}}
  - {name: check, verb: verify, with: {run: "{steps.one.out}"}}
  - {name: parts, verb: toy slow, with: {files: 2, pause: 0}}
"""
TOML = """
schema = "radiograph.workflow/1"
vars = {data = "x.txt", limit = 3, label = "n-{limit}"}
[[steps]]
name = "one"
verb = "toy.mean"
with = {data = "{config_dir}/{data}", limit = "{limit}", tag = ["${label}", "{{raw}}"]}
[[steps]]
name = "check"
verb = "verify"
with = {run = "{steps.one.out}"}
[[steps]]
name = "parts"
verb = "toy slow"
with = {files = 2, pause = 0}
"""


def write(workspace: Path, *steps: dict, name: str = "flow.json", **more) -> str:
    document = {"schema": "radiograph.workflow/1", "steps": list(steps), **more}
    (workspace / name).write_text(json.dumps(document))
    return name


def mean(name: str = "one", **options) -> dict:
    return {"name": name, "verb": "toy.mean", "with": {"data": "x.txt", **options}}


@pytest.fixture(autouse=True)
def data(workspace) -> Path:
    return numbers(workspace / "x.txt", 1, 2, 3)


@pytest.mark.parametrize(("name", "text"), [("f.yaml", YAML), ("f.toml", TOML)])
def test_yaml_and_toml_mean_the_same(workspace, name, text):
    (workspace / name).write_text(text)
    outcome = go("run", workflow=name)
    assert outcome.exit_code is ExitCode.PASS
    assert [s.run for s in outcome.result.steps] == ["steps/1-toy.mean", "steps/2-verify", "steps/3-toy.slow"]
    step = Bundle(outcome.path / "steps/1-toy.mean")
    assert step.result["tag"] == ["n-3", "{raw}"]
    assert step.manifest.config["limit"] == 3.0
    assert step.manifest.config["data"] == "x.txt"
    assert verify(outcome.path).status == "intact"


def test_variables_of_the_command_line_win(workspace):
    flow = write(workspace, mean(limit="{limit}"), vars={"limit": 3})
    assert go("run", workflow=flow).exit_code is ExitCode.PASS
    assert go("run", workflow=flow, var=["limit=1"]).exit_code is ExitCode.GATE_FAILED


def test_only_listed_environment_variables_are_read(workspace, monkeypatch):
    monkeypatch.setenv("FILE", "x.txt")
    step = {"name": "one", "verb": "toy.mean", "with": {"data": "{FILE}"}}
    with pytest.raises(UserError, match="FILE"):
        go("run", workflow=write(workspace, step))
    assert go("run", workflow=write(workspace, step, env=["FILE"])).exit_code is ExitCode.PASS


@pytest.mark.parametrize(
    ("steps", "more", "said"),
    [
        ([mean(data="{dta}")], {"vars": {"data": 1}}, "did you mean data"),
        ([mean(data="{steps.later.out}"), mean("later")], {}, "steps.later.out"),
        ([{"name": "one", "verb": "toy.maen"}], {}, "toy.mean"),
        ([mean(limt=3)], {}, "did you mean limit"),
        ([mean(limit="much")], {}, "limit"),
        ([mean(), mean()], {}, "unique"),
        ([{"name": "a/b", "verb": "toy.mean"}], {}, "name"),
        ([], {}, "steps"),
        ([mean()], {"step": 1}, "step"),
        ([{"name": "one", "verb": "run", "with": {"workflow": "flow.json"}}], {}, "cannot be a step"),
    ],
)
def test_mistakes_show_before_anything_runs(workspace, steps, more, said):
    ran = {"name": "first", "verb": "toy.slow", "with": {"files": 1}}
    flow = write(workspace, *([ran] if steps else []), *steps, **more)
    with pytest.raises(UserError) as caught:
        go("run", workflow=flow, out="out")
    assert said in str(caught.value)
    assert not list(workspace.glob("out*"))


def test_unknown_variable_on_the_command_line_is_an_error(workspace):
    with pytest.raises(UserError, match="limt"):
        go("run", workflow=write(workspace, mean(), vars={"limit": 1}), var=["limt=2"])
    with pytest.raises(UserError, match="--var"):
        go("run", workflow=write(workspace, mean()), var=["limit"])


def test_a_failed_gate_stops_unless_told_otherwise(workspace):
    gate, after = mean("gate", limit=1), mean("after")
    stopped = go("run", workflow=write(workspace, gate, after))
    assert stopped.exit_code is ExitCode.GATE_FAILED
    assert [s.status for s in stopped.result.steps] == ["done", "not_run"]
    went_on = go("run", workflow=write(workspace, {**gate, "on_gate": "continue"}, after))
    assert went_on.exit_code is ExitCode.GATE_FAILED
    assert [s.status for s in went_on.result.steps] == ["done", "done"]


def test_an_unmeasured_step_stops_too(workspace):
    numbers(workspace / "x.txt", 1)
    outcome = go("run", workflow=write(workspace, mean("gate"), mean("after")))
    assert outcome.exit_code is ExitCode.NOT_MEASURED
    assert [s.status for s in outcome.result.steps] == ["done", "not_run"]


def test_dry_run_checks_and_runs_nothing(workspace):
    outcome = go("run", workflow=write(workspace, mean(), mean("two")), dry_run=True)
    assert [s.status for s in outcome.result.steps] == ["planned", "planned"]
    assert not (outcome.path / "steps").exists()
    with pytest.raises(UserError, match="limt"):
        go("run", workflow=write(workspace, mean(limt=1)), dry_run=True)


def test_a_workflow_may_not_leave_the_workspace(workspace, tmp_path_factory):
    outside = numbers(tmp_path_factory.mktemp("elsewhere") / "x.txt", 1, 2)
    (workspace / "link.txt").symlink_to(outside)
    for path in (str(outside), "link.txt", f"../{outside.parent.name}/x.txt"):
        with pytest.raises(UserError) as caught:
            go("run", workflow=write(workspace, mean(data=path)))
        assert caught.value.code == "path_outside_workspace"


def test_what_the_run_itself_wrote_is_inside(workspace, tmp_path_factory):
    (workspace / "f.yaml").write_text(YAML)
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    assert go("run", workflow="f.yaml", out=str(elsewhere / "run")).exit_code is ExitCode.PASS


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("f.yaml", "steps: ["),
        ("f.yaml", "- 1"),
        ("f.yaml", "schema: radiograph.workflow/2\nsteps: [{name: a, verb: verify}]"),
        ("f.yaml", "a: !!python/object/apply:os.system [ls]"),
        (
            "f.yaml",
            "a: &a [x, x]\n"
            + "".join(
                f"{c}: &{c} [*{p}, *{p}, *{p}, *{p}]\n" for p, c in zip("abcdefghijk", "bcdefghijkl", strict=True)
            ),
        ),
        ("f.yaml", "a: &a [*a]"),
        ("f.toml", "steps = "),
        ("f.json", "[" * 10_000),
        ("f.json", "{" + " " * 2**20 + "}"),
    ],
)
def test_what_is_no_workflow_is_bad_input(workspace, name, text):
    (workspace / name).write_text(text)
    with pytest.raises(FormatError):
        go("run", workflow=name)
    assert not list((workspace / "runs").glob("*"))


def test_same_workflow_same_bytes(workspace):
    from radiograph.store import TIMED

    flow = write(workspace, mean(mode="noisy"), mean("two", data="x.txt"))
    left, right = (contents(go("run", workflow=flow).path) for _ in range(2))
    assert {k for k in left if left[k] != right[k]} <= {k for k in left if Path(k).name in TIMED}
