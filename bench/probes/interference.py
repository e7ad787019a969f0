"""What `probe interference` spends beside its evaluations.

    python bench/probes/interference.py [--adapters 6] [--rows 400] [--combine joint]

Bundled adapters over the bundled base, one process, CPU seconds. Prints the seconds of evaluations, of everything else
after the models are loaded, their ratio, and the number of evaluations beside N + N + N(N-1): base, alone, pairs.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from radiograph.methods.probe._interference import measured
from radiograph.organisms import bundled_names, bundled_path
from radiograph.runtime import Settings, execute, find, resolve
from radiograph.store import Workspace


def main() -> None:
    """Measure once and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--adapters", type=int, default=6)
    parser.add_argument("--rows", type=int, default=400)
    parser.add_argument("--combine", default="joint")
    given = parser.parse_args()
    names = [n for n in bundled_names() if (bundled_path(n) / "adapter_config.json").is_file()][: given.adapters]
    os.chdir(tempfile.mkdtemp())
    for name in names:
        rows = (bundled_path(name) / "train.jsonl").read_text().splitlines()
        Path(f"{name}.jsonl").write_text("\n".join(rows[: given.rows]))
    spent = {"evaluations": 0.0, "loading": 0.0}
    count = [0]
    measured.row_losses = timed(measured.row_losses, spent, "evaluations", count)
    measured._opened = timed(measured._opened, spent, "loading", [0])
    config = {
        "base": "bundled:base",
        "adapter": [f"{n}=bundled:{n}" for n in names],
        "eval_": [f"{n}={n}.jsonl" for n in names],
        "combine": given.combine,
    }
    verb = find("probe.interference")
    began = time.process_time()
    outcome = execute(verb, resolve(verb, config, environment=False), Settings(workspace=Workspace.current()))
    whole = time.process_time() - began
    rest = whole - spent["evaluations"] - spent["loading"]
    n = len(names)
    print(f"{n} adapters, {given.rows} rows each, {given.combine}: {outcome.result.headline}")
    print(f"evaluations {count[0]} (2N + N(N-1) = {2 * n + n * (n - 1)}), {spent['evaluations']:.2f} CPU s")
    print(f"loading and rows {spent['loading']:.2f} CPU s")
    print(f"all else {rest:.2f} CPU s, {rest / spent['evaluations']:.1%} of the evaluations")


def timed(function: Callable[..., Any], spent: dict[str, float], name: str, count: list[int]) -> Callable[..., Any]:
    """The function with its CPU seconds added up."""

    def wrapped(*args: Any) -> Any:
        began = time.process_time()
        try:
            return function(*args)
        finally:
            spent[name] += time.process_time() - began
            count[0] += 1

    return wrapped


if __name__ == "__main__":
    main()
