"""Exact nearest decoder rows against the bare product, and against one search over all products at once.

    python bench/dictionaries/neighbours.py [--rounds 9]

Ten neighbours of 256 queries among 131,072 rows of width 768, float32, two threads. The floor is the products of the
same chunks of 16,384 rows into one buffer, in the faster of the two orientations. Arms take turns round by round:
`search` is `numerics.nearest_rows` of rows whose norms were taken once before, `first` the same with its norms; `whole`
is one product, division, and a partition of everything.
What they find is compared first. Bars: search ≤ 1.10 floors, at most 2 × chunk × queries × 4 bytes above what was there
(33.6 MB). Ratios of wall clock and of processor seconds; where the load is above the cores only the latter count.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from threadpoolctl import threadpool_limits

from radiograph.numerics import nearest_rows

FEATURES, WIDTH, QUERIES, CHUNK, NEAREST, BAR = 131_072, 768, 256, 16_384, 10, 1.10
LIMIT = 2 * CHUNK * QUERIES * 4


def build() -> tuple[np.ndarray, np.ndarray]:
    """Rows in loose families, so that neighbours are not chance, and the queries among them."""
    generator = np.random.default_rng(0)
    rows = generator.standard_normal((FEATURES, WIDTH), dtype=np.float32)
    rows += 0.5 * rows[generator.integers(0, FEATURES // 16, FEATURES)]
    return rows, np.sort(generator.choice(FEATURES, QUERIES, replace=False))


def whole(rows: np.ndarray, queries: np.ndarray) -> np.ndarray:
    """Neighbours by one table of all cosines."""
    norms = np.sqrt(np.einsum("fw,fw->f", rows, rows))
    cosines = (rows[queries] / norms[queries, None]) @ rows.T / norms
    cosines[np.arange(len(queries)), queries] = -np.inf
    best = np.argpartition(cosines, -NEAREST, axis=1)[:, -NEAREST:]
    order = np.argsort(-np.take_along_axis(cosines, best, 1), axis=1)
    return np.take_along_axis(best, order, 1)


def floors(rows: np.ndarray, queries: np.ndarray) -> Callable[[], object]:
    """The products alone, in the faster orientation."""
    unit = rows[queries]
    wide, tall = np.empty((QUERIES, CHUNK), np.float32), np.empty((CHUNK, QUERIES), np.float32)

    def product(left: bool) -> None:
        for start in range(0, FEATURES, CHUNK):
            part = rows[start : start + CHUNK]
            np.matmul(unit, part.T, out=wide) if left else np.matmul(part, unit.T, out=tall)

    spent = {left: min(timed(lambda left=left: product(left))[1] for _ in range(3)) for left in (True, False)}
    best = min(spent, key=lambda left: spent[left])
    return lambda: product(best)


def timed(arm: Callable[[], object]) -> tuple[float, float]:
    wall, cpu = time.perf_counter(), time.process_time()
    arm()
    return time.perf_counter() - wall, time.process_time() - cpu


def peak_above(arm: Callable[[], object]) -> int:
    """Bytes of resident memory at the peak of a call, above those before it."""
    status, reset = Path("/proc/self/status"), Path("/proc/self/clear_refs")
    reset.write_text("5")

    def kib(name: str) -> int:
        return next(int(line.split()[1]) for line in status.read_text().splitlines() if line.startswith(name))

    before = kib("VmRSS:")
    arm()
    return (kib("VmHWM:") - before) * 1024


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    rows, queries = build()
    norms = np.sqrt(np.einsum("fw,fw->f", rows, rows))
    with threadpool_limits(options.threads):
        arms: dict[str, Callable[[], object]] = {
            "floor": floors(rows, queries),
            "search": lambda: nearest_rows(rows, queries, k=NEAREST, least=-1.0, norms=norms),
            "first": lambda: nearest_rows(rows, queries, k=NEAREST, least=-1.0),
            "whole": lambda: whole(rows, queries),
        }
        nearest_rows(rows[:512], queries[queries < 512], k=NEAREST, norms=norms[:512])
        memory = peak_above(arms["search"])
        found = np.array([one.index for one in nearest_rows(rows, queries, k=NEAREST, least=-1.0)])
        differing = int((found != whole(rows, queries)).sum())
        load = os.getloadavg()[0]
        rounds: list[dict[str, tuple[float, float]]] = []
        for number in range(options.rounds):
            order = list(arms) if number % 2 == 0 else list(arms)[::-1]
            rounds.append({name: timed(arms[name]) for name in order})
    ratios = {
        name: {clock: [turn[name][i] / turn["floor"][i] for turn in rounds] for i, clock in enumerate(("wall", "cpu"))}
        for name in arms
    }
    spread = {
        name: {c: {"median": statistics.median(v), "least": min(v), "largest": max(v)} for c, v in clocks.items()}
        for name, clocks in ratios.items()
    }
    counted = spread["search"]["cpu" if load > 1 else "wall"]["median"]
    for name, clocks in spread.items():
        seconds = statistics.median(turn[name][0] for turn in rounds)
        texts = [f"{c} {v['median']:.3f} [{v['least']:.3f}, {v['largest']:.3f}]" for c, v in clocks.items()]
        sys.stderr.write(f"{name:<8}{seconds:>8.3f} s   / floor: {'   '.join(texts)}\n")
    sys.stderr.write(f"search: {memory / 1e6:.1f} MB above start, limit {LIMIT / 1e6:.1f}; {differing} differ\n")
    result = {
        "benchmark": "dictionaries/neighbours",
        "features": FEATURES,
        "width": WIDTH,
        "queries": QUERIES,
        "rounds": options.rounds,
        "threads": options.threads,
        "load_before": load,
        "ratios": spread,
        "bytes_above_start": memory,
        "limit": LIMIT,
        "ranks_that_differ": differing,
        "bar": BAR,
        "met": counted <= BAR and memory <= LIMIT,
    }
    sys.stdout.write(json.dumps(result) + "\n")


if __name__ == "__main__":
    main()
