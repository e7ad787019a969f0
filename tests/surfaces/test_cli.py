"""The command line: exit codes, what stands on stdout, what a terminal may show."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from radiograph.surfaces.cli._main import run
from running import go, numbers

RADIOGRAPH = Path(sys.executable).with_name("radiograph")


def shell(*arguments: str | Path, site: Path, **options) -> subprocess.CompletedProcess[str]:
    env = {"PYTHONPATH": str(site), "PATH": os.environ["PATH"], "HOME": os.environ["HOME"]}
    return subprocess.run(
        [RADIOGRAPH, *arguments], capture_output=True, text=True, env=env, timeout=60, check=False, **options
    )


@pytest.fixture
def data(workspace) -> str:
    return str(numbers(workspace / "x.txt", 1, 2, 3))


@pytest.mark.usefixtures("toy")
class TestExitCodes:
    def test_pass(self, data):
        assert run(["toy", "mean", data, "--quiet"]) == 0

    def test_failed_gate(self, data):
        assert run(["toy", "mean", data, "--limit", "1"]) == 2

    @pytest.mark.parametrize(
        "arguments",
        [
            ["nonsense"],
            ["toy", "nonsense"],
            ["toy", "mean"],
            ["toy", "mean", "x.txt", "y.txt"],
            ["toy", "mean", "x.txt", "--limt", "1"],
            ["toy", "mean", "x.txt", "--limit"],
            ["toy", "mean", "x.txt", "--limit", "much"],
            ["toy", "mean", "x.txt", "--mode", "loud"],
            ["toy", "mean", "x.txt", "--seed", "x"],
            ["toy", "mean", "missing.txt"],
            ["toy", "mean", "x.txt", "--config", "missing.yaml"],
            ["verify", "missing"],
            ["verify", "."],
            ["replay", "."],
            ["run", "x.txt"],
        ],
        ids=" ".join,
    )
    def test_bad_input(self, arguments, data, capsys):
        assert run(arguments) == 3
        out, err = capsys.readouterr()
        assert out == ""
        assert err.startswith("radiograph: ")

    def test_not_measured(self, workspace):
        assert run(["toy", "mean", str(numbers(workspace / "x.txt", 1))]) == 4

    def test_internal_error(self, data, monkeypatch, capsys):
        import radiograph_toy.mean

        monkeypatch.setattr(radiograph_toy.mean, "run", lambda config, ctx: 1 / 0)
        assert run(["toy", "mean", data]) == 1
        assert "ZeroDivisionError" in capsys.readouterr().err

    def test_unfinished_run(self, workspace, capsys):
        (workspace / "r.partial").mkdir()
        assert run(["verify", "r.partial"]) == 3

    def test_misspelt_words_are_corrected(self, data, capsys):
        run(["toy", "maen", data])
        run(["toy", "mean", data, "--limt", "1"])
        err = capsys.readouterr().err
        assert "mean" in err
        assert "--limit" in err


@pytest.mark.usefixtures("toy")
class TestOutput:
    def test_json_is_the_result_and_nothing_else(self, data, capsys, workspace):
        assert run(["toy", "mean", data, "--out", "r", "--json"]) == 0
        out, err = capsys.readouterr()
        assert json.loads(out) == json.loads((workspace / "r/result.json").read_text())
        assert out == (workspace / "r/result.json").read_text()
        assert "seal: " in err

    def test_without_json_there_is_a_headline_and_a_place(self, data, capsys):
        run(["toy", "mean", data, "--out", "r"])
        assert capsys.readouterr().out == "mean 2 of 3\nreport: r/report.html\n"

    def test_quiet_says_nothing_on_stderr(self, data, capsys):
        run(["toy", "mean", data, "--quiet"])
        assert capsys.readouterr().err == ""

    def test_repeated_options_and_config_files(self, data, capsys, workspace):
        (workspace / "c.yaml").write_text("limit: 1\nscale: 3\n")
        assert (
            run(["toy", "mean", data, "--config", "c.yaml", "--limit", "9", "--tag", "a", "--tag", "b", "--json"]) == 0
        )
        document = json.loads(capsys.readouterr().out)
        assert (document["mean"], document["tag"]) == (6.0, ["a", "b"])

    def test_names_with_escapes_never_reach_the_terminal(self, workspace, capsys):
        name = "\x1b[31mred\u202e.txt"
        numbers(workspace / name, "\x1b]0;title\x07")
        run(["toy", "mean", name])
        run(["toy", "mean", "\x1b[2Jmissing"])
        run(["toy", "\x1b[2J"])
        out, err = capsys.readouterr()
        assert not {"\x1b", "\u202e", "\x07"} & set(out + err)
        assert "\\u001b" in err

    def test_verify_says_what_changed_and_where(self, data, capsys, workspace):
        run(["toy", "mean", data, "--out", "r"])
        (workspace / "r/result.json").write_text("{}")
        capsys.readouterr()
        assert run(["verify", "r"]) == 2
        assert "result.json" in capsys.readouterr().out


def test_interrupt_is_130_and_leaves_an_unfinished_run(toy_site, workspace):
    env = {"PYTHONPATH": str(toy_site), "PATH": os.environ["PATH"], "HOME": os.environ["HOME"]}
    child = subprocess.Popen(
        [RADIOGRAPH, "toy", "slow", "--pause", "60", "--out", "r"],
        env=env,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    deadline = time.monotonic() + 30
    while not (workspace / "r.partial").exists() and time.monotonic() < deadline:
        time.sleep(0.02)
    time.sleep(0.2)
    child.send_signal(signal.SIGINT)
    out, err = child.communicate(timeout=30)
    assert child.returncode == 130
    assert (out, err.strip()) == ("", "radiograph: interrupted")
    assert [p.name for p in workspace.iterdir()] == ["r.partial"]


@pytest.mark.parametrize(
    "arguments", [["--help"], ["verify", "--help"], ["run", "--help"], ["--version"], ["toy", "--help"]], ids=" ".join
)
def test_help_is_light(arguments, toy_site):
    """No torch, transformers, NumPy or polars on the way to a help text."""
    code = (
        "import sys\nfrom radiograph.surfaces.cli._main import run\n"
        f"code = run({arguments!r})\n"
        "heavy = ('torch', 'transformers', 'numpy', 'polars', 'matplotlib', 'scipy')\n"
        "print('CODE', code, *(m for m in heavy if m in sys.modules))"
    )
    env = {"PYTHONPATH": str(toy_site), "PATH": os.environ["PATH"]}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=env, timeout=60, check=True)
    assert done.stdout.splitlines()[-1] == "CODE 0"
    assert len(done.stdout.splitlines()) > 1


def test_help_shows_the_exit_codes_and_every_verb(capsys):
    from radiograph.runtime import catalogue

    assert run(["--help"]) == 0
    out = capsys.readouterr().out
    assert "130 interrupted" in out
    for verb in catalogue().values():
        assert verb.name in out


@pytest.mark.usefixtures("toy")
def test_a_broken_pipe_is_no_trace(workspace, toy_site):
    go("toy.slow", files=1, pause=0, out="r")
    done = shell("toy", "mean", numbers(workspace / "x.txt", 1, 2), "--out", "r", site=toy_site)
    assert done.returncode == 3
    assert "exists already" in done.stderr
    piped = f"{RADIOGRAPH} toy --help | head -c 1"
    env = {"PYTHONPATH": str(toy_site), "PATH": os.environ["PATH"]}
    done = subprocess.run(piped, shell=True, capture_output=True, text=True, env=env, timeout=60, check=False)
    assert "Traceback" not in done.stderr
