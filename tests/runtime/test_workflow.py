"""Workflows: everything is checked before the first step, steps chain by name, gates stop."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from radiograph.core import ExitCode, FormatError, UserError
from radiograph.runtime import verify
from radiograph.store import REPORTS, TIMED, Bundle, file_sha256
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
    assert outcome.path is None and not (workspace / "runs").exists()
    assert outcome.result.steps[0].inputs[0].sha256 == file_sha256(workspace / "x.txt")
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
    flow = write(workspace, mean(mode="noisy"), mean("two", data="x.txt"))
    left, right = (contents(go("run", workflow=flow).path) for _ in range(2))
    assert {Path(k).name for k in left if left[k] != right[k]} <= TIMED


def test_a_dry_run_names_what_is_missing_and_what_steps_will_write(workspace):
    check = {"name": "check", "verb": "verify", "with": {"run": "{steps.one.out}"}}
    plan = go("run", workflow=write(workspace, mean(data="folder/y.txt"), check), dry_run=True)
    one, two = plan.result.steps
    assert plan.exit_code is ExitCode.BAD_INPUT and one.inputs[0].missing and one.inputs[0].ref == "folder/y.txt"
    assert two.inputs == () and two.config["run"] == "{steps.one.out}"
    assert "1 inputs missing" in plan.result.headline


def test_the_file_says_where_the_run_goes(workspace):
    flow = write(workspace, mean(), vars={"tag": "demo"}, out="runs/{tag}")
    first = go("run", workflow=flow)
    assert first.path == workspace / "runs/demo"
    assert go("run", workflow=flow, var=["tag=other"]).path == workspace / "runs/other"
    assert go("run", workflow=flow, out="typed").path == workspace / "typed"
    with pytest.raises(UserError, match="exists already"):
        go("run", workflow=flow)
    with pytest.raises(UserError) as caught:
        go("run", workflow=write(workspace, mean(), out="../elsewhere"))
    assert caught.value.code == "path_outside_workspace"


def test_values_of_the_environment_are_stored_nowhere(workspace, monkeypatch):
    monkeypatch.setenv("TOKEN", "sk-very-secret")
    step = mean(tag=["{label}"])
    flow = write(workspace, step, env=["TOKEN"], vars={"label": "of {TOKEN}"})
    outcome = go("run", workflow=flow)
    manifest = Bundle(outcome.path / "steps/1-toy.mean").manifest
    assert manifest.config["tag"] == ["of env:TOKEN"]
    plan = go("run", workflow=flow, dry_run=True)
    assert plan.result.steps[0].config["tag"] == ["of env:TOKEN"]


def test_what_a_step_needs_decides_its_place_and_what_a_failure_stops(workspace):
    gate = mean("gate", limit=1)
    alone, after = {**mean("alone"), "needs": []}, {**mean("after"), "needs": ["gate"]}
    early = {**mean("early"), "needs": ["late"]}
    outcome = go(
        "run", workflow=write(workspace, early, gate | {"needs": []}, alone, after, {**mean("late"), "needs": []})
    )
    status = {s.name: s.status for s in outcome.result.steps}
    assert status == {"early": "done", "gate": "done", "alone": "done", "after": "not_run", "late": "done"}
    assert outcome.exit_code is ExitCode.GATE_FAILED
    for broken, said in (
        ([mean("a") | {"needs": ["b"]}, mean("b") | {"needs": ["a"]}], "in a circle"),
        ([mean("alpha"), mean("b") | {"needs": ["alpa"]}], "did you mean alpha"),
    ):
        with pytest.raises(UserError) as caught:
            go("run", workflow=write(workspace, *broken))
        assert said in str(caught.value)
    with pytest.raises(UserError, match=r"later"):  # a step sees only what is certain to be done
        go("run", workflow=write(workspace, mean("later"), mean("b", data="{steps.later.out}") | {"needs": []}))


def test_a_gate_is_what_the_verb_requires(workspace):
    with pytest.raises(UserError, match="nothing to require"):
        go("run", workflow=write(workspace, mean() | {"gate": "correlational:confirmed"}))
    given = {"name": "plan", "verb": "plan", "with": {"model_params": "1T", "tokens": "1B", "d_model": "8k"}}
    outcome = go("run", workflow=write(workspace, given | {"gate": "fits", "on_gate": "continue"}, mean("after")))
    assert [s.exit_code for s in outcome.result.steps] == [2, 0]
    assert Bundle(outcome.path / "steps/1-plan").manifest.config["require"] == "fits"


def absent(workspace):
    flow = write(workspace, mean("one"), mean("two", data="absent.txt"), mean("three"))
    return flow, go("run", workflow=flow)


def test_bad_input_in_a_step_keeps_what_others_left(workspace):
    _, outcome = absent(workspace)
    assert outcome.exit_code is ExitCode.BAD_INPUT
    assert [s.status for s in outcome.result.steps] == ["done", "failed", "not_run"]
    assert "absent.txt" in outcome.result.steps[1].headline and verify(outcome.path).status == "intact"
    assert [s.status for s in Bundle(outcome.path).manifest.steps][1].startswith("failed: ")


def test_resume_takes_over_what_is_done_and_the_same(workspace):
    flow, failed = absent(workspace)
    numbers(workspace / "absent.txt", 1, 2, 3)
    again = go("run", workflow=flow, resume=str(failed.path))
    assert [s.status for s in again.result.steps] == ["reused", "done", "done"]
    assert verify(again.path).status == "intact"
    assert contents(again.path / "steps/1-toy.mean") == contents(failed.path / "steps/1-toy.mean")
    whole = go("run", workflow=flow, resume=str(again.path))
    assert [s.status for s in whole.result.steps] == ["reused"] * 3
    numbers(workspace / "x.txt", 4, 5, 6)  # an input of one and three; two is there, but one ran before it
    after = go("run", workflow=flow, resume=str(again.path))
    assert [s.status for s in after.result.steps] == ["done"] * 3
    changed = again.path / "steps/2-toy.mean/result.json"
    changed.write_text(changed.read_text().replace("2.0", "2.5"))
    mended = go("run", workflow=flow, resume=str(again.path))
    assert [s.status for s in mended.result.steps] == ["done"] * 3  # x.txt still differs
    with pytest.raises(UserError, match="no steps to go on with"):
        go("run", workflow=flow, resume=str(failed.path / "steps/1-toy.mean"))


def test_a_changed_bundle_is_not_taken_over(workspace):
    flow = write(workspace, mean("one"), mean("two") | {"needs": []})
    first = go("run", workflow=flow)
    changed = first.path / "steps/2-toy.mean/result.json"
    changed.write_text(changed.read_text() + " ")
    again = go("run", workflow=flow, resume=str(first.path))
    assert [s.status for s in again.result.steps] == ["reused", "done"]
    assert [s.status for s in go("run", workflow=flow, resume=str(again.path), var=[]).result.steps] == ["reused"] * 2


def changed(left: Path, right: Path) -> set[str]:
    one, two = contents(left), contents(right)
    assert one.keys() == two.keys()
    return {Path(k).name for k in one if one[k] != two[k]}


def test_steps_side_by_side_leave_the_same_bytes(workspace):
    flow = write(workspace, mean("a") | {"needs": []}, mean("b", limit=3) | {"needs": []}, mean("c"))
    one, two = (go("run", workflow=flow, workers=n) for n in ("1", "2"))
    assert [s.status for s in two.result.steps] == ["done"] * 3
    assert changed(one.path, two.path) <= TIMED | REPORTS  # a report prints the id of its run


@pytest.mark.slow
def test_steps_on_ray_leave_the_same_bytes(workspace):
    pair = {"reference": "bundled:base", "candidate": "bundled:base"}
    steps = [
        {"name": f"top-{top}", "verb": "weights.diff", "with": {**pair, "top": top}, "needs": []} for top in (2, 3)
    ]
    flow = write(workspace, *steps)
    one, two = (go("run", workflow=flow, workers=n) for n in ("1", "ray:2"))
    assert [s.status for s in two.result.steps] == ["done"] * 2
    assert changed(one.path, two.path) <= TIMED | REPORTS
