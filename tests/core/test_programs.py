"""Programs that a person names: exit codes, deadlines, groups that end with them, what is kept of their output."""

import os
import sys
import time
from pathlib import Path

import pytest

from radiograph.core.work.process import command


def test_exit_codes_signals_and_both_streams(tmp_path):
    ended = command(["sh", "-c", "echo out; echo err >&2; pwd; exit 7"], seconds=20, folder=tmp_path, limit=10_000)
    assert (ended.code, ended.err, ended.cut) == (7, b"err\n", False)
    assert ended.out == f"out\n{tmp_path}\n".encode()
    assert command(["sh", "-c", "kill -9 $$"], seconds=20, folder=tmp_path, limit=10).code == -9


def test_arguments_go_through_no_shell_and_nothing_is_read(tmp_path):
    ended = command(["printf", "%s", "a; echo $HOME `id`"], seconds=20, folder=tmp_path, limit=1000)
    assert ended.out == b"a; echo $HOME `id`"
    assert command(["cat"], seconds=20, folder=tmp_path, limit=10).code == 0


def test_head_and_tail_are_kept_of_long_output(tmp_path):
    code = "print('a' * 50_000 + 'b' * 50_000)"
    ended = command([sys.executable, "-S", "-c", code], seconds=60, folder=tmp_path, limit=1000)
    assert ended.cut
    assert ended.out.startswith(b"a" * 500 + b"\n[99001 bytes left out]\n")
    assert ended.out.endswith(b"b" * 499 + b"\n")


def alive(pid: int) -> bool:
    """Whether a process runs; one that ended and waits to be collected does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


@pytest.mark.parametrize("script", ["sleep 60 & echo $! > pid; wait", "sleep 60 & echo $! > pid; exit 0"])
def test_children_end_with_it(tmp_path, script):
    began = time.monotonic()
    ended = command(["sh", "-c", script], seconds=1, folder=tmp_path, limit=100)
    assert ended.code == (None if "wait" in script else 0)
    pid = int((tmp_path / "pid").read_text())
    while alive(pid) and time.monotonic() < began + 30:
        time.sleep(0.05)
    assert not alive(pid)
    assert os.getpid() != pid


def test_a_grandchild_that_writes_on_and_on_does_not_hold_an_ended_program(tmp_path):
    script = "(while :; do echo x; sleep 0.01; done) & exit 0"
    began = time.monotonic()
    ended = command(["sh", "-c", script], seconds=60, folder=tmp_path, limit=1000)
    assert ended.code == 0, "it ended by itself, whatever it left behind"
    assert time.monotonic() - began < 30


def test_a_missing_program_is_said(tmp_path):
    with pytest.raises(FileNotFoundError):
        command(["no-such-binary"], seconds=1, folder=tmp_path, limit=10)
