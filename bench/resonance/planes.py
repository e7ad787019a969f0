"""Planes in closed form: against rotation matrices, against looking at rows, against permuting in a loop; and memory.

    python bench/resonance/planes.py [--parts rotation,pairs,permutations,verb] [--small]

`rotation`: mean curve and cones of one plane, D 512, 72 angles, 2,000 rows, against `expm` of the generator at every
angle (timed on 4 angles). `pairs`: all pairs of 1,415 vectors x 2,000 rows x D 3,072, float32, cones at .05: the sample
path with its peak memory, the same at a quarter of the planes (708 vectors), and the moment path. Added memory is the
peak of the resident set above that before the call, cosines and the list of planes in memory. `permutations`: 10,000
relabellings of 2,000 rows in 10,000 planes, pseudo-F, as one product, against a loop timed on 100. What both arms find
is compared first. `verb`: `resonance sweep` of all pairs of 1,415 vectors x 200 rows x D 512 with its tables: the peak
of its process above that of the same command with three vectors. Two threads. Table on stderr, one line of JSON on
stdout.

Bars: rotation ≥ 1,000 x; pairs ≤ 1 GiB, equal within 10 % or 1 MiB, time ≤ 4.6 x for 4 x planes, moments ≥ 50 x;
permutations ≥ 10 x; verb ≤ 1 GiB. `--small` runs everything at a tenth of the size to see that it works; bars are not
judged.
"""

from __future__ import annotations

import argparse
import ctypes
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import save_file
from scipy.linalg import expm
from threadpoolctl import threadpool_limits

from radiograph.numerics.planes import (
    Labels,
    Planes,
    PseudoF,
    all_pairs,
    cone_fraction,
    coordinates,
    curve,
    moment_path,
    planes_of,
    sample_path,
    statistics,
    unit_rows,
)

EPSILON, GIB = 0.05, 1 << 30


def drawn(rows: int, width: int, seed: int) -> np.ndarray:
    return unit_rows(np.random.default_rng(seed).standard_normal((rows, width), dtype=np.float32))[0]


def timed(arm: Callable[[], object]) -> float:
    start = time.perf_counter()
    arm()
    return time.perf_counter() - start


def resident(name: str = "VmRSS:") -> int:
    """Bytes of resident memory, now or (`VmHWM:`) at its peak."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(name)) * 1024


def peak(arm: Callable[[], object]) -> tuple[float, int]:
    """Seconds of a call, and resident memory at its peak."""
    Path("/proc/self/clear_refs").write_text("5")
    return timed(arm), resident("VmHWM:")


def rotation(scale: int) -> dict[str, Any]:
    width, rows = 512 // scale, drawn(2000, 512 // scale, 0).astype(np.float64)
    basis = unit_rows(np.random.default_rng(1).standard_normal((2, width)))[0]
    planes, _ = planes_of(basis @ basis.T, *all_pairs(2))
    angles = np.arange(72) * 5.0
    generator = (np.outer(basis[1], basis[0]) - np.outer(basis[0], basis[1])) / planes.sine[0]

    def closed() -> tuple[np.ndarray, np.ndarray]:
        z = coordinates(rows @ basis.T, planes)
        return curve(statistics(z, width).grey, angles)[0], cone_fraction(z, EPSILON, angles)[0]

    def dense(some: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        s = np.stack([rows @ (expm(np.radians(a) * generator) @ basis[0]) for a in some])
        return s.mean(axis=1), (s >= EPSILON).mean(axis=1)

    few = angles[1::18]
    found, slow = closed(), dense(few)
    apart = max(float(np.abs(ours[1::18] - theirs).max()) for ours, theirs in zip(found, slow, strict=True))
    ours = min(timed(closed) for _ in range(9))
    theirs = min(timed(lambda: dense(few)) for _ in range(3)) * len(angles) / len(few)
    return {"closed_s": ours, "dense_s": theirs, "ratio": theirs / ours, "largest_difference": apart, "bar": 1000}


def pairs(scale: int) -> dict[str, Any]:
    width, rows, vectors = 3072 // scale, drawn(2000 // scale, 3072 // scale, 2), 1415 // scale
    basis = drawn(vectors, width, 3)

    def prepared(count: int) -> tuple[np.ndarray, Planes]:
        some = basis[:count]
        return (some @ rows.T).T, planes_of(some @ some.T, *all_pairs(count))[0]

    def sampled(dots: np.ndarray, planes: Planes) -> float:
        highest = 0.0
        for block in sample_path(dots, planes, width=width, epsilons=(EPSILON,)):
            highest = max(highest, float(block.suprema[EPSILON].max()), float(block.statistics.fourfold.max()))
        return highest

    def moments(dots: np.ndarray, planes: Planes) -> float:
        return float(moment_path(dots, planes, width).r.max())

    sampled(*prepared(4))  # what is loaded once is not what a plane costs
    fewer, every = prepared((vectors + 1) // 2), prepared(vectors)
    ctypes.CDLL(None).malloc_trim(0)  # memory that the heap holds back would hide what is added
    before = resident()
    quarter_s, quarter_peak = peak(lambda: sampled(*fewer))
    whole_s, whole_peak = peak(lambda: sampled(*every))
    quarter_bytes, whole_bytes = quarter_peak - before, whole_peak - before
    moment_s = min(timed(lambda: moments(*every)) for _ in range(3))
    dots, planes = prepared(vectors)
    block = next(sample_path(dots, planes, width=width))
    few = moment_path(dots, planes[: block.stop], width)
    return {
        "planes": len(planes),
        "sample_s": whole_s,
        "quarter_s": quarter_s,
        "moment_s": moment_s,
        "bytes": whole_bytes,
        "quarter_bytes": quarter_bytes,
        "time_ratio": whole_s / quarter_s,
        "memory_ratio": whole_bytes / max(quarter_bytes, 1),
        "moment_ratio": whole_s / moment_s,
        "largest_difference": float(np.abs(few.energy - block.statistics.energy).max()),
        "bars": {"bytes": GIB, "time_ratio": 4.6, "memory_ratio": 1.1, "moment_ratio": 50},
    }


def permutations(scale: int) -> dict[str, Any]:
    count, planes, draws, looped = 2000 // scale, 10_000 // scale, 10_000 // scale, 100 // scale
    z = np.random.default_rng(4).standard_normal((2, planes, count), dtype=np.float32)
    labels = Labels([f"g{i % 2}" for i in range(count)], [i // 20 for i in range(count)])
    source = PseudoF(z, labels)

    def product(wanted: int) -> list[np.ndarray]:
        # Kept from all draws: how many reach 5. A null of 10,000 x 10,000 is itself 400 MB.
        return [(null >= 5).sum(axis=0) for null in source.chunks(np.arange(planes), wanted, 0)]

    def loop(wanted: int) -> list[np.ndarray]:
        total = ((z - z.mean(axis=2, keepdims=True)) ** 2).sum(axis=(0, 2))
        reached = np.zeros(planes, dtype=np.int64)
        for codes in np.concatenate(list(labels.permuted(wanted, 0))):
            one, two = (z[:, :, codes == group].mean(axis=2) for group in (0, 1))
            between = count / 4 * ((one - two) ** 2).sum(axis=0)
            reached += between / ((total - between) / (count - 2)) >= 5
        return [reached]

    apart = int(np.abs(sum(product(looped)) - sum(loop(looped))).max())
    ours, theirs = timed(lambda: product(draws)), timed(lambda: loop(looped)) * draws / looped
    return {"product_s": ours, "loop_s": theirs, "ratio": theirs / ours, "largest_difference": apart, "bar": 10}


def verb(scale: int) -> dict[str, Any]:
    # In a process of its own: what others of this benchmark have held would hide what a sweep adds.
    def swept(vectors: int, folder: Path) -> tuple[float, int]:
        basis, run = str(folder / f"basis{vectors}"), str(folder / f"run{vectors}")
        rows = str(folder / "rows.safetensors")
        made = ["resonance", "basis", rows, "--kind", "random", "--of", f"haar {vectors}", "--out", basis]
        asked = ["resonance", "sweep", rows, "--basis", basis, "--transform", "raw", "--epsilon", "0.1", "--out", run]
        subprocess.run([sys.executable, "-m", "radiograph", *made], check=True, capture_output=True)
        start = time.perf_counter()
        child = subprocess.Popen([sys.executable, "-m", "radiograph", *asked], stdout=subprocess.DEVNULL)
        _, status, usage = os.wait4(child.pid, 0)
        if status:
            raise SystemExit(f"the sweep ended with {status}")
        return time.perf_counter() - start, usage.ru_maxrss * 1024

    count = 1415 // scale
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        save_file({"mlp_out.3": drawn(200, 512, 5)}, folder / "rows.safetensors")
        (folder / "rows.csv").write_text("core,type\n" + "".join(f"c{i // 2},{'ab'[i % 2]}\n" for i in range(200)))
        (_, before), (seconds, peak_bytes) = swept(3, folder), swept(count, folder)
    return {"planes": count * (count - 1) // 2, "verb_s": seconds, "bytes": peak_bytes - before, "bar": GIB}


PARTS = {"rotation": rotation, "pairs": pairs, "permutations": permutations, "verb": verb}


def met(name: str, row: dict[str, Any]) -> bool:
    if name == "verb":
        return row["bytes"] <= row["bar"]
    if name != "pairs":
        return row["ratio"] >= row["bar"]
    bars = row["bars"]
    apart = abs(row["bytes"] - row["quarter_bytes"])
    flat = apart <= (bars["memory_ratio"] - 1) * row["quarter_bytes"] or apart <= 1 << 20
    return (
        row["bytes"] <= bars["bytes"]
        and flat
        and row["time_ratio"] <= bars["time_ratio"]
        and row["moment_ratio"] >= bars["moment_ratio"]
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--parts", default=",".join(PARTS))
    parser.add_argument("--small", action="store_true")
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    rows: dict[str, dict[str, Any]] = {}
    with threadpool_limits(options.threads):
        for name in options.parts.split(","):
            rows[name] = PARTS[name](10 if options.small else 1)
            if not options.small:
                rows[name]["met"] = met(name, rows[name])
            shown = "  ".join(f"{k} {v:.4g}" for k, v in rows[name].items() if isinstance(v, (int, float)))
            sys.stderr.write(f"{name:<14}{shown}\n")
    result = {
        "benchmark": "resonance/planes",
        "threads": options.threads,
        "load": os.getloadavg()[0],
        "small": options.small,
        "parts": rows,
    }
    sys.stdout.write(json.dumps(result) + "\n")


if __name__ == "__main__":
    main()
