"""`radiograph suite check` on 1,000 prompts, the whole command: start, reading, statistics, bundle and report.

8 cores × 5 types × 5 levels × 5 wordings, checks and groups on every prompt, one line a prompt. Median of `--rounds`;
beside it the same command on one prompt, so that what the thousand cost is seen. Bar: 1 s, and torch is never imported.
Prints one JSON line.
"""

from __future__ import annotations

import argparse
import itertools
import json
import random
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

BAR = 1.0
RADIOGRAPH = Path(sys.executable).with_name("radiograph")
NO_TORCH = "import sys; from radiograph.surfaces.cli._main import run; run(sys.argv[1:]); print('torch' in sys.modules)"


def suite(path: Path, prompts: int) -> Path:
    draw = random.Random(0)
    words = ["".join(draw.choices("abcdefghilmnoprstu", k=draw.randint(2, 9))) for _ in range(600)]
    cells = itertools.product(range(8), range(5), range(5), range(5))
    lines = [
        "schema: radiograph.suite/1",
        "suite_name: bench",
        "factors: {core: nominal, type: nominal, level: ordinal}",
    ]
    lines.append("prompts:")
    for number, (core, kind, level, wording) in enumerate(itertools.islice(cells, prompts)):
        text = " ".join(draw.choices(words, k=14))
        lines.append(
            f'  - {{id: p-{number}, prompt: "{text} c{core}.", group: g-{core}-{kind}-{level}, format: f{wording}, '
            f"factors: {{core: c{core}, type: t{kind}, level: {level}}}, "
            f"expect: [{{kind: contains_any, value: [{text.split()[0]}x, yy]}}]}}"
        )
    path.write_text("\n".join(lines) + "\n")
    return path


def seconds(path: Path, rounds: int) -> float:
    def once() -> float:
        began = time.perf_counter()
        done = subprocess.run(
            [RADIOGRAPH, "suite", "check", path.name, "--quiet"], cwd=path.parent, capture_output=True, check=False
        )
        assert done.returncode in (0, 2), done.stderr
        return time.perf_counter() - began

    once()
    return statistics.median(once() for _ in range(rounds))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    rounds = parser.parse_args().rounds
    with tempfile.TemporaryDirectory() as root:
        many, one = suite(Path(root) / "many.yaml", 1000), suite(Path(root) / "one.yaml", 1)
        command = [sys.executable, "-c", NO_TORCH, "suite", "check", many.name, "--quiet"]
        torch = subprocess.run(command, cwd=root, capture_output=True, text=True, check=True).stdout.split()[-1]
        found = {
            "prompts": 1000,
            "seconds": round(seconds(many, rounds), 3),
            "one_prompt": round(seconds(one, rounds), 3),
        }
    result = {**found, "bar": BAR, "torch": torch == "True"}
    print(json.dumps({**result, "met": result["seconds"] < BAR and not result["torch"]}))


if __name__ == "__main__":
    main()
