"""`suite check` on grids: files and names, markers, fractions of a cross, a model that is run, verify."""

from __future__ import annotations

from textwrap import dedent

import pytest

from radiograph.core import UserError
from radiograph.runtime import verify
from radiograph.surfaces.cli._main import run
from running import go

GRID = """\
grid: tones
design: {kind: DESIGN}
factors: {tone: {levels: [dry, warm], markers: {dry: [coldly], warm: [warmly]}}, level: [1, 2]}
cores: {a: "the dog is here", b: "the cat is here", c: "the hen is here", d: "the cow is here"}
frames:
  dry/1: "we coldly see {core}"
  dry/2: "us coldly see {core}"
  warm/1: "we warmly see {core}"
  warm/2: "us warmly see {core}"
"""


def write(folder, design="full", text=GRID):
    (folder / "g.yaml").write_text(text.replace("DESIGN", design))
    return "g.yaml"


def test_a_grid_file_is_judged_like_a_suite(workspace):
    found = go("suite check", suite=write(workspace), model="bundled:base", out="out").result
    assert (found.kind, found.suite_name, found.prompts, found.exit_code) == ("grid", "tones", 16, 0)
    assert [c.name for c in found.crosses] == ["core × tone × level"]
    assert {c.factor for c in found.confounds} == {"tone", "level"}
    assert {c.covariate for c in found.confounds} >= {"tokens", "last token"}
    assert not any("capability" in issue.text or "neutral" in issue.text for issue in found.warnings)
    assert verify(workspace / "out")


def test_declared_markers_are_no_leak(workspace):
    leaks = {row.factor: row for row in go("suite check", suite=write(workspace), out="out").result.wording}
    assert not leaks["tone"].leaks and leaks["level"].leaks


def test_a_latin_square_is_judged_by_its_pairs(workspace):
    found = go("suite check", suite=write(workspace, "latin"), out="out").result
    assert found.exit_code == 0 and found.prompts == 8
    assert {c.name for c in found.crosses} == {"core × tone", "core × level", "tone × level"}


def test_a_missing_cell_is_named(workspace):
    (workspace / "g.csv").write_text("core,tone,level,prompt\na,x,1,p\na,x,2,q\na,y,1,r\nb,x,1,s\nb,x,2,t\nb,y,1,u\n")
    found = go("suite check", suite="g.csv", out="out").result
    assert found.exit_code == 2 and "tone y, level 2" in found.problems[0].text


def test_nll_is_a_covariate_where_the_model_is_run(workspace):
    found = go("suite check", suite=write(workspace), model="bundled:base", nll=True, out="out").result
    row = next(c for c in found.confounds if (c.factor, c.covariate) == ("level", "mean NLL"))
    assert row.statistic == "eta_squared" and row.p is not None
    assert not found.not_measured


def test_notes_of_a_text_grid_are_shown_with_their_lines(workspace, capsys):
    (workspace / "g.txt").write_text(
        dedent("""\
        >> CORE_ID: a
        say: one
        stray
        ask: two
        >> CORE_ID: empty
        """)
    )
    assert run(["suite", "check", "g.txt", "--out", "out"]) == 0
    shown = capsys.readouterr().out
    assert "line 3:" in shown and "line 5: core 'empty' has no prompts" in shown


@pytest.mark.parametrize(("name", "says"), [("certanty", "certainty"), ("nothing-like-it.txt", "nothing at")])
def test_an_unknown_grid_is_exit_3_with_the_nearest(name, says, workspace, capsys):
    assert run(["suite", "check", name, "--quiet"]) == 3
    assert says in capsys.readouterr().err


def test_a_text_that_is_no_utf8_is_exit_3_without_traceback(workspace, capsys):
    (workspace / "g.txt").write_bytes(b">> CORE_ID: a\nsay: \xff\n")
    assert run(["suite", "check", "g.txt", "--quiet"]) == 3
    shown = capsys.readouterr().err
    assert "g.txt:2" in shown and "Traceback" not in shown


def test_a_confined_run_reads_shipped_grids_and_none_outside(workspace, tmp_path_factory):
    assert go("suite check", suite="stories", confined=True, out="out").exit_code == 0
    outside = tmp_path_factory.mktemp("elsewhere") / "g.txt"
    outside.write_text(">> CORE_ID: a\nsay: x\n")
    with pytest.raises(UserError, match="outside the workspace"):
        go("suite check", suite=str(outside), confined=True)
