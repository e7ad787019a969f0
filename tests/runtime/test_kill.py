"""A run killed at any moment never looks finished, and harms no other run."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from radiograph.core import ExitCode
from radiograph.runtime import verify
from radiograph.store import Bundle
from running import go

KILLS = 20

# One process imports everything; each child runs the verb until it is killed, as far as its moment lets it come.
HARNESS = f"""
import json, os, random, signal, time
from running import go
go("toy.slow", files=12, pause=0, out="warm")  # draws reports once, so that the children need no import
began = time.perf_counter()
go("toy.slow", files=12, pause=0.004, out="whole")
whole = time.perf_counter() - began
moments = random.Random(0)
codes = []
for number in range({KILLS}):
    child = os.fork()
    if child == 0:
        go("toy.slow", files=12, pause=0.004, out=f"killed-{{number}}")
        os._exit(0)
    time.sleep(moments.uniform(0, 1.1 * whole))
    os.kill(child, signal.SIGKILL)
    codes.append(os.waitpid(child, 0)[1])
print(json.dumps(codes))
"""


@pytest.mark.usefixtures("toy")
def test_kill_leaves_only_partial_folders(workspace, toy_site):
    tests = Path(__file__).parent.parent
    done = subprocess.run(
        [sys.executable, "-c", HARNESS],
        env={"PYTHONPATH": f"{toy_site}:{tests}", "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    killed = sum(code == 9 for code in json.loads(done.stdout))
    left = sorted(p for p in workspace.iterdir() if p.name.startswith("killed-"))
    partial = [p for p in left if p.name.endswith(".partial")]
    assert killed >= KILLS // 2, "the kills came too late to test anything"
    assert partial
    for path in partial:
        assert verify(path).exit_code is ExitCode.BAD_INPUT
    for path in set(left) - set(partial):
        assert verify(path).exit_code is ExitCode.PASS
    after = go("toy.slow", files=12, pause=0.004, out="after").path
    assert verify(after).status == verify(workspace / "whole").status == "intact"
    assert Bundle(after).manifest.evidence_sha256 == Bundle(workspace / "whole").manifest.evidence_sha256
