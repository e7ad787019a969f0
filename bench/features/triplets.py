"""Cost of reading sparse records by feature, and of turning JSON Lines into records, by number of triplets.

    OMP_NUM_THREADS=1 POLARS_MAX_THREADS=1 python bench/features/triplets.py --millions 1,10,30 [--what read,turn]
        [--memory 512MiB] [--folder FOLDER] [--out FILE]

Each measurement runs in a process of its own: 50 entries a row over 5,000 features, Exp(1) values, labels alternating.
`read`: a folder of records in the order of rows, parts of a million entries, read block by block, with count, sum and
maximum of each feature. `turn`: a file of JSON Lines of the same, as interp-lab writes it, turned into records from
nothing. Making the input is not counted, nor are imports. Prints JSON: CPU seconds, CPU per triplet against the
smallest size, the largest resident set, and for `read` a hash of the sums, which must not depend on --memory.

Bars: CPU per triplet ≤ 1.3 × that of 1 M; resident set ≤ 900 MiB, and that of 30 M ≤ 1.15 × that of 10 M.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from time import process_time

import numpy as np
import polars as pl

from radiograph.core.sizes import read_bytes
from radiograph.store.foreign import read_records
from radiograph.store.records import (
    Entries,
    Header,
    RecordsModel,
    begin_records,
    finish_records,
    open_records,
    write_part,
)

FEATURES, PER_ROW, PART_ROWS = 5000, 50, 20_000
SPEC = "0" * 64


def part(number: int, rows: int) -> tuple[np.ndarray, np.ndarray]:
    """Features, ascending in each row, and values of some rows: one of every hundred features each."""
    rng = np.random.default_rng(number)
    own = np.arange(PER_ROW) * (FEATURES // PER_ROW) + rng.integers(0, FEATURES // PER_ROW, (rows, PER_ROW))
    return own.astype(np.uint32), (rng.exponential(size=(rows, PER_ROW)) + 0.01).astype(np.float32)


def parts(millions: float) -> list[tuple[int, int]]:
    """First row and number of rows of each part."""
    rows = int(millions * 1e6 / PER_ROW)
    return [(first, min(PART_ROWS, rows - first)) for first in range(0, rows, PART_ROWS)]


def make_folder(folder: Path, millions: float) -> None:
    """Records in the order of rows."""
    model = RecordsModel(ref="m", sha256="1" * 64)
    fields = {"tokenizer_sha256": None, "dictionary_sha256": None, "level": "prompt", "sites": ("resid_post.0",)}
    begin_records(folder, Header(model=model, features=FEATURES, **fields))
    for number, (first, rows) in enumerate(parts(millions)):
        features, values = part(number, rows)
        table = pl.DataFrame({"row": np.arange(first, first + rows, dtype=np.uint32)}).with_columns(
            pl.lit(-1, pl.Int32).alias("token"),
            pl.format("p{}", "row").alias("prompt_id"),
            (pl.col("row") % 2).cast(pl.Float64).alias("score"),
        )
        entries = Entries(features.ravel(), values.ravel(), np.arange(rows + 1) * PER_ROW)
        write_part(folder, number, table, entries, SPEC)
    finish_records(folder, len(parts(millions)), SPEC)


def make_lines(path: Path, millions: float) -> None:
    """The same as JSON Lines."""
    with path.open("w") as handle:
        for number, (first, rows) in enumerate(parts(millions)):
            features, values = part(number, rows)
            for n, (own, held) in enumerate(zip(features.tolist(), values.tolist(), strict=True), first):
                fires = {f"f{feature}": round(value, 6) for feature, value in zip(own, held, strict=True)}
                line = {"model": "m", "prompt_id": f"p{n}", "text": f"prompt number {n}", "criterion_score": n % 2}
                handle.write(json.dumps(line | {"features": fires}) + "\n")


def read(folder: Path, memory: int) -> str:
    """Count, sum and maximum of each feature; returns a hash of them."""
    counts, sums, largest = [], [], []
    for block in open_records(folder).blocks(memory=memory):
        owner = np.repeat(np.arange(block.features), np.diff(block.offsets))
        counts.append(np.diff(block.offsets))
        sums.append(np.bincount(owner, block.values.astype(np.float64), block.features))
        starts = np.flatnonzero(np.diff(block.offsets))
        top = np.full(block.features, -np.inf)
        top[starts] = np.maximum.reduceat(block.values, block.offsets[starts])
        largest.append(top)
    return hashlib.sha256(b"".join(np.concatenate(kept).tobytes() for kept in (counts, sums, largest))).hexdigest()


def one(what: str, source: Path, memory: int) -> dict[str, object]:
    """CPU seconds and resident set of one measurement."""
    spent = -process_time()
    if what == "read":
        found = read(source, memory)
    else:
        with tempfile.TemporaryDirectory(dir=source.parent) as cache:
            found = str(read_records(source, Path(cache), memory=memory).header.entries)
    spent += process_time()
    resident = int(Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0]) / 1024
    return {"cpu_s": round(spent, 3), "resident_mib": round(resident, 1), "found": found}


def main() -> None:
    """All sizes, or one measurement in a process of its own."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--millions", default="1,10,30")
    parser.add_argument("--what", default="read,turn")
    parser.add_argument("--memory", default="512MiB")
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--one", nargs=2, metavar=("WHAT", "SOURCE"))
    given = parser.parse_args()
    if given.one:
        what, source = given.one
        print(json.dumps(one(what, Path(source), read_bytes(given.memory))))
        return
    results: list[dict[str, object]] = []
    with tempfile.TemporaryDirectory(dir=given.folder) as folder:
        for what in given.what.split(","):
            base = None
            for millions in map(float, given.millions.split(",")):
                source = Path(folder) / f"{what}-{millions}{'' if what == 'read' else '.jsonl'}"
                (make_folder if what == "read" else make_lines)(source, millions)
                call = [sys.executable, __file__, "--memory", given.memory, "--one", what, str(source)]
                done = json.loads(subprocess.run(call, check=True, capture_output=True, text=True).stdout)
                each = done["cpu_s"] / millions
                base = base or each
                results.append({"what": what, "millions": millions, **done, "per_triplet": round(each / base, 3)})
    text = json.dumps({"memory": given.memory, "results": results}, indent=1)
    print(text)
    if given.out:
        given.out.write_text(text + "\n")


if __name__ == "__main__":
    main()
