"""A workflow killed at any moment goes on where it was, and ends with the bytes of one that ran through."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from radiograph.core import ExitCode
from radiograph.runtime import verify
from radiograph.store import REPORTS, TIMED
from running import contents, go, numbers

KILLS = 20

# One process imports everything; each child goes on with the most that any before it left, until it is killed too.
HARNESS = f"""
import glob, json, os, random, signal, time
from running import go
def finished(folder):
    return len(glob.glob(folder + "/steps/*/manifest.sha256"))
go("run", workflow="flow.json", out="whole")
began = time.perf_counter()
go("run", workflow="flow.json", out="again")
whole = time.perf_counter() - began
moments, codes, left = random.Random(0), [], None
for number in range({KILLS}):
    child = os.fork()
    if child == 0:
        go("run", workflow="flow.json", out=f"killed-{{number}}", **({{}} if left is None else {{"resume": left}}))
        os._exit(0)
    time.sleep(moments.uniform(0, whole))
    os.kill(child, signal.SIGKILL)
    codes.append(os.waitpid(child, 0)[1])
    found = f"killed-{{number}}.partial"
    if os.path.isdir(found + "/steps") and (left is None or finished(found) >= finished(left)):
        left = found
print(json.dumps([codes, left]))
"""


@pytest.mark.slow
@pytest.mark.usefixtures("toy")
def test_x5_8_twenty_kills_end_with_the_uninterrupted_bytes(workspace, toy_site):
    numbers(workspace / "x.txt", 1, 2, 3)
    steps = [
        {"name": f"s{n}", "verb": "toy.slow", "with": {"files": 4, "pause": 0.01}, **({"needs": []} if n % 2 else {})}
        for n in range(5)
    ] + [{"name": "mean", "verb": "toy.mean", "with": {"data": "x.txt"}}]
    (workspace / "flow.json").write_text(json.dumps({"schema": "radiograph.workflow/1", "steps": steps}))
    tests = Path(__file__).parent.parent
    done = subprocess.run(
        [sys.executable, "-c", HARNESS],
        env={"PYTHONPATH": f"{toy_site}:{tests}", "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    codes, left = json.loads(done.stdout)
    assert sum(code == 9 for code in codes) >= KILLS // 2 and left is not None
    last = go("run", workflow="flow.json", out="last", resume=left)
    assert last.exit_code is ExitCode.PASS and verify(last.path).status == "intact"
    assert "reused" in {s.status for s in last.result.steps}
    whole, end = contents(workspace / "whole" / "steps"), contents(workspace / "last" / "steps")
    assert whole.keys() == end.keys()
    assert {Path(name).name for name in whole if whole[name] != end[name]} <= TIMED | REPORTS
    for path in workspace.glob("killed-*.partial"):
        assert verify(path).exit_code is ExitCode.BAD_INPUT
