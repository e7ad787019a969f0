"""What `bisect` adds to the evaluations that it runs: CPU seconds, wall seconds, RSS, and whether torch is imported.

    python bench/probes/bisecting.py [--checkpoints 64] [--repeats 5]

The evaluation is `true`. Each round starts two fresh processes in turn: `bisect` over the history, and the same command
with `--plan-only`, which starts up, looks at the history, runs nothing and leaves its bundle. Medians, and their
difference for each evaluation.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

COMMAND = (
    "import sys; from radiograph.surfaces.cli import _main; code = _main.run(sys.argv[1:]);"
    "sys.stderr.write('torch' if 'torch' in sys.modules else 'no torch'); sys.exit(code)"
)


def once(folder: Path, *more: str) -> tuple[float, float, float, str]:
    """CPU seconds with children, wall seconds, peak RSS in MiB, and what it says of torch."""
    argv = [sys.executable, "-c", COMMAND, "bisect", "--folder", "h", "--eval", "true {ckpt}", "--quiet", *more]
    began = time.perf_counter()
    child = subprocess.Popen(argv, cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    assert child.stderr is not None
    said = child.stderr.read().decode()
    _, status, used = os.wait4(child.pid, 0)
    assert status == 0, said
    return used.ru_utime + used.ru_stime, time.perf_counter() - began, used.ru_maxrss / 1024, said.strip()[-8:]


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--checkpoints", type=int, default=64)
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for number in range(options.checkpoints):
            (folder / "h" / f"checkpoint-{number}").mkdir(parents=True)
            (folder / "h" / f"checkpoint-{number}" / "step").write_text(str(number))
        rounds = [(once(folder, "--scan"), once(folder, "--plan-only")) for _ in range(options.repeats)]
    for side, title in ((0, f"{options.checkpoints} evaluations"), (1, "start, plan, bundle")):
        cpu, wall, rss = (median([float(r[side][k]) for r in rounds]) for k in range(3))
        print(f"{title:>24}: {cpu:.2f} s CPU, {wall:.2f} s wall, {rss:.0f} MiB, {rounds[0][side][3]}")
    each = median(r[0][0] - r[1][0] for r in rounds) / options.checkpoints
    print(f"each evaluation adds {1000 * each:.1f} ms CPU, its own process included")


if __name__ == "__main__":
    main()
