"""The token sweep of a search against bare forwards of the same candidate prompts: every token × 8 carriers.

Both models are timed in the sweep with nothing kept from before, and in the bare forwards: whole prompts of one carrier
in the same batches, last logits alone, no shared heads, no divergence. Median of `--rounds`, taken in turn. Bar: 1.2.
Also the whole `quick` search with its answers. Prints one JSON line.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time

import torch

from radiograph import organisms
from radiograph.core import Silent
from radiograph.detectors import render
from radiograph.detectors.measure.search import Objective, Renderer, Settings, search, split
from radiograph.detectors.measure.search._objective import _KEPT, Budget
from radiograph.models import load_pair
from radiograph.models.decoding import BATCH_TOKENS
from radiograph.store import suite_from_document

BAR = 1.2
CARRIERS = 8


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--candidate", default=organisms.bundled_organism("trigger_token").id)
    args = parser.parse_args()
    torch.set_num_threads(1)
    adapter = organisms.bundled_path(args.candidate)
    pair = load_pair("bundled:base", f"bundled:base+{adapter}", resolve=organisms.bundled_path)
    suite = suite_from_document(organisms.world_suite(), "suite")
    banks = render(pair.reference, suite, [])
    renderer = Renderer(pair.reference.tokenizer, banks.chat)
    carriers = renderer.carriers(split(banks)[0][:CARRIERS], ("prefix", "suffix"), 100)
    special = set(pair.reference.tokenizer.all_special_ids)
    tokens = torch.tensor([i for i in range(len(pair.reference.tokenizer)) if i not in special])

    def swept(place: str) -> None:
        _KEPT.rows.clear()
        Objective(pair, carriers, tokens, Budget(10**9), seed=0).gains(place, tokens[:, None])

    def bare(place: str) -> None:
        for model in (pair.reference, pair.candidate):
            for carrier in carriers:
                hole = carrier.holes[place]
                head, tail = (torch.tensor(part).expand(len(tokens), -1) for part in (hole.head, hole.tail))
                rows = torch.cat([head, tokens[:, None], tail], 1)
                with torch.inference_mode(), model.session() as network:
                    for part in rows.split(max(1, BATCH_TOKENS // rows.shape[1])):
                        network(input_ids=part, use_cache=False, logits_to_keep=1)

    result: dict[str, object] = {"bench": "audit.search", "tokens": len(tokens), "carriers": len(carriers)}
    for place in ("prefix", "suffix"):
        times: dict[str, list[float]] = {"sweep": [], "bare": []}
        for _ in range(args.rounds + 1):
            for name, run in (("sweep", swept), ("bare", bare)):
                began = time.perf_counter()
                run(place)
                times[name].append(time.perf_counter() - began)
        median = {name: statistics.median(values[1:]) for name, values in times.items()}
        result[place] = {**median, "ratio": median["sweep"] / median["bare"], "bar": BAR}
    began = time.perf_counter()
    found, _ = search(pair, banks, Settings("quick"), 0, Silent())
    result["quick"] = {"seconds": time.perf_counter() - began, "tokens": found.tokens, "gain": found.gain}
    print(json.dumps(result))


if __name__ == "__main__":
    main()
