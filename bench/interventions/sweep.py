"""A batched sweep of mixed conditions against the same rows one prompt at a time, and what pools cost.

    python bench/interventions/sweep.py [--model mini|gpt2-small|bundled:base] [--conditions 64] [--prompts 2]

Models: `mini` is 6 blocks of width 384 with 8,192 tokens, `gpt2-small` that shape (minutes a round), both random.

Arms on the same weights, prompts, writes and greedy tokens, a key-value cache in each:
  batch        every row in mixed batches, through the engine            one          the engine with one row a batch
  hooks        one row at a time, Hugging Face `generate` with a hook set for it: what a script does
  pools        `batch` with running pools at one site in every block     recapture    `batch`, then a whole forward of
                                                                                      every text to read those sites
  bare         the model alone on 64 rows: no engine, no scores, argmax  bare-one     the same on one row; both of
                                                                                      the first prompt, once
Rounds alternate; the table shows medians. stderr: the table; stdout: one JSON line. Bars: batch at least 8 x `one` in
tokens a second; pools at most 1.15 x the time of `batch`, and less than `recapture`. `bare` over `bare-one` is the
ceiling: what reading the weights once for 64 rows is worth on this machine, and what no engine can exceed by much.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch
from transformers import DynamicCache, GPT2Config, GPT2LMHeadModel

from radiograph.core import Site
from radiograph.evidence import Decoding
from radiograph.interventions import BATCH_ROWS, Sweep, bind, parse_conditions, sweep_rows
from radiograph.models import LanguageModel, Reads, edit, load, pad, reading, wrap
from radiograph.models import forward as whole

PROMPT = 12
SHAPES: dict[str, dict[str, Any]] = {
    "mini": {"n_layer": 6, "n_embd": 384, "n_head": 6, "vocab_size": 8192, "bos_token_id": 0, "eos_token_id": 0},
    "gpt2-small": {},
}


def build(name: str) -> LanguageModel:
    """A model with random weights, or a bundled one."""
    if name not in SHAPES:
        from radiograph.organisms import bundled_path

        return load(name, resolve=bundled_path)
    torch.manual_seed(0)
    return wrap(GPT2LMHeadModel(GPT2Config(**SHAPES[name])))


def conditions(model: LanguageModel, count: int) -> list[str]:
    """Mixed ops, sites and positions."""
    layers, ops = model.n_layers, ("set:3", "add:2", "scale:2", "ablate", "cap:-0.1..0.1")
    positions = ("all", "generated", "prompt", "from=1")
    writes = []
    for n in range(count - 1):
        site = f"mlp_hidden.{n % layers}[{7 * n % model.mlp_width}]"
        writes.append(f"{site}:{ops[n % len(ops)]}@{positions[n % len(positions)]}")
    return writes


def by_hooks(model: LanguageModel, sweep: Sweep, tokens: int) -> int:
    """One prompt and condition after the other, with Hugging Face's own loop."""
    made = 0
    for row in sweep.rows:
        ids, (*writes,) = sweep.prompts[row.prompt], sweep.conditions[row.condition].writes
        edits = {write.site: _plain(write.start, float(write.value[0])) for write in writes}
        with edit(model, edits), torch.inference_mode():
            out = model.model.generate(  # pyright: ignore[reportCallIssue]
                torch.tensor([ids]),
                attention_mask=torch.ones(1, len(ids), dtype=torch.long),
                max_new_tokens=tokens,
                do_sample=False,
                pad_token_id=0,
                eos_token_id=10**9,  # never
            )
        made += out.shape[1] - len(ids)
    return made


def _plain(unit: int, value: float) -> Callable[[torch.Tensor], torch.Tensor]:
    def write(x: torch.Tensor) -> torch.Tensor:
        out = x.clone()
        out[..., unit] = value
        return out

    return write


def recapture(model: LanguageModel, sweep: Sweep, sites: tuple[Site, ...]) -> int:
    """Texts first; then every one again, whole, to read it."""
    rows = sweep_rows(sweep)
    every = [[*sweep.prompts[row.row.prompt], *row.ids] for row in rows]
    with reading(model, list(sites)) as found:
        for start in range(0, len(every), 64):
            whole(model, pad(every[start : start + 64]))
            for site in sites:
                found[site][:, PROMPT:].float().mean(1)
    return sum(len(row.ids) for row in rows)


def bare(model: LanguageModel, prompt: list[int], rows: int, tokens: int) -> int:
    """Greedy tokens of equal rows, by the model and its cache alone."""
    cache = DynamicCache(config=model.model.config)
    ids = torch.tensor([prompt]).expand(rows, -1)
    with torch.inference_mode():
        for _ in range(tokens):
            output = model.model(input_ids=ids, past_key_values=cache, use_cache=True, logits_to_keep=1)
            ids = output.logits[:, -1].argmax(-1, keepdim=True)
    return rows * tokens


def main() -> None:
    """Measure, print the table, then one line of JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="mini")
    parser.add_argument("--conditions", type=int, default=64)
    parser.add_argument("--prompts", type=int, default=2)
    parser.add_argument("--tokens", type=int, default=50)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    model = build(options.model)
    generator = torch.Generator().manual_seed(0)
    prompts = torch.randint(5, min(model.vocab_size, 500), (options.prompts, PROMPT), generator=generator).tolist()
    bound = bind(model, parse_conditions(conditions(model, options.conditions)))
    decoding = Decoding(new_tokens=options.tokens)
    sweep = Sweep(model, [tuple(p) for p in prompts], bound, decoding, stops=frozenset())
    sites = tuple(Site("mlp_hidden", layer) for layer in range(model.n_layers))
    pooled = replace(sweep, reads=Reads(sites))
    arms: dict[str, Callable[[], Any]] = {
        "batch": lambda: sum(len(row.ids) for row in sweep_rows(sweep)),
        "one": lambda: sum(len(row.ids) for row in sweep_rows(sweep, batch_rows=1)),
        "hooks": lambda: by_hooks(model, sweep, options.tokens),
        "pools": lambda: sum(len(row.ids) for row in sweep_rows(pooled)),
        "recapture": lambda: recapture(model, sweep, sites),
        "bare": lambda: bare(model, prompts[0], BATCH_ROWS, options.tokens),
        "bare-one": lambda: bare(model, prompts[0], 1, options.tokens),
    }
    seconds: dict[str, list[float]] = {name: [] for name in arms}
    tokens: dict[str, int] = {}
    for number in range(options.rounds + 1):
        for name, arm in arms.items():
            if number == 0 and name in ("one", "hooks"):
                continue  # slow, and warm after the others
            began = time.perf_counter()
            tokens[name] = arm()
            if number:
                seconds[name].append(time.perf_counter() - began)
    medians = {name: statistics.median(times) for name, times in seconds.items()}
    rate = {name: tokens[name] / medians[name] for name in arms}
    for name in arms:
        line = f"{name:10} {medians[name]:9.3f} s  {tokens[name]:7} tokens  {rate[name]:10.0f} tokens/s"
        sys.stderr.write(line + "\n")
    ratios = {
        "batch_over_one": rate["batch"] / rate["one"],
        "ceiling_bare_over_bare_one": rate["bare"] / rate["bare-one"],
        "batch_over_bare": rate["batch"] / rate["bare"],
        "batch_over_hooks": rate["batch"] / rate["hooks"],
        "pools_over_none": medians["pools"] / medians["batch"],
        "pools_over_recapture": medians["pools"] / medians["recapture"],
    }
    for name, ratio in ratios.items():
        sys.stderr.write(f"{name:28} {ratio:8.3f}\n")
    sys.stdout.write(json.dumps({"model": options.model, "rows": len(sweep.rows), **ratios}) + "\n")


if __name__ == "__main__":
    main()
