"""Shuffled reading of shards against a plain sequential read of the same files.

    python bench/dictionaries/shards.py [--rounds 7]

Shards of random rows (width 768, float32) are written once; then arms take turns round by round, all on files in the
page cache, two threads. The floor reads every byte of every shard into one buffer. `shuffled` is an epoch of training
batches of 4,096 (buffer of 262,144 ids, two batches ahead) of activations whose hashes were checked in an epoch before;
`first` is an epoch with that check; `hash` hashes the files alone. What shuffled reading gives is compared first: every
row once. Ratios are of the floor's seconds per byte to the arm's, of wall clock and of processor seconds; where the
load is above the cores only the latter count. Bars: shuffled ≥ 0.8 of the floor; ≥ 3 times the 6,200 rows a second that
a top-k step of 16,384 features consumes on the same cores.

A read from the page cache lands in the same 8 MiB again and again, in the processor's own cache; rows in a new order go
through memory twice. So the first bar says whether a reader keeps up with a disk: it does with one that is no faster
than `disk_keeps_up`, the shuffled bytes of a processor second / 0.8, and it can be missed where all files are cached.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars as pl
import torch

from radiograph.store import file_sha256
from radiograph.store.shards import (
    DiskActivations,
    Index,
    ModelRecord,
    ShardData,
    SourceRecord,
    begin,
    finish,
    open_activations,
    write_shard,
)

SOURCE, WIDTH, CONSUMED, BAR, TIMES = "reference/resid_post.6", 768, 6_200, 0.8, 3
SPEC = "0" * 64


def write(folder: Path, shards: int, rows: int) -> None:
    """Training shards; column 0 is the number of the row."""
    prompts = pl.DataFrame({"prompt": np.arange(shards, dtype=np.uint32), "split": ["train"] * shards})
    index = Index(
        models=(ModelRecord(role="reference", reference="random", sha256=SPEC),),
        sources=(SourceRecord(source=SOURCE, width=WIDTH, dtype="F32"),),
        tokenizer_sha256=None,
        config_sha256=SPEC,
        data_sha256={},
        split_salt=0,
        validation=0.0,
        shards=shards,
    )
    begin(folder, index, prompts)
    generator = torch.Generator().manual_seed(0)
    for number in range(shards):
        values = torch.randn(rows, WIDTH, generator=generator)
        values[:, 0] = torch.arange(number * rows, (number + 1) * rows)
        columns = np.zeros(rows, np.int64)
        write_shard(
            folder,
            ShardData(
                number=number,
                rows={SOURCE: values},
                tokens=columns,
                prompts=columns + number,
                positions=columns,
                span=(number, number),
                fed=rows,
                validation=0,
            ),
            SPEC,
        )
    finish(folder, SPEC)


def sequential(files: list[Path], buffer: memoryview) -> None:
    for path in files:
        with path.open("rb", buffering=0) as handle:
            while handle.readinto(buffer):
                pass


def shuffled(activations: DiskActivations, batch: int, epoch: int) -> list[np.ndarray]:
    """An epoch; the numbers of its rows."""
    reader = activations.reader([SOURCE], split="train", batch=batch, epoch=epoch)
    found = [rows[:, 0].numpy().copy() for (rows,) in reader]
    reader.close()
    return found


def timed(arm: Callable[[], object]) -> tuple[float, float]:
    wall, cpu = time.perf_counter(), time.process_time()
    arm()
    return time.perf_counter() - wall, time.process_time() - cpu


def measure(folder: Path, options: argparse.Namespace) -> dict[str, object]:
    files = sorted(folder.glob("[0-9]*.safetensors"))
    total = options.shards * options.rows
    buffer = memoryview(bytearray(8 * 2**20))
    activations, epoch = open_activations(folder), iter(range(10**6))
    found = np.sort(np.concatenate(shuffled(activations, options.batch, next(epoch))))
    lost = int((found != np.arange(total)).sum()) if len(found) == total else abs(total - len(found))
    arms: dict[str, Callable[[], object]] = {
        "floor": lambda: sequential(files, buffer),
        "shuffled": lambda: shuffled(activations, options.batch, next(epoch)),
        "first": lambda: shuffled(open_activations(folder), options.batch, next(epoch)),
        "hash": lambda: [file_sha256(path) for path in files],
    }
    load = os.getloadavg()[0]
    rounds: list[dict[str, tuple[float, float]]] = []
    for number in range(options.rounds):
        order = list(arms) if number % 2 == 0 else list(arms)[::-1]
        rounds.append({name: timed(arms[name]) for name in order})
    spread = {
        name: {
            clock: {"median": statistics.median(v), "least": min(v), "largest": max(v)}
            for i, clock in enumerate(("wall", "cpu"))
            for v in [[turn["floor"][i] / turn[name][i] for turn in rounds]]
        }
        for name in arms
    }
    speeds = {name: total / statistics.median(turn[name][0] for turn in rounds) for name in arms}
    rate = statistics.median(total * WIDTH * 4 / turn["shuffled"][1] for turn in rounds) / BAR
    counted = spread["shuffled"]["cpu" if load > (os.cpu_count() or 1) else "wall"]["median"]
    for name, clocks in spread.items():
        texts = [f"{c} {v['median']:.3f} [{v['least']:.3f}, {v['largest']:.3f}]" for c, v in clocks.items()]
        sys.stderr.write(f"{name:<10}{speeds[name]:>12,.0f} rows/s   of the floor: {'   '.join(texts)}\n")
    sys.stderr.write(f"the bar holds on disks of up to {rate / 1e9:.1f} GB/s; {lost} rows lost\n")
    return {
        "benchmark": "dictionaries/shards",
        "shards": options.shards,
        "rows": total,
        "width": WIDTH,
        "rounds": options.rounds,
        "threads": options.threads,
        "load_before": load,
        "ratios": spread,
        "rows_per_second": speeds,
        "times_training": speeds["shuffled"] / CONSUMED,
        "disk_keeps_up": rate,
        "rows_lost": lost,
        "bar": {"ratio": BAR, "times_training": TIMES},
        "met": counted >= BAR and speeds["shuffled"] >= TIMES * CONSUMED and not lost,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shards", type=int, default=13)
    parser.add_argument("--rows", type=int, default=20_000, help="a shard")
    parser.add_argument("--batch", type=int, default=4096)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    with tempfile.TemporaryDirectory() as place:
        write(Path(place), options.shards, options.rows)
        result = measure(Path(place), options)
    sys.stdout.write(json.dumps(result) + "\n")


if __name__ == "__main__":
    main()
