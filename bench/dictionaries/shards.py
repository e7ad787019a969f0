"""Shuffled reading of shards against a plain sequential read of the same files.

Writes shards of random rows (width 768, float32) once, then takes turns round by round: `sequential` reads every byte
of every shard into one buffer, `shuffled` iterates an epoch of training batches through the reader (buffer of 262,144
ids, two batches ahead). Both see the files in the page cache. Prints rows per second, the ratio of bytes per second
(bar: median at least 0.8), and how many times the 6,200 rows per second of a top-k step on two cores that is (bar: 3).
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import polars as pl
import torch

from radiograph.store.shards import (
    Index,
    ModelRecord,
    ShardData,
    SourceRecord,
    begin,
    finish,
    open_activations,
    write_shard,
)

SOURCE, WIDTH, CONSUMED = "reference/resid_post.6", 768, 6_200


def write(folder: Path, shards: int, rows: int) -> None:
    prompts = pl.DataFrame(
        {"prompt": np.arange(shards, dtype=np.uint32), "split": ["train"] * (shards - 1) + ["validation"]}
    )
    index = Index(
        models=(ModelRecord(role="reference", reference="random", sha256="0" * 64),),
        sources=(SourceRecord(source=SOURCE, width=WIDTH, dtype="F32"),),
        tokenizer_sha256=None,
        config_sha256="0" * 64,
        data_sha256={},
        split_salt=0,
        validation=0.0,
        shards=shards,
    )
    begin(folder, index, prompts)
    generator = torch.Generator().manual_seed(0)
    for number in range(shards):
        columns = np.zeros(rows, np.int64)
        data = ShardData(
            number=number,
            rows={SOURCE: torch.randn(rows, WIDTH, generator=generator)},
            tokens=columns,
            prompts=columns + number,
            positions=columns,
            span=(number, number),
            fed=rows,
            validation=rows if number == shards - 1 else 0,
        )
        write_shard(folder, data, "0" * 64)
    finish(folder, "0" * 64)


def sequential(folder: Path, buffer: memoryview) -> tuple[int, float]:
    began, total = time.perf_counter(), 0
    for path in sorted(folder.glob("[0-9]*.safetensors")):
        with path.open("rb", buffering=0) as handle:
            while count := handle.readinto(buffer):
                total += count
    return total, time.perf_counter() - began


def shuffled(folder: Path, batch: int, epoch: int) -> tuple[int, float]:
    activations = open_activations(folder)
    began, rows = time.perf_counter(), 0
    reader = activations.reader([SOURCE], split="train", batch=batch, epoch=epoch)
    for (part,) in reader:
        rows += len(part)
    reader.close()
    return rows, time.perf_counter() - began


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
        folder = Path(place)
        write(folder, options.shards, options.rows)
        buffer = memoryview(bytearray(8 * 2**20))
        sequential(folder, buffer)
        ratios, speeds = [], []
        for number in range(options.rounds):
            size, plain = sequential(folder, buffer)
            rows, mixed = shuffled(folder, options.batch, number)
            ratios.append((rows * WIDTH * 4 / mixed) / (size / plain))
            speeds.append(rows / mixed)
            print(f"round {number}: {ratios[-1]:.3f} of sequential, {speeds[-1]:,.0f} rows/s", file=sys.stderr)
    found = {
        "bench": "shards",
        "ratio": {"median": statistics.median(ratios), "min": min(ratios), "max": max(ratios)},
        "rows_per_second": statistics.median(speeds),
        "times_training": statistics.median(speeds) / CONSUMED,
        "bar": {"ratio": 0.8, "times_training": 3},
    }
    print(json.dumps(found))


if __name__ == "__main__":
    main()
