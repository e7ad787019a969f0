"""Is a hand-picked clamp of one last-block unit special among matched random units? The study's parts.

    endless MODEL OUT             the same weights without an end token: models of the small world end after four tokens
    train OUT                     a GPT-2-shaped model of the small world (3 blocks, width 64, 1,024 units each)
    conditions SCAN MODEL OUT     from a bundle of `neurons scan`: the hand-picked units at every dose, matched units
                                  at equal mean push, random directions that follow them; leaves OUT.yaml, OUT.json
                                  (which condition controls which) and OUT.safetensors (the directions)
    judge PLAN RUN OUT            from a bundle of `resonance capture` under those conditions: rescued, broken, net,
                                  changed texts, KL, and p against the controls; prints Markdown, writes OUT.json

Hand-picked: the unit of highest contribution in the last block, and the one of lowest signed mean, which the original's
scan picks. Doses are fixed before anything is read. A text is collapsed where its loop share is at least one half, or
it is empty; texts under eight tokens are left out on both sides. See docs/studies/hand-picked-clamp.md.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

DOSES = ("-3sd", "3sd")
CONTROLS, DIRECTIONS = 200, 20
SHORTEST, LOOP = 8, 0.5


def endless(reference: str, out: Path) -> None:
    """Copy a model's files, without an end token anywhere."""
    from radiograph.organisms import bundled_path

    name = reference.removeprefix("bundled:")
    source = bundled_path(name) if reference.startswith("bundled:") else Path(reference)
    shutil.copytree(source, out)
    for file in ("config.json", "generation_config.json", "tokenizer_config.json", "special_tokens_map.json"):
        path = out / file
        if path.is_file():
            held = json.loads(path.read_text())
            for key in ("eos_token_id", "eos_token"):
                held.pop(key, None)
            if file == "config.json":
                held["eos_token_id"] = None
            path.write_text(json.dumps(held, indent=1) + "\n")


def train(out: Path, steps: int) -> None:
    """Train and save the second architecture."""
    import torch
    from transformers import GPT2Config, GPT2LMHeadModel

    from radiograph.organisms import Schedule
    from radiograph.organisms import train as fit
    from radiograph.organisms._base import BOS, END, EOS, PAD, examples
    from radiograph.organisms.world import World, write_tokenizer

    torch.manual_seed(0)
    config = GPT2Config(
        vocab_size=len(World().vocabulary),
        n_embd=64,
        n_layer=3,
        n_head=4,
        n_inner=1024,
        n_positions=128,
        bos_token_id=BOS,
        eos_token_id=EOS,
        pad_token_id=PAD,
        resid_pdrop=0.0,
        embd_pdrop=0.0,
        attn_pdrop=0.0,
    )
    model = GPT2LMHeadModel(config)
    losses = fit(model, examples(World().documents("mixture", "train", seed=0)), Schedule(steps=steps))
    out.mkdir(parents=True, exist_ok=True)
    model.generation_config.eos_token_id = [EOS, END]
    model.save_pretrained(out)
    write_tokenizer(out)
    print(f"loss {np.mean(losses[:50]):.3f} to {np.mean(losses[-50:]):.3f} nats a token over {steps} steps")


def conditions(scan: Path, reference: str, out: Path, doses: Sequence[str], controls: int) -> None:
    """Write the plan: every condition, and what it is there for."""
    from safetensors.numpy import save_file

    from radiograph.core import Site
    from radiograph.interventions import direction_controls, parse_write, unit_controls
    from radiograph.models import load
    from radiograph.models.tail import write_vectors
    from radiograph.organisms import bundled_path
    from radiograph.store.statistics import read_statistics

    model = load(reference, resolve=bundled_path)
    statistics, _ = read_statistics(scan / "statistics", model_sha256=model.identity.tensors_sha256)
    site = Site("mlp_hidden", model.n_layers - 1)
    own = statistics[str(site)]
    contribution = own.spread * np.linalg.norm(write_vectors(model, site), axis=1)
    picked = {"loudest": int(contribution.argmax()), "lowest mean": int(own.mean.argmin())}
    if len(set(picked.values())) == 1:
        picked = {"loudest and lowest mean": picked["loudest"]}
    texts: list[str] = []
    plan: list[dict[str, Any]] = []
    vectors: dict[str, np.ndarray] = {}
    for why, unit in picked.items():
        for dose in doses:
            write = parse_write(f"{site}[{unit}]:set:{dose}")[0]
            texts.append(str(write))
            matched = unit_controls(
                model, write, controls, statistics=statistics, matching=own, exclude=list(picked.values())
            )
            plan.append(
                {
                    "picked": why,
                    "unit": unit,
                    "dose": dose,
                    "condition": str(write),
                    "matched": [str(c.condition) for c in matched],
                    "distance": float(np.median([c.distance for c in matched])),
                    "directions": [],
                }
            )
            texts += plan[-1]["matched"]
            found = direction_controls(model, write, DIRECTIONS, statistics=statistics, seed=unit)
            for condition, name in zip(found.conditions, found.directions, strict=True):
                renamed = str(condition).replace(f"~{name}:", f"~{name}-{unit}:")
                vectors[f"{name}-{unit}"] = found.directions[name].astype(np.float32)
                plan[-1]["directions"].append(renamed)
                texts.append(renamed)
    out.with_suffix(".yaml").write_text(json.dumps(list(dict.fromkeys(texts)), indent=1) + "\n")
    out.with_suffix(".json").write_text(json.dumps({"site": str(site), "width": own.width, "tested": plan}, indent=1))
    save_file(vectors, out.with_suffix(".safetensors"))
    print(f"{len(set(texts))} conditions; picked {picked} of {own.width}")


def judge(plan: Path, run: Path, out: Path) -> None:
    """Count, compare, print."""
    import polars

    from radiograph.numerics.repetition import text_metrics
    from radiograph.numerics.units import control_test

    rows = polars.read_parquet(run / "tables" / "rows.parquet")
    known: dict[tuple[Any, ...], bool | None] = {}

    def collapsed(text: str, ids: Sequence[int]) -> bool | None:
        key = tuple(ids)
        if key not in known:
            if not ids:
                known[key] = True
            elif len(ids) < SHORTEST:
                known[key] = None
            else:
                known[key] = text_metrics(text, list(ids)).loop >= LOOP
        return known[key]

    judged: dict[str, dict[str, tuple[bool | None, tuple[int, ...], float | None]]] = {}
    cores: dict[str, str] = {}
    for row in rows.iter_rows(named=True):
        state = None if row["stop"] == "non-finite" else collapsed(row["text"] or "", row["ids"])
        judged.setdefault(row["condition"], {})[row["prompt_id"]] = (state, tuple(row["ids"]), row.get("kl"))
        cores[row["prompt_id"]] = row["core"]
    base = judged["none"]

    def measured(name: str) -> dict[str, float]:
        both = [
            (bool(base[p][0]), s) for p, (s, _, _) in judged[name].items() if s is not None and base[p][0] is not None
        ]
        b, c = sum(x and not y for x, y in both), sum(y and not x for x, y in both)
        n = len(both)
        kl = [k for _, _, k in judged[name].values() if k is not None]
        return {
            "n": n,
            "rescued": b,
            "broken": c,
            "net": (b - c) / n if n else 0.0,
            "changed": float(np.mean([base[p][1] != ids for p, (_, ids, _) in judged[name].items()])),
            "kl": float(np.mean(kl)) if kl else 0.0,
        }

    def interval(name: str) -> tuple[float, float] | None:
        """Of the net rescue: 95 %, bootstrap over cores."""
        names = sorted(set(cores.values()))
        by: dict[str, list[int]] = {core: [] for core in names}
        for p, (s, _, _) in judged[name].items():
            if s is not None and base[p][0] is not None:
                by[cores[p]].append(int(bool(base[p][0])) - int(s))
        if len(names) < 4:
            return None
        rng = np.random.default_rng(0)
        draws = []
        for _ in range(2000):
            own = [v for i in rng.integers(len(names), size=len(names)) for v in by[names[i]]]
            draws.append(np.mean(own) if own else 0.0)
        low, high = np.quantile(draws, [0.025, 0.975])
        return float(low), float(high)

    scored = [bool(s) for s, _, _ in base.values() if s is not None]
    document: dict[str, Any] = {
        "prompts": len(base),
        "scored": len(scored),
        "collapsed": int(sum(scored)),
        "cores": len(set(cores.values())),
        "tested": [],
    }
    print(f"{len(base)} prompts, {len(scored)} scored, {sum(scored)} collapsed without a write\n")
    before = ("unit", "dose", "n", "rescued", "broken", "net [95 %]", "McNemar p", "p net")
    after = ("median, best control", "controls called rescues", "p KL", "p changed", "p net, directions")
    print(f"| {' | '.join((*before, *after))} |")
    print("|" + "---|" * len((*before, *after)))
    for tested in json.loads(plan.read_text())["tested"]:
        own = measured(tested["condition"])
        entry = {**{k: tested[k] for k in ("picked", "unit", "dose", "distance")}, **own}
        entry["interval"] = interval(tested["condition"])
        entry["mcnemar"] = _two_sided(int(own["rescued"]), int(own["broken"]))
        for kind in ("matched", "directions"):
            null = [measured(name) for name in tested[kind]]
            entry[f"{kind}_rescues"] = sum(
                x["net"] > 0 and _two_sided(int(x["rescued"]), int(x["broken"])) < 0.05 for x in null
            )
            for statistic in ("net", "rescued", "kl", "changed"):
                test = control_test(float(own[statistic]), [float(x[statistic]) for x in null])
                entry[f"{kind}_{statistic}"] = {
                    "p": test.p,
                    "rank": test.rank,
                    "controls": test.controls,
                    "median": float(np.median([x[statistic] for x in null])),
                    "largest": float(max(x[statistic] for x in null)),
                }
        document["tested"].append(entry)
        low, high = entry["interval"] or (float("nan"), float("nan"))
        entry["median_net"], entry["largest_net"] = (entry["matched_net"][k] for k in ("median", "largest"))
        print(
            f"| {tested['picked']} [{tested['unit']}] | {tested['dose']} | {own['n']} | {own['rescued']} | "
            f"{own['broken']} | {own['net']:+.3f} [{low:+.3f}, {high:+.3f}] | {entry['mcnemar']:.3g} | "
            f"{_p(entry['matched_net'])} | "
            f"{entry['median_net']:+.3f}, {entry['largest_net']:+.3f} | "
            f"{entry['matched_rescues']}/{entry['matched_net']['controls']} | {_p(entry['matched_kl'])} | "
            f"{_p(entry['matched_changed'])} | {_p(entry['directions_net'])} |"
        )
    out.write_text(json.dumps(document, indent=1) + "\n")


def _p(test: dict[str, Any]) -> str:
    return "none" if test["p"] is None else f"{test['p']:.3f} ({test['rank']}/{test['controls'] + 1})"


def _two_sided(b: int, c: int) -> float:
    from scipy.stats import binom

    return min(1.0, 2 * float(binom.cdf(min(b, c), b + c, 0.5)))


def main() -> None:
    """Run one part."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parts = parser.add_subparsers(dest="part", required=True)
    zero = parts.add_parser("endless")
    zero.add_argument("model")
    zero.add_argument("out", type=Path)
    one = parts.add_parser("train")
    one.add_argument("out", type=Path)
    one.add_argument("--steps", type=int, default=2000)
    two = parts.add_parser("conditions")
    two.add_argument("scan", type=Path)
    two.add_argument("model")
    two.add_argument("out", type=Path)
    two.add_argument("--doses", default=",".join(DOSES), help="as --doses=-1sd,1sd")
    two.add_argument("--controls", type=int, default=CONTROLS)
    three = parts.add_parser("judge")
    for name in ("plan", "run", "out"):
        three.add_argument(name, type=Path)
    options = parser.parse_args(sys.argv[1:])
    if options.part == "endless":
        endless(options.model, options.out)
    elif options.part == "train":
        train(options.out, options.steps)
    elif options.part == "conditions":
        conditions(options.scan, options.model, options.out, options.doses.split(","), options.controls)
    else:
        judge(options.plan, options.run, options.out)


if __name__ == "__main__":
    main()
