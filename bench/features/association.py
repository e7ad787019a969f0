"""Cost of the held-out protocol by number of triplets, features streamed in parts.

    OMP_NUM_THREADS=1 python bench/features/association.py --millions 1,10,30 --part 2

Each size runs in its own process: 50 entries a row over 5,000 features, Exp(1) values, labels alternating. Entries of a
part of the features are made, screened and forgotten, so memory belongs to a part and not to the table. Prints JSON:
CPU seconds of the protocol, CPU per triplet against the smallest size, and the largest resident set.

Bars: CPU per triplet ≤ 1.3 × that of the smallest; resident set ≤ 900 MiB and, at the largest, ≤ 1.15 × the one before.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
from time import process_time

import numpy as np

from radiograph.numerics.association import Columns, Settings, columns, conclude, joined, screen, select, study

FEATURES, PER_ROW = 5000, 50


def entries(rows: int, features: np.ndarray) -> Columns:
    """The entries of some features: each fires in rows of its own, always the same."""
    fires = rows * PER_ROW // FEATURES
    unit = np.concatenate([(np.arange(fires) * (rows // fires) + 7919 * int(f)) % rows for f in features])
    value = np.concatenate([np.random.default_rng(int(f)).exponential(size=fires) + 0.01 for f in features])
    number = np.repeat(np.arange(len(features)), fires)
    return columns(unit, number, value.astype(np.float32), units=rows, features=len(features))


def one(millions: float, part: float) -> dict[str, float]:
    """CPU seconds and resident set of one size."""
    rows = int(millions * 1e6 / PER_ROW)
    group, label = np.arange(rows), np.arange(rows) % 2
    discover = np.random.default_rng(0).random(rows) < 0.5
    parts = max(1, round(millions / part))
    spent = -process_time()
    given = study(group, label, discover, features=FEATURES, settings=Settings(permutations=0, bootstrap=0))
    spent += process_time()
    screens = []
    for own in np.array_split(np.arange(FEATURES), parts):
        held = entries(rows, own)
        spent -= process_time()
        screens.append(screen(given, held, own))
        spent += process_time()
    spent -= process_time()
    screened = joined(screens)
    real, sham = select(given, screened)
    conclude(given, screened, real, sham, entries(rows, np.union1d(real, sham)))
    spent += process_time()
    resident = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return {"millions": millions, "cpu_s": round(spent, 3), "resident_mib": round(resident, 1)}


def main() -> None:
    """Run every size in a process of its own."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--millions", default="1,10,30")
    parser.add_argument("--part", type=float, default=2.0, help="millions of triplets held at once")
    parser.add_argument("--one", type=float)
    given = parser.parse_args()
    if given.one is not None:
        print(json.dumps(one(given.one, given.part)))
        return
    found = []
    for size in given.millions.split(","):
        command = [sys.executable, __file__, "--one", size, "--part", str(given.part)]
        found.append(json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout))
    first = found[0]["cpu_s"] / found[0]["millions"]
    for row in found:
        row["cpu_per_triplet_ratio"] = round(row["cpu_s"] / row["millions"] / first, 3)
    print(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
