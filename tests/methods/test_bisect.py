"""`bisect` on histories of scripts: answers, errors that are no breaks, bad input, resuming, what `verify` derives."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from radiograph.core import ExitCode, Refusal, UserError
from radiograph.methods.bisect import recompute, soup
from radiograph.runtime import verify
from radiograph.surfaces.cli._main import run as cli
from running import go

EVAL = "sh {ckpt}/run"


def history(root: Path, *scripts: str) -> str:
    for number, script in enumerate(scripts, start=1):
        folder = root / "h" / f"checkpoint-{number * 50}"
        folder.mkdir(parents=True)
        (folder / "run").write_text(f"echo {number} >> calls\n{script}\n")
    return "h"


def exits(*codes: int) -> list[str]:
    return [f"exit {code}" for code in codes]


def calls(root: Path) -> list[str]:
    path = root / "calls"
    return path.read_text().split() if path.exists() else []


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_first_broken_one_is_found_in_order_of_steps(here):
    outcome = go("bisect", folder=history(here, *exits(0, 0, 0, 0, 0, 1, 1, 1, 1, 1)), eval_=EVAL, check=0, out="run")
    found = outcome.result
    assert (found.outcome, found.last_good, found.first_broken) == ("BROKEN_AT", "h/checkpoint-250", "h/checkpoint-300")
    assert outcome.exit_code == ExitCode.GATE_FAILED
    assert found.evaluations == len(calls(here)) <= found.expected == 6
    assert verify(here / "run").status == "intact"
    assert soup(found)["verdict"] == "BROKEN_AT"
    assert soup(found)["steps"][0] == {"checkpoint": "h/checkpoint-50", "ok": True}
    document = json.loads((here / "run" / "result.json").read_text())
    for key, value in (("outcome", "ALL_OK"), ("first_broken", "h/checkpoint-350")):
        assert recompute(document | {key: value}, here / "run")
    document["runs"][0]["outcome"] = "broken"
    assert recompute(document, here / "run")


def test_pd_12_what_goes_wrong_is_never_a_break(here):
    folder = history(here, *exits(0, 3, 1))
    outcome = go("bisect", folder=folder, eval_=EVAL, check=0, out="code")
    assert (outcome.result.outcome, outcome.exit_code) == ("EVAL_ERROR", ExitCode.NOT_MEASURED)
    assert outcome.result.first_broken is None
    assert verify(here / "code").status == "intact"
    with pytest.raises(Refusal):
        soup(outcome.result)
    with pytest.raises(UserError, match="cannot run 'no-such-binary'"):
        go("bisect", folder=folder, eval_="no-such-binary {ckpt}", out="none")
    assert not (here / "none").exists()
    shutil.rmtree(here / "h")
    late = go("bisect", folder=history(here, "exit 0", "sleep 60"), eval_=EVAL, timeout="0.3s").result
    assert late.outcome == "EVAL_ERROR"
    assert "0.3 s" in late.headline
    shutil.rmtree(here / "h")
    killed = go("bisect", folder=history(here, "kill -9 $$", "exit 1"), eval_=EVAL).result
    assert (killed.outcome, killed.runs[0].exit_code) == ("EVAL_ERROR", -9)


@pytest.mark.parametrize(
    ("codes", "outcome", "exit_code"),
    [
        ((0, 0, 0), "ALL_OK", 0),
        ((1, 1, 1), "FIRST_IS_BROKEN", 4),
        ((0, 125, 1), "INCONCLUSIVE", 4),
        ((0, 0, 125), "INCONCLUSIVE", 4),
    ],
)
def test_other_answers_have_their_exit_codes(here, codes, outcome, exit_code):
    found = go("bisect", folder=history(here, *exits(*codes)), eval_=EVAL)
    assert (found.result.outcome, int(found.exit_code)) == (outcome, exit_code)


def test_pd_13_good_after_broken_is_not_monotone(here):
    found = go("bisect", folder=history(here, *exits(0, 1, 0)), eval_=EVAL)
    assert (found.result.outcome, int(found.exit_code)) == ("NOT_MONOTONE", 4)
    assert found.result.monotone.contradictions == ("h/checkpoint-150",)


def test_a_metric_decides_and_is_reread_under_another_threshold_without_a_run(here):
    folder = history(here, *(f"""echo log; echo '{{"a": {{"loss": {value}}}}}'""" for value in (0.1, 0.2, 0.3, 0.4)))
    first = go("bisect", folder=folder, eval_=EVAL, metric="a.loss", broken_if=">0.25", out="first", scan=True).result
    assert first.first_broken == "h/checkpoint-150"
    ran = len(calls(here))
    again = go("bisect", folder=folder, eval_=EVAL, metric="a.loss", broken_if=">0.15", resume="first", out="again")
    assert again.result.first_broken == "h/checkpoint-100"
    assert len(calls(here)) == ran, "nothing runs twice"
    assert verify(here / "again").status == "intact"


@pytest.mark.parametrize("said", ["{}", "no json", '{"loss": "high"}', '{"loss": NaN}'])
def test_a_metric_that_is_no_number_is_bad_input(here, said):
    with pytest.raises(UserError, match="loss"):
        go("bisect", folder=history(here, f"echo '{said}'", "exit 0"), eval_=EVAL, metric="loss", broken_if=">1")


def test_p8_11_resuming_a_killed_run_repeats_nothing(here):
    folder = history(here, *exits(0, 0, 0, 0, 0, 1, 1, 1))
    whole = go("bisect", folder=folder, eval_=EVAL, out="whole").result
    shutil.copytree(here / "whole", here / "cut.partial")
    for path in sorted((here / "cut.partial" / "runs").glob("*"))[6:]:
        path.unlink()
    (here / "cut.partial" / "manifest.json").unlink()
    before = len(calls(here))
    again = go("bisect", folder=folder, eval_=EVAL, resume="cut.partial", out="again").result
    assert again == whole
    assert len(calls(here)) - before == whole.evaluations - 3
    assert (here / "again" / "result.json").read_bytes() == (here / "whole" / "result.json").read_bytes()


def test_equal_contents_are_evaluated_once(here):
    folder = history(here, "exit 0", "exit 0", "exit 1")
    shutil.copy(here / "h" / "checkpoint-50" / "run", here / "h" / "checkpoint-100" / "run")
    found = go("bisect", folder=folder, eval_=EVAL).result
    assert found.first_broken == "h/checkpoint-150"
    assert [s.same_as for s in found.steps if s.checkpoint.endswith("-100")] == ["h/checkpoint-50"]
    assert len(calls(here)) == 2


@pytest.mark.parametrize(
    ("config", "said"),
    [
        ({"checkpoint": ["h/checkpoint-50"]}, "two checkpoints"),
        ({"checkpoint": ["h/checkpoint-50", "h/../h/checkpoint-50"]}, "twice"),
        ({"checkpoint": ["h/checkpoint-50", "h/none"]}, "none"),
        ({"folder": "h", "eval_": "true"}, "where the checkpoint goes"),
        ({"folder": "h", "eval_": None}, "one of --eval and --verb"),
        ({"folder": "h", "metric": "a"}, "go together"),
        ({"folder": "h", "broken_exit": "125"}, "exit codes from 1"),
        ({"folder": "h", "repeats": 3}, "can never decide"),
        ({"folder": "h", "timeout": "soon"}, "cannot read 'soon'"),
        ({"folder": "h", "eval_": "sh 'x {ckpt}"}, "cannot split"),
        ({"folder": "h", "pattern": "run-*"}, "two checkpoints"),
        ({"folder": "same"}, "same place in the order"),
        ({}, "which checkpoints"),
    ],
)
def test_pd_15_bad_input_is_said_and_leaves_nothing(here, config, said):
    history(here, *exits(0, 1))
    for name in ("checkpoint-1", "checkpoint-01"):
        (here / "same" / name).mkdir(parents=True)
    with pytest.raises(UserError) as caught:
        go("bisect", **({"eval_": EVAL} | config))
    assert said in str(caught.value)
    assert caught.value.exit_code == ExitCode.BAD_INPUT
    assert not any((here / "runs").glob("*"))
    assert calls(here) == []


def test_a_program_of_a_file_is_not_run_unless_that_is_typed(here, capsys):
    history(here, *exits(0, 1))
    (here / "config.json").write_text(json.dumps({"folder": "h", "eval": EVAL}))
    assert cli(["bisect", "--config", "config.json", "--quiet"]) == 3
    assert "--allow-commands" in capsys.readouterr().err
    assert calls(here) == []
    assert cli(["bisect", "--config", "config.json", "--quiet", "--allow-commands"]) == 2
    with pytest.raises(UserError, match="is not run"):
        go("bisect", folder="h", eval_=EVAL, confined=True)


def test_p9_the_former_name_and_soup_keys(here, capsys):
    history(here, *exits(0, 1))
    line = ["adapters", "bisect", "--folder", "h", "--eval", EVAL, "--schema", "soup", "--output", "f.json", "--quiet"]
    assert cli(line) == 2
    assert "radiograph bisect" in capsys.readouterr().err
    told = json.loads((here / "f.json").read_text())
    assert told == {
        "verdict": "BROKEN_AT",
        "first_broken": "h/checkpoint-100",
        "probes": 2,
        "steps": [{"checkpoint": "h/checkpoint-50", "ok": True}, {"checkpoint": "h/checkpoint-100", "ok": False}],
    }


def test_names_of_checkpoints_are_spelled_out(here, capsys):
    names = ["h/checkpoint-1<b>x", "h/checkpoint-2\x1b[31m"]
    for name, code in zip(names, (0, 1), strict=True):
        (here / name).mkdir(parents=True)
        (here / name / "run").write_text(f"exit {code}")
    assert cli(["bisect", *names, "--eval", EVAL, "--out", "out", "--quiet"]) == 2
    for page in ("report.html", "report.md"):
        text = (here / "out" / page).read_text()
        assert page.endswith(".md") or "<b>x" not in text, "a code span of Markdown shows it as it is"
        assert "\x1b" not in text
    assert "\x1b" not in "".join(capsys.readouterr())


def test_a_plan_runs_nothing(here):
    found = go("bisect", folder=history(here, *exits(0, 0, 0, 1)), eval_=EVAL, plan_only=True)
    assert (found.result.outcome, int(found.exit_code), calls(here)) == ("PLANNED", 0, [])


def test_flaky_ones_are_repeated_and_cannot_say(here):
    half = "n=$(cat n 2>/dev/null || echo 0); echo $((n+1)) > n; exit $((n%2))"
    found = go("bisect", folder=history(here, "exit 0", half, "exit 1"), eval_=EVAL, repeats=4).result
    assert found.outcome == "INCONCLUSIVE"
    assert found.skipped == ("h/checkpoint-100",)
    assert [s.round for s in found.steps if s.outcome == "flaky"] == [1, 2, 3]
    assert max(s.attempts for s in found.steps) == 12


def test_a_verb_evaluates_by_its_exit_codes(here):
    from radiograph.methods._bisect.evaluation import read_evaluation
    from radiograph.methods.bisect import Config

    read = read_evaluation(Config(checkpoint=("a", "b"), verb="suite check {ckpt}/suite.yaml"))
    assert read.codes == {0: "good", 2: "broken", 4: "skip"}
    assert read.prefix[1:5] == ("-m", "radiograph", "suite", "check")
    with pytest.raises(Refusal):
        read_evaluation(Config(checkpoint=("a", "b"), verb="bisect {ckpt}"))
