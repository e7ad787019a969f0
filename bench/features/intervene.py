"""Outcomes of one feature under many conditions, packed and one at a time: rows a second on both sides, in one run.

    python bench/features/intervene.py [--prompts 64] [--doses 8] [--controls 80] [--out FILE]

Both sides give every (prompt, condition) the same write and read the same outcome; the largest difference is told.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

import numpy as np
import torch

from radiograph import dictionaries, models, organisms
from radiograph.interventions.features import FeatureWrite, Question, codes_on, pushed, score


def main() -> None:
    """Measure, print and store."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--prompts", type=int, default=64)
    parser.add_argument("--doses", type=int, default=8)
    parser.add_argument("--controls", type=int, default=80)
    parser.add_argument("--out", type=Path)
    asked = parser.parse_args()
    torch.set_num_threads(1)
    model = models.load("bundled:base", resolve=organisms.bundled_path)
    codec = dictionaries.load(organisms.bundled_path("dictionary"))
    texts = organisms.neutral_texts("world")[: asked.prompts]
    tokens = [models.tokenize(model.tokenizer, text).ids[:32] for text in texts]
    (site,) = model.sites(codec.site)
    direction = codec.decoder[139:140].double().numpy()
    codes = codes_on(model, codec, (139,), tokens)
    rng = np.random.default_rng(0)
    rows = []
    for prompt, held in enumerate(codes):
        for dose in np.linspace(-2, 2, asked.doses):
            own = pushed(FeatureWrite(codec, site, (139,), direction, "add", float(dose)), held)
            rows.append((prompt, own))
        for _ in range(asked.controls):
            unit = rng.standard_normal(model.width)
            rows.append((prompt, own.along(unit / np.linalg.norm(unit))))
    questions = [Question(tuple(tokens[prompt]), ((17,), (23,))) for prompt, _ in rows]
    writes = [[own] for _, own in rows]
    began = time.process_time()
    packed = [one.value for one in score(model, questions, writes)]
    fast = time.process_time() - began
    few = list(range(0, len(rows), max(1, len(rows) // 500)))
    began = time.process_time()
    alone = [score(model, [questions[i]], [writes[i]])[0].value for i in few]
    slow = (time.process_time() - began) * len(rows) / len(few)
    found = {
        "rows": len(rows),
        "packed_seconds": round(fast, 3),
        "alone_seconds": round(slow, 3),
        "alone_measured": len(few),
        "ratio": round(slow / fast, 2),
        "rows_per_second": round(len(rows) / fast),
        "largest_difference": float(np.abs(np.array(alone) - np.array(packed)[few]).max()),
    }
    text = json.dumps(found, indent=1)
    print(text)
    if asked.out is not None:
        asked.out.write_text(text + "\n")


if __name__ == "__main__":
    main()
