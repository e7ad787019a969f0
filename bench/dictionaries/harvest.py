"""A harvest against the bare forward that it cannot do without, and against other libraries.

    python bench/dictionaries/harvest.py [--arms memory,disk] [--python nnsight=ENV/bin/python] [--rounds 9]

A model of GPT-2 small's shape with random weights, 2 batches of 16 x 128 tokens, float32, two threads, passive OpenMP
waiting. Arms: `memory` rows in memory, `disk` tokens in and committed shards out, `pair` two models, all at block 5 and
(`-all`) at every block; peers in their own environments (`bench/peers.py`), a missing one is printed as missing. The
floor is embedding and blocks called by hand, up to the last layer that is read, no head. Every arm is a process of its
own; activations are compared first (1e-5 of the largest value); arms take turns round by round. A ratio is an arm over
the floor in the same round: median, least and largest, of wall clock and of processor seconds; where the load is above
the cores only the latter count. `fastest` is the least wall clock of an arm over that of the floor: what is left when
the machine disturbs neither. Memory: the peak of a process, model included, that harvests onto disk with shards of
8 MiB, of one ten times as long, and of the floor as long as that.

Bars: memory ≤ 1.05 floors, every layer too; disk ≤ 1.10; pair ≤ 2.10; not behind nnsight by more than 2 %, ahead of the
others; the memory of a process ≤ that of the floor + 3 shards + 200 MiB, of ten times the tokens ≤ 1.05 of it. Table on
stderr, one line of JSON on stdout.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE), str(HERE.parent)]
from train import Worker, measure, ratios  # noqa: E402

from peers import interpreter  # noqa: E402

OURS = ("memory", "disk", "pair", "memory-all")
PEERS = ("nnsight", "transformerlens", "saelens", "nnsight-all", "transformerlens-all")
ARMS = (*OURS, *PEERS)
BARS = (("memory", 1.05), ("disk", 1.10), ("pair", 2.10), ("memory-all", 1.05))
MEMORY_BATCHES = 8


class Arm(Worker):
    """A process that runs one arm when it is told to."""

    def __init__(self, name: str, python: str, threads: int, model: Path) -> None:
        plain = name.removesuffix("-all")
        command = [python, str(HERE / "harvest_arms.py"), plain, "--threads", str(threads), "--model", str(model)]
        environment = os.environ | {
            "OMP_WAIT_POLICY": "passive",
            "OMP_NUM_THREADS": str(threads),
            "HF_HUB_OFFLINE": "1",
        }
        self._log = tempfile.TemporaryFile("w+")  # noqa: SIM115 (lives as long as the process)
        self._process = subprocess.Popen(
            [*command, *(["--all"] if name.endswith("-all") else [])],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            text=True,
            env=environment,
        )
        self.failure = "" if self._answer() is not None else self._last_words()


def save_model(folder: Path) -> None:
    import torch
    from transformers import AutoModelForCausalLM, GPT2Config

    torch.manual_seed(0)
    AutoModelForCausalLM.from_config(GPT2Config()).save_pretrained(folder)


def floor_of(name: str) -> str:
    return "floor-all" if name.endswith("-all") else "floor"


def differences(workers: dict[str, Arm]) -> dict[str, float]:
    """Largest difference of each arm's activations from those of its floor, over the largest value."""
    found: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as folder:
        for name, worker in workers.items():
            path = Path(folder, f"{name}.npy")
            worker.ask(f"check {path}")
            found[name] = np.load(path)
    return {n: float(np.abs(a - found[floor_of(n)]).max() / np.abs(found[floor_of(n)]).max()) for n, a in found.items()}


def table(result: dict[str, Any]) -> str:
    lines = [f"{'arm':<22}{'wall / floor':>24}{'cpu / floor':>24}{'fastest':>10}{'difference':>13}"]
    for name, row in result["arms"].items():
        shown = [f"{r['median']:.3f} [{r['least']:.2f}, {r['largest']:.2f}]" for r in (row["wall"], row["cpu"])]
        lines.append(f"{name:<22}{shown[0]:>24}{shown[1]:>24}{row['fastest']:>10.3f}{row['difference']:>13.1e}")
    lines += [f"{name:<22}  missing: {why}" for name, why in result["missing"].items()]
    if sizes := result["memory"]:
        few, many, bare = sizes["mib"], sizes["mib_ten_times"], sizes["mib_floor"]
        lines.append(f"memory with the model: {few:.0f} MiB, ten times the tokens {many:.0f}, the floor {bare:.0f}")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--arms", default=",".join(ARMS))
    parser.add_argument("--python", action="append", default=[], metavar="PEER=PATH")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    wanted = options.arms.split(",")
    pythons = {name: interpreter(name.removesuffix("-all")) if name in PEERS else sys.executable for name in wanted}
    pythons |= dict(item.split("=", 1) for item in options.python)
    floors = {floor_of(name) for name in wanted}
    missing = {name: "no environment: bench/peers.py make" for name, path in pythons.items() if path is None}
    with tempfile.TemporaryDirectory() as place:
        model = Path(place) / "model"
        save_model(model)
        arms = {
            n: Arm(n, p, options.threads, model)
            for n, p in {**dict.fromkeys(sorted(floors), sys.executable), **pythons}.items()
            if p
        }
        missing |= {name: arm.failure for name, arm in arms.items() if arm.failure}
        arms = {name: arm for name, arm in arms.items() if not arm.failure}
        apart = differences(arms)
        rounds = measure(arms, options.rounds)  # type: ignore[arg-type]
        sizes = {}
        if "disk" in arms:
            few, many = (arms["disk"].ask(f"memory {n}")["mib"] for n in (MEMORY_BATCHES, 10 * MEMORY_BATCHES))
            bare = arms["floor"].ask(f"memory {10 * MEMORY_BATCHES}")["mib"]
            sizes = {"mib": few, "mib_ten_times": many, "mib_floor": bare}
        for arm in arms.values():
            arm.close()
    fastest = {name: min(turn[name]["wall"] for turn in rounds) for name in arms}
    rows = {
        n: {**ratios(rounds, n, floor_of(n)), "fastest": fastest[n] / fastest[floor_of(n)], "difference": apart[n]}
        for n in arms
        if n not in floors
    }
    clock = "cpu" if os.getloadavg()[0] > (os.cpu_count() or 1) else "wall"
    bars = [
        {"arm": n, "at_most": bar, "clock": clock, "passed": rows[n][clock]["median"] <= bar}
        for n, bar in BARS
        if n in rows
    ]
    result = {
        "benchmark": "dictionaries/harvest",
        "rounds": options.rounds,
        "threads": options.threads,
        "load": os.getloadavg()[0],
        "arms": rows,
        "missing": missing,
        "memory": sizes,
        "bars": bars,
    }
    sys.stderr.write(table(result) + "\n")
    sys.stdout.write(json.dumps(result) + "\n")


if __name__ == "__main__":
    main()
