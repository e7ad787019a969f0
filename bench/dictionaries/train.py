"""A training step of a TopK dictionary against one product of its encoder, and against other libraries.

    python bench/dictionaries/train.py [--arms topk,sparsify] [--python sparsify=ENV/bin/python] [--profile]

d 768, F 16,384, k 32, batch 4,096, float32, two threads, passive OpenMP waiting. Every arm is a process of its own
(peers in their own environments, see `bench/peers.py`; a missing one is printed as missing) and trains on the same rows
from the same weights; reconstructions are compared first (1e-5 of the largest value). Arms take turns round by round.
A ratio is an arm over the floor, or over another arm, in the same round: median, least and largest, of wall clock and
of processor seconds; where the load is above the cores only the latter count. Memory is the peak above what the process
held before it built weights.

Bars: topk ≤ 1.6 floors and ≤ 560 MiB; ≥ 1.4 × as fast as sparsify, 4 × SAELens, 7 × dictionary_learning; matryoshka
≤ 1.25 batchtopk; crosscoder of two sources ≤ 1.1 × 2 topk. Table on stderr, one line of JSON on stdout.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent))
from peers import interpreter  # noqa: E402

SHAPE = {"width": 768, "size": 16_384, "k": 32, "batch": 4_096}
OURS = ("topk", "batchtopk", "matryoshka", "crosscoder")
PEERS = ("sparsify", "saelens", "dictionary-learning")
ARMS = (*OURS, "plain-sparse", "plain-dense", *PEERS)
MIB, FLOORS = 560, 1.6
BARS = (
    # arm, over, factor, at most
    ("topk", "floor", 1, FLOORS),
    ("topk", "sparsify", 1, 1 / 1.4),
    ("topk", "saelens", 1, 1 / 4),
    ("topk", "dictionary-learning", 1, 1 / 7),
    ("matryoshka", "batchtopk", 1, 1.25),
    ("crosscoder", "topk", 2, 1.1),
)


class Worker:
    """A process that runs one arm when it is told to."""

    def __init__(self, name: str, python: str, threads: int) -> None:
        command = [python, str(HERE / "arms.py"), name, "--threads", str(threads)]
        command += [part for field, value in SHAPE.items() for part in (f"--{field}", str(value))]
        environment = os.environ | {"OMP_WAIT_POLICY": "passive", "OMP_NUM_THREADS": str(threads)}
        self._log = tempfile.TemporaryFile("w+")  # noqa: SIM115 (lives as long as the process)
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._log, text=True, env=environment
        )
        self.failure = "" if self._answer() is not None else self._last_words()

    def ask(self, command: str) -> dict[str, Any]:
        """Send a command, return its answer."""
        assert self._process.stdin is not None
        self._process.stdin.write(command + "\n")
        self._process.stdin.flush()
        found = self._answer()
        if found is None:
            raise RuntimeError(f"{command}: {self._last_words()}")
        return found

    def close(self) -> None:
        """End the process."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait()

    def _answer(self) -> dict[str, Any] | None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            if line.startswith("@ "):
                return json.loads(line[2:])
        return None

    def _last_words(self) -> str:
        self._process.wait()
        self._log.seek(0)
        return (self._log.read().strip().splitlines() or ["no output"])[-1]


def pythons(given: list[str]) -> dict[str, str | None]:
    """The interpreter of every arm; None where there is no environment."""
    found: dict[str, str | None] = {name: sys.executable for name in (*ARMS, "floor") if name not in PEERS}
    found |= {name: interpreter(name) for name in PEERS}
    return found | dict(item.split("=", 1) for item in given)


def compare(workers: dict[str, Worker]) -> dict[str, float]:
    """Largest difference of each reconstruction from ours, over the largest value."""
    with tempfile.TemporaryDirectory() as folder:
        found: dict[str, np.ndarray] = {}
        for name, worker in workers.items():
            path = Path(folder, f"{name}.npy")
            if worker.ask(f"check {path}")["checked"]:
                found[name] = np.load(path)
    ours = found.get("topk")
    if ours is None:
        return {}
    return {name: float(np.abs(rows - ours).max() / np.abs(ours).max()) for name, rows in found.items()}


def spread(values: list[float]) -> dict[str, float]:
    return {"median": statistics.median(values), "least": min(values), "largest": max(values)}


def measure(workers: dict[str, Worker], rounds: int) -> list[dict[str, dict[str, float]]]:
    """Wall and processor seconds of every arm in every round, after one that does not count."""
    found: list[dict[str, dict[str, float]]] = []
    for number in range(rounds + 1):
        order = list(workers) if number % 2 == 0 else list(workers)[::-1]
        found.append({name: workers[name].ask("step") for name in order})
    return found[1:]


def ratios(rounds: list[dict[str, dict[str, float]]], arm: str, over: str, factor: float = 1) -> dict[str, Any]:
    return {
        clock: spread([turn[arm][clock] / (factor * turn[over][clock]) for turn in rounds]) for clock in ("wall", "cpu")
    }


def table(result: dict[str, Any], missing: dict[str, str]) -> str:
    lines = [f"{'arm':<22}{'wall s':>9}{'/ floor':>9}{'cpu s':>9}{'/ floor':>9}{'MiB':>8}{'difference':>13}"]
    for name, row in result["arms"].items():
        lines.append(
            f"{name:<22}{row['wall']:>9.3f}{row['over_floor']['wall']['median']:>9.2f}{row['cpu']:>9.3f}"
            f"{row['over_floor']['cpu']['median']:>9.2f}{row['mib']:>8.0f}{row.get('difference', float('nan')):>13.1e}"
        )
    lines += [f"{name:<22}  missing: {why}" for name, why in missing.items()]
    for bar in result["bars"]:
        counted = bar["ratio"]["cpu" if result["busy"] else "wall"]
        spread_ = f"{counted['median']:.3f} [{counted['least']:.3f}, {counted['largest']:.3f}]"
        lines.append(f"{bar['what']:<44}{spread_:>26}  bar {bar['bar']:.3f}  {'met' if bar['met'] else 'MISSED'}")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--arms", default=",".join(ARMS))
    parser.add_argument("--python", action="append", default=[], metavar="ARM=PATH", help="interpreter of a peer")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--profile", action="store_true", help="print the parts of our step, and nothing else")
    options = parser.parse_args()
    known = pythons(options.python)
    names = ["topk"] if options.profile else options.arms.split(",")
    workers: dict[str, Worker] = {}
    missing: dict[str, str] = {}
    for name in ("floor", *names):
        python = known[name]
        worker = None if python is None else Worker(name, python, options.threads)
        if worker is None or worker.failure:
            missing[name] = "no environment" if worker is None else worker.failure
        else:
            workers[name] = worker
    result = profile(workers, options.rounds) if options.profile else run(workers, options, missing)
    for worker in workers.values():
        worker.close()
    sys.stdout.write(json.dumps(result) + "\n")


def profile(workers: dict[str, Worker], rounds: int) -> dict[str, Any]:
    """Parts of a step as shares of the floor, in processor seconds."""
    seconds = measure(workers, rounds)
    floor = statistics.median(turn["floor"]["cpu"] for turn in seconds)
    parts = workers["topk"].ask("profile")
    for name, spent in parts.items():
        sys.stderr.write(f"{name:<30}{spent:>8.3f} s{spent / floor:>8.3f} floors\n")
    return {"benchmark": "dictionaries/train --profile", "floor": floor, "parts": parts}


def run(workers: dict[str, Worker], options: argparse.Namespace, missing: dict[str, str]) -> dict[str, Any]:
    """Compare, measure, judge."""
    differences = compare(workers)
    wrong = {name: value for name, value in differences.items() if value > 1e-5}
    assert not wrong, wrong
    load = os.getloadavg()[0]
    rounds = measure(workers, options.rounds)
    arms = {
        name: {
            **{clock: statistics.median(turn[name][clock] for turn in rounds) for clock in ("wall", "cpu")},
            "over_floor": ratios(rounds, name, "floor"),
            "mib": worker.ask("memory")["mib"],
            **({"difference": differences[name]} if name in differences else {}),
        }
        for name, worker in workers.items()
    }
    busy = load > 1
    bars: list[dict[str, Any]] = []
    for arm, over, factor, most in BARS:
        if arm in workers and over in workers:
            ratio = ratios(rounds, arm, over, factor)
            what = f"{arm} / {f'{factor} x ' if factor != 1 else ''}{over}"
            met = ratio["cpu" if busy else "wall"]["median"] <= most
            bars.append({"what": what, "ratio": ratio, "bar": most, "met": met})
    result: dict[str, Any] = {
        "benchmark": "dictionaries/train",
        **SHAPE,
        "rounds": options.rounds,
        "threads": options.threads,
        "load_before": load,
        "busy": busy,
        "arms": arms,
        "bars": bars,
        "memory_met": arms["topk"]["mib"] <= MIB if "topk" in arms else None,
        "missing": missing,
    }
    sys.stderr.write(table(result, missing) + "\n")
    return result


if __name__ == "__main__":
    main()
