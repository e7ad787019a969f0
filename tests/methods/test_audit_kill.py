"""An audit killed at any moment never looks finished, and harms no other run."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from auditing import audit, noisy, small_suite
from radiograph.core import ExitCode
from radiograph.runtime import verify
from radiograph.store import Bundle

# One process imports everything; each child audits until it is killed, as far as its moment lets it come.
HARNESS = """
import json, os, random, signal, sys, time
import torch
from auditing import audit
torch.set_num_threads(1)
kills = int(sys.argv[1])
def run(name):
    return audit("bundled:base", "candidate", suite="suite.yaml", out=name)
run("warm")
began = time.perf_counter()
run("whole")
whole = time.perf_counter() - began
moments = random.Random(kills)
codes = []
for number in range(kills):
    child = os.fork()
    if child == 0:
        run(f"killed-{number}")
        os._exit(0)
    time.sleep(whole * (number + moments.random()) / kills)
    os.kill(child, signal.SIGKILL)
    codes.append(os.waitpid(child, 0)[1])
print(json.dumps(codes))
"""


@pytest.mark.slow
def test_a6_a_kill_leaves_only_partial_folders(workspace):
    kills = 20
    suite = str(small_suite(workspace / "suite.yaml", tasks=("copy",), groups=0))
    noisy(workspace / "candidate", 0.2)
    done = subprocess.run(
        [sys.executable, "-c", HARNESS, str(kills)],
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parent.parent)},  # with the same kernels, the same bytes
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    left = sorted(p for p in workspace.iterdir() if p.name.startswith("killed-"))
    partial = [p for p in left if p.name.endswith(".partial")]
    assert sum(code == 9 for code in json.loads(done.stdout)) >= kills // 2, "the kills came too late"
    assert partial
    for path in partial:
        assert verify(path).exit_code is ExitCode.BAD_INPUT
    for path in set(left) - set(partial):
        assert verify(path).exit_code is ExitCode.PASS
    after = audit("bundled:base", "candidate", suite=suite, out="after").path
    assert verify(after).status == verify(workspace / "whole").status == "intact"
    assert Bundle(after).manifest.evidence_sha256 == Bundle(workspace / "whole").manifest.evidence_sha256
