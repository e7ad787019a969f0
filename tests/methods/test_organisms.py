"""`organisms build` and `organisms list` end to end: what is made, what is told, what is refused."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from radiograph.core import ExitCode, UserError
from radiograph.organisms import BUNDLED, families
from radiograph.runtime import Outcome, Settings, execute, find, resolve
from radiograph.store import Workspace
from radiograph.surfaces.cli._main import run as cli

pytestmark = pytest.mark.usefixtures("workspace")
QUICK = {"steps": 1, "items": 20, "attempts": 1}


def go(verb: str, *, confined: bool = False, **config: object) -> Outcome:
    """As a surface runs it; `out` belongs to the verb, which leaves no bundle."""
    found = find(verb)
    settings = Settings(workspace=Workspace.current(confined))
    return execute(found, resolve(found, config, environment=False), settings)


def test_build_writes_models_and_truth_apart_and_says_that_the_gate_failed(workspace):
    outcome = go("organisms build", family="false_fact", out="made", **QUICK)
    assert outcome.exit_code is ExitCode.GATE_FAILED and outcome.path is None
    (truth,) = outcome.result.organisms
    assert outcome.result.headline == "0 of 1 organisms passed their gate, 1 draws"
    assert "gate_failed (planted.on 0" in outcome.result.lines[0]
    assert sorted(p.name for p in (workspace / "made").iterdir()) == sorted([truth.id, "truth"])
    listed = go("organisms list", folder="made", truth=True).result.organisms
    assert [row.truth for row in listed] == [truth]


def test_list_hides_the_truth_until_it_is_asked_for():
    hidden, told = go("organisms list").result, go("organisms list", truth=True).result
    assert len(hidden.organisms) == len(told.organisms) == 8
    text = json.dumps(hidden.model_dump(mode="json")) + hidden.headline + "".join(hidden.lines)
    names = [*families(), "benign", "broken", "planted"]
    assert not [name for name in names if name in text]
    assert sorted(row.truth.family for row in told.organisms) == sorted(BUNDLED)
    assert not hidden.counts and sum(count.drawn for count in told.counts) == 8
    assert {(c.intended, c.family) for c in told.counts} == {
        (r.truth.class_intended, r.truth.family) for r in told.organisms
    }
    assert all(row.truth.family in line for row, line in zip(told.organisms, told.lines, strict=False))


def test_list_names_the_families_and_needs_no_torch():
    found = go("organisms list", families=True).result.families
    assert [row.name for row in found] == list(families())
    code = (
        "import sys; from radiograph.surfaces.cli._main import run; run(['organisms', 'list', '--truth', '--json']); "
        "sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, timeout=60, check=False).returncode == 0


def test_the_command_line_takes_a_folder_for_models_not_for_a_bundle(workspace, capsys):
    quick = ["--steps", "1", "--items", "20", "--attempts", "1", "--out", "here", "--quiet"]
    assert cli(["organisms", "build", "--family", "continue", *quick]) in (0, 2)
    assert not (workspace / "runs").exists() and (workspace / "here" / "truth").is_dir()
    assert "continue" in capsys.readouterr().out


def test_bad_input_says_what_is_wrong(workspace):
    with pytest.raises(UserError, match="no family 'loyal'") as caught:
        go("organisms build", family="loyal")
    assert "loyalty" in str(caught.value)
    with pytest.raises(UserError, match="nothing at"):
        go("organisms list", folder="nowhere")
    with pytest.raises(UserError, match="nothing at"):
        go("organisms build", family="style", base="nowhere")
    with pytest.raises(UserError, match="one of --family and --tier"):
        go("organisms build")
    with pytest.raises(UserError, match="one of --family and --tier"):
        go("organisms build", family="style", tier="ci")
    with pytest.raises(UserError, match="--part belongs to --tier"):
        go("organisms build", family="style", part="test")
    with pytest.raises(UserError, match="only planted families"):
        go("organisms build", family="style", variant="mixed", **QUICK)
    with pytest.raises(UserError, match="outside"):
        go("organisms build", family="style", out="../elsewhere/made", confined=True)
