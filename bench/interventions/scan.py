"""`neurons scan` against plain forward passes over the same texts.

A random model of GPT-2 small's shape (12 layers, width 768, 36,864 units) on texts of 128 tokens, float32, CPU. Two
arms take turns round by round in one process: `models.forward` over every batch of the plan, with logits; and
`harvest.statistics.measure` of `mlp_hidden.*`, everything that the verb keeps included (moments, bins, firing,
contexts). The first round warms up and is dropped. Both arms run the same batches. Prints one JSON line; the bar is a
median per-round ratio of wall time of at most 1.5; that of processor time stands beside it. Naming tokens and writing
tables are not timed: they do not grow with the texts. A run takes about 90 s on two quiet cores; one batch is the worst
case, since every unit's list of places is empty when it comes.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable

import torch
from transformers import AutoModelForCausalLM, GPT2Config

from radiograph.harvest.statistics import Scan, measure, rows_of_tokens
from radiograph.models import forward, pad, plan, wrap

BAR, POSITIONS = 1.5, 128


def timed(arm: Callable[[], object]) -> tuple[float, float]:
    """Wall and processor seconds."""
    wall, cpu = time.perf_counter(), time.process_time()
    arm()
    return time.perf_counter() - wall, time.process_time() - cpu


def main() -> None:
    """Run the arms and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=4)
    parser.add_argument("--texts", type=int, default=16)
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    torch.manual_seed(0)
    model = wrap(AutoModelForCausalLM.from_config(GPT2Config()))
    generator = torch.Generator().manual_seed(1)
    tokens = torch.randint(0, 50257, (options.texts, POSITIONS), generator=generator).tolist()
    rows = rows_of_tokens(tokens)
    scan = Scan(tuple(model.sites("mlp_hidden.*")))
    batches = [pad(tokens, own) for own in plan([POSITIONS] * len(tokens), scan.batch_tokens)]

    def plain() -> None:
        for batch in batches:
            forward(model, batch)

    arms: dict[str, Callable[[], object]] = {"forward": plain, "scan": lambda: measure(model, rows, scan)}
    times: dict[str, list[tuple[float, float]]] = {name: [] for name in arms}
    for number in range(options.rounds + 1):
        for name in sorted(arms, reverse=bool(number % 2)):
            seconds = timed(arms[name])
            if number:
                times[name].append(seconds)
    found = {
        kind: [s[place] / f[place] for s, f in zip(times["scan"], times["forward"], strict=True)]
        for place, kind in enumerate(("wall", "cpu"))
    }
    ratios = {kind: statistics.median(values) for kind, values in found.items()}
    report = {
        "seconds": {name: [round(wall, 3) for wall, _ in values] for name, values in times.items()},
        "ratio": {kind: round(value, 3) for kind, value in ratios.items()},
        "tokens": options.texts * POSITIONS,
        "bar": BAR,
        "passed": ratios["wall"] <= BAR,
    }
    print(json.dumps(report))
    sys.exit(0 if report["passed"] else 1)


if __name__ == "__main__":
    main()
