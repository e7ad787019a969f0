"""Compiling a criterion: CPU by rows, for texts unlike each other, texts of one form, and records that are ready.

    python bench/features/criterion.py [--rows 2000,20000] [--rounds 3] [--out FILE]

Median CPU seconds of this process, imports excluded. `clusters` is the pairwise comparison in Python (the same answer),
timed up to 5,000 rows: of one form it grows with the square of the rows.
"""

from __future__ import annotations

import argparse
import json
import random
import statistics
import string
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from radiograph.criteria import Parts, Prompts, Records, compile_criterion, prepare_records
from radiograph.numerics.criteria import near_clusters, text_key
from radiograph.numerics.traces import clusters

SLOW_UP_TO = 5_000


def cost(work: Callable[[], Any], rounds: int) -> float:
    spent = []
    for _ in range(rounds):
        start = time.process_time()
        work()
        spent.append(time.process_time() - start)
    return statistics.median(spent)


def texts(n: int, form: str) -> list[str]:
    luck = random.Random(0)
    words = ["".join(luck.choices(string.ascii_lowercase, k=luck.randint(3, 8))) for _ in range(3000)]
    if form == "unlike":
        return [" ".join(luck.choices(words, k=12)) for _ in range(n)]
    frame = "The thing that I saw at the market last year was about {} metres long and quite heavy for a {}"
    return [frame.format(*luck.choices(words, k=2)) for _ in range(n)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", default="2000,20000")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    compile_criterion(Parts(text="x", prompts=Prompts.of([{"text": t, "label": i % 2} for i, t in enumerate("abcd")])))
    found: list[dict[str, Any]] = []
    for n in map(int, options.rows.split(",")):
        for form in ("unlike", "alike"):
            own = texts(n, form)
            keys = [text_key(text) for text in own]
            rows = [{"prompt_id": f"p{i}", "text": text, "label": i % 2} for i, text in enumerate(own)]
            parts = Parts(text="x", prompts=Prompts.of(rows))
            ids = [f"p{i}" for i in range(n)]
            records = Records(ids, ids, ["positive" if i % 2 else "negative" for i in range(n)], own)
            entry = {
                "rows": n,
                "texts": form,
                "near_clusters_s": cost(lambda: near_clusters(keys), options.rounds),  # noqa: B023
                "compile_s": cost(lambda: compile_criterion(parts), options.rounds),  # noqa: B023
                "records_s": cost(lambda: prepare_records("x", records, surface=False), options.rounds),  # noqa: B023
            }
            if n <= SLOW_UP_TO:
                entry["clusters_s"] = cost(lambda: clusters(keys), 1)  # noqa: B023
            found.append(entry)
            print(json.dumps(entry))
    if options.out:
        options.out.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
