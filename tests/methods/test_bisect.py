"""`bisect` on histories of scripts: answers, errors that are no breaks, bad input, resuming, what `verify` derives."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from radiograph.core import ExitCode, Refusal, UserError
from radiograph.methods.bisect import recompute, soup
from radiograph.runtime import verify
from radiograph.surfaces.cli._main import run as cli
from running import go, perform

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


EDITS = {
    "evaluations": 3,
    "expected": 1,
    "monotone": {"checked": 9, "contradictions": []},
    "argv": ["sh", "other"],
    "broken_if": "exit 7",
    "check": 5,
    "confidence": 0.5,
    "order": [],
    "checkpoints": ["h/checkpoint-50"],
}


def test_every_part_of_a_record_follows_from_its_runs_and_their_logs(here):
    go("bisect", folder=history(here, *exits(0, 0, 0, 1, 1)), eval_=EVAL, out="run")
    document = json.loads((here / "run" / "result.json").read_text())
    assert recompute(document, here / "run") == []
    for key, value in EDITS.items():
        assert recompute(document | {key: value}, here / "run"), key
    for key, value in (("attempts", 2), ("metric", 0.2), ("round", 2), ("interval", [0, 1])):
        first = document["steps"][0] | {key: value}
        assert recompute(document | {"steps": [first, *document["steps"][1:]]}, here / "run"), key
    for runs in (document["runs"][::-1], [*document["runs"], document["runs"][0]], document["runs"][1:]):
        assert recompute(document | {"runs": runs}, here / "run")
    other = [*document["checkpoints"][:2], "h/checkpoint-999", *document["checkpoints"][3:]]
    assert recompute(document | {"checkpoints": other}, here / "run")
    (here / "run" / document["runs"][0]["log"]).unlink()
    assert recompute(document, here / "run") == [
        "the run of h/checkpoint-50, attempt 1, has no runs/00001.json and runs/00001.log"
    ]


def test_a_metric_of_another_size_than_its_log_says_does_not_follow(here):
    scripts = (f"""echo '{{"loss": {v}}}'""" for v in (0.1, 0.2, 0.3))
    go("bisect", folder=history(here, *scripts), eval_=EVAL, metric="loss", broken_if=">0.25", out="run")
    document = json.loads((here / "run" / "result.json").read_text())
    assert recompute(document, here / "run") == []
    log = here / "run" / document["runs"][0]["log"]
    log.write_bytes(log.read_bytes().replace(b"0.1", b"0.9"))
    assert recompute(document, here / "run") == [
        "the run of h/checkpoint-50, attempt 1, does not follow from runs/00001.log"
    ]


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
    assert "h/checkpoint-150 good after h/checkpoint-100 was broken" in found.result.headline


def test_a_metric_decides_and_is_reread_under_another_threshold_without_a_run(here):
    folder = history(here, *(f"""echo log; echo '{{"a": {{"loss": {value}}}}}'""" for value in (0.1, 0.2, 0.3, 0.4)))
    first = go("bisect", folder=folder, eval_=EVAL, metric="a.loss", broken_if=">0.25", out="first", scan=True).result
    assert first.first_broken == "h/checkpoint-150"
    ran = len(calls(here))
    again = go("bisect", folder=folder, eval_=EVAL, metric="a.loss", broken_if=">0.15", resume="first", out="again")
    assert again.result.first_broken == "h/checkpoint-100"
    assert len(calls(here)) == ran, "nothing runs twice"
    assert verify(here / "again").status == "intact"


@pytest.mark.parametrize("said", ["{}", "no json", '{"loss": "high"}', '{"loss": NaN}', f'{{"loss": 1{"0" * 400}}}'])
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
        ({"folder": "h", "repeats": 3}, "3 runs can never decide"),
        ({"folder": "h", "repeats": 3, "metric": "a", "broken_if": ">1"}, "3 equal metrics can never decide"),
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


def test_a_metric_that_is_missing_later_keeps_what_ran(here):
    folder = history(here, *(f"""echo '{{"loss": {v}}}'""" for v in (0.1, 0.2, 0.3)), "echo done")
    found = go("bisect", folder=folder, eval_=EVAL, metric="loss", broken_if=">0.25", out="run")
    assert (found.result.outcome, int(found.exit_code)) == ("EVAL_ERROR", 4)
    assert "printed no loss" in found.result.headline
    assert verify(here / "run").status == "intact"
    assert b"done" in (here / "run" / found.result.runs[-1].log).read_bytes()
    (here / "h" / "checkpoint-200" / "run").write_text("""echo 4 >> calls; echo '{"loss": 0.4}'""")
    again = go("bisect", folder=folder, eval_=EVAL, metric="loss", broken_if=">0.25", resume="run").result
    assert again.first_broken == "h/checkpoint-150"
    assert calls(here).count("1") == 1, "the good run before it is not run again"


def test_one_asked_again_beside_its_equal_verifies(here):
    """Two checkpoints of equal content: a flaky one is repeated under whichever name is asked."""
    half = "n=$(cat n 2>/dev/null || echo 0); echo $((n+1)) > n; exit $((n%2))"
    folder = history(here, "exit 0", *[half] * 4, "exit 1")
    for other in (150, 200, 250):
        shutil.copy(here / "h" / "checkpoint-100" / "run", here / "h" / f"checkpoint-{other}" / "run")
    found = go("bisect", folder=folder, eval_=EVAL, repeats=4, out="run").result
    flaky = {run.checkpoint for run in found.runs if run.outcome == "broken"} - {"h/checkpoint-300"}
    assert len(flaky) > 1, "its runs carry both names"
    assert verify(here / "run").status == "intact"


def test_resuming_reads_no_link_and_no_file_that_a_run_does_not_write(here):
    folder = history(here, *exits(0, 1))
    go("bisect", folder=folder, eval_=EVAL, out="run")
    (here / "secret").write_text("not yours")
    log = next((here / "run" / "runs").glob("*.log"))
    log.unlink()
    log.symlink_to(here / "secret")
    with pytest.raises(UserError, match="through a link"):
        go("bisect", folder=folder, eval_=EVAL, resume="run", out="linked")
    assert not (here / "linked").exists()
    log.unlink()
    log.write_bytes(b"x" * (2**20 + 5000))
    with pytest.raises(UserError, match="larger than what a run writes"):
        go("bisect", folder=folder, eval_=EVAL, resume="run", out="large")


def test_p8_11_killed_while_it_runs_and_resumed_repeats_nothing(here):
    """A live search, its process ended by a signal in the middle of an evaluation."""
    folder = history(here, *(f"{'sleep 30; ' if i == 5 else ''}exit {int(i > 5)}" for i in range(1, 9)))
    command = [sys.executable, "-m", "radiograph", "bisect", "--folder", folder, "--eval", EVAL, "--check", "0"]
    child = subprocess.Popen([*command, "--out", "cut", "--quiet"], start_new_session=True)
    try:
        until = time.monotonic() + 120
        while "5" not in calls(here) and time.monotonic() < until:
            time.sleep(0.05)
    finally:
        child.kill()
        child.wait()
    before = calls(here)
    assert before[-1] == "5"
    assert not (here / "cut").exists(), "a killed run never looks finished"
    (partial,) = here.glob("cut*.partial")
    (here / "h" / "checkpoint-250" / "run").write_text("echo 5 >> calls\nexit 0\n")
    again = go("bisect", folder=folder, eval_=EVAL, check=0, resume=partial.name).result
    assert again.first_broken == "h/checkpoint-300"
    ran = calls(here)[len(before) :]
    assert not set(ran) & set(before[:-1]), "what had ended is not run again"
    assert len(again.runs) == len(before) - 1 + len(ran)


def test_a_verb_evaluates_by_its_exit_codes(here):
    """Real children."""
    for number, loss in ((1, 1.1), (2, 1.5)):
        (here / "h" / f"checkpoint-{number}").mkdir(parents=True)
        losses = {"adapters": ["a", "b"], "losses": {"a|a": 1, "a|b": loss, "b|b": 1, "b|a": 1}}
        (here / "h" / f"checkpoint-{number}" / "losses.json").write_text(json.dumps(losses))
    found = perform("bisect", {"folder": "h", "verb": "probe interference {ckpt}/losses.json"}, out="run")
    assert (found.result.outcome, found.result.first_broken) == ("BROKEN_AT", "h/checkpoint-2")
    assert [run.exit_code for run in found.result.runs] == [0, 2]
    assert b'"worst_pair"' in (here / "run" / found.result.runs[1].log).read_bytes(), "the child printed its result"


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("adit {ckpt}", "did you mean audit"),
        ("probe defecton {ckpt}", "did you mean probe.defection"),
        ("radiograph adit {ckpt}", "did you mean audit"),
        ("bisect {ckpt}", "does not evaluate"),
        ("adapters bisect {ckpt}", "does not evaluate"),
        ("mcp {ckpt}", "does not evaluate"),
    ],
)
def test_pd_15_a_verb_that_is_none_is_said_before_anything_runs(here, line, said):
    history(here, *exits(0, 1))
    with pytest.raises((UserError, Refusal)) as caught:
        perform("bisect", {"folder": "h", "verb": line}, out="run")
    assert said in str(caught.value)
    assert int(caught.value.exit_code) == 3
    assert not (here / "run").exists()


def test_codes_of_a_verb(here):
    from radiograph.methods._bisect.evaluation import read_evaluation
    from radiograph.methods.bisect import Config
    from radiograph.runtime import find_line

    ctx = SimpleNamespace(service=lambda name: {"verb": find_line}[name])
    read = read_evaluation(Config(checkpoint=("a", "b"), verb="suite check {ckpt}/suite.yaml"), ctx)
    assert read.codes == {0: "good", 2: "broken", 4: "skip"}
    assert read.prefix[1:5] == ("-m", "radiograph", "suite", "check")
