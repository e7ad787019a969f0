"""Capture at one middle site against the least any capture can cost: the embedding and the blocks up to the site.

A random model of GPT-2 small's shape (12 layers, width 768) on 16 rows of 128 tokens, float32, CPU. Three arms take
turns round by round in one process: `capture`, the bare truncated forward, and the whole forward. Outputs are compared
first. Prints one JSON line; the bar is a median per-round ratio of at least 0.95 in tokens per second.
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

from radiograph.core import Site
from radiograph.models import LanguageModel, capture, forward, pad, wrap

ROWS, POSITIONS, LAYER, BAR = 16, 128, 5, 0.95


def build() -> LanguageModel:
    torch.manual_seed(0)
    return wrap(AutoModelForCausalLM.from_config(GPT2Config()))


def bare(model: LanguageModel, ids: torch.Tensor) -> torch.Tensor:
    """Embedding and blocks 0 to LAYER, called by hand, with the causal kernel that the whole model uses."""
    network = model.model.transformer
    with torch.inference_mode():
        hidden = network.wte(ids) + network.wpe(torch.arange(ids.shape[1]))
        for block in network.h[: LAYER + 1]:
            hidden = block(hidden, None, None, use_cache=False)
    return hidden


def timed(arm: Callable[[], object]) -> tuple[float, float]:
    wall, cpu = time.perf_counter(), time.process_time()
    arm()
    return time.perf_counter() - wall, time.process_time() - cpu


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    model, site = build(), Site("resid_post", LAYER)
    ids = torch.randint(0, 50257, (ROWS, POSITIONS), generator=torch.Generator().manual_seed(1))
    batch = pad(ids.tolist())
    arms: dict[str, Callable[[], object]] = {
        "capture": lambda: capture(model, batch, [site]),
        "bare": lambda: bare(model, batch.ids),
        "full": lambda: forward(model, batch),
    }
    error = float((capture(model, batch, [site])[site] - bare(model, batch.ids)).abs().max())
    assert error <= 1e-5, error
    for arm in arms.values():
        arm()
    rounds: list[dict[str, tuple[float, float]]] = []
    for number in range(options.rounds):
        order = list(arms) if number % 2 == 0 else list(arms)[::-1]
        rounds.append({name: timed(arms[name]) for name in order})
    wall = [r["bare"][0] / r["capture"][0] for r in rounds]
    cpu = [r["bare"][1] / r["capture"][1] for r in rounds]
    seconds = {name: statistics.median(r[name][0] for r in rounds) for name in arms}
    result = {
        "benchmark": "models/capture",
        "site": str(site),
        "tokens": ROWS * POSITIONS,
        "rounds": options.rounds,
        "threads": options.threads,
        "largest_difference": error,
        "tokens_per_second": {name: round(ROWS * POSITIONS / value) for name, value in seconds.items()},
        "ratio_wall": {"median": statistics.median(wall), "low": min(wall), "high": max(wall)},
        "ratio_cpu": {"median": statistics.median(cpu), "low": min(cpu), "high": max(cpu)},
        "full_over_capture": statistics.median(r["full"][0] / r["capture"][0] for r in rounds),
        "bar": BAR,
        "passed": statistics.median(wall) >= BAR,
    }
    sys.stdout.write(json.dumps(result) + "\n")


if __name__ == "__main__":
    main()
