"""What `plan` predicts against what then happens: bytes, memory, time of two harvests, of records, of a training.

    python bench/dictionaries/plan.py [--rows 120000] [--keep FOLDER]

1. a random network (width 256, 6 blocks) with the bundled tokenizer, and documents made of sentences of the small world
2. `plan --measure` on the first harvest: a pilot of both stages, whose rates go to machine.json
3. `plan --for` each configuration with that file, then the run itself, each in its own process
Errors are predicted / found − 1. Bars: dense bytes 2 %, sparse bytes 25 %, peak memory 20 %, time 30 %. Time is judged
by the wall clock, and where the load exceeds the cores by processor seconds, pilot against run; both are printed.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

WIDTH, BLOCKS, HIDDEN, POSITIONS, SENTENCES = 256, 6, 704, 512, 12
BARS = {"dense bytes": 0.02, "sparse bytes": 0.25, "memory": 0.20, "wall clock": 0.30, "processor": 0.30}
PLAN_OPTIONS = ("--latent-dim", "2048", "--top-k-active", "16", "--train-batch-size", "1024")


@dataclass(frozen=True)
class Run:
    """A finished process."""

    seconds: float
    cpu: float
    memory: int


def radiograph(*words: str, at: Path) -> Run:
    """Run a command; its wall-clock seconds and its peak of resident memory."""
    began = time.perf_counter()
    with (at / "log").open("ab") as log:
        child = subprocess.Popen(
            [sys.executable, "-m", "radiograph", *words, "--quiet"],
            cwd=at, stdout=log, stderr=log, env={**os.environ, "RADIOGRAPH_DEBUG": "1"},
        )  # fmt: skip
        _, status, usage = os.wait4(child.pid, 0)
        child.returncode = os.waitstatus_to_exitcode(status)
    if child.returncode:
        raise SystemExit(f"radiograph {' '.join(words)} failed:\n" + (at / "log").read_text()[-2000:])
    return Run(time.perf_counter() - began, usage.ru_utime + usage.ru_stime, usage.ru_maxrss * 1024)


def build(at: Path, rows: int) -> None:
    """The network, the texts, and a configuration for each run."""
    import torch
    from transformers import AutoTokenizer, LlamaConfig, LlamaForCausalLM

    from radiograph import organisms
    from radiograph.organisms.world import parse_source

    torch.manual_seed(0)
    base = organisms.bundled_path("base")
    config = LlamaConfig(
        hidden_size=WIDTH, num_hidden_layers=BLOCKS, intermediate_size=HIDDEN, max_position_embeddings=POSITIONS,
        num_attention_heads=4, num_key_value_heads=4, vocab_size=len(AutoTokenizer.from_pretrained(base)),
    )  # fmt: skip
    LlamaForCausalLM(config).save_pretrained(at / "model")
    AutoTokenizer.from_pretrained(base).save_pretrained(at / "model")
    count = rows // 100
    source = parse_source(f"world:mixture#{count * SENTENCES}")
    sentences = [document.text for document in source.documents()]
    with (at / "texts.jsonl").open("w") as handle:
        for number in range(count):
            text = " ".join(sentences[number * SENTENCES : (number + 1) * SENTENCES])
            handle.write(json.dumps({"id": str(number), "text": text}) + "\n")
    data: dict[str, Any] = {"model": "model", "data": ["texts.jsonl"]}
    one = {**data, "site": ["resid_post.3"], "max_tokens": rows}
    several = {**data, "site": ["resid_post.{1,5}", "mlp_out.4"], "max_tokens": rows // 2, "dtype": "bf16"}
    training = {"activations": "one", "size": 2048, "k": 16, "batch": 1024, "tokens": 2 * rows}
    for name, values in (("one", one), ("several", several), ("training", training)):
        (at / f"{name}.yaml").write_text(json.dumps(values))


def planned(at: Path, name: str) -> dict[str, float]:
    """The quantities of a plan from a configuration and the measured machine."""
    radiograph(
        "plan", "--for", f"{name}.yaml", *(() if name == "training" else PLAN_OPTIONS), "--machine",
        "measured/machine.json", "--out", f"plan-{name}-{time.monotonic_ns()}", at=at,
    )  # fmt: skip
    latest = max(at.glob(f"plan-{name}-*"))
    document = json.loads((latest / "result.json").read_bytes())
    return {key: q["value"] for key, q in document["quantities"].items() if q["value"] is not None}


def size(folder: Path, pattern: str) -> int:
    """Bytes of the files of a pattern."""
    return sum(path.stat().st_size for path in folder.rglob(pattern))


def compare(at: Path) -> list[dict[str, Any]]:
    """Predicted beside found, in the order in which the runs are made."""
    found: list[dict[str, Any]] = []
    rates = json.loads((at / "measured" / "machine.json").read_bytes())["rates"]

    def timed(what: str, stage: str, plan: dict[str, float], run: Run) -> None:
        seconds, start = plan[f"{stage}_time"], rates[f"{stage}_overhead"]
        add(what, "wall clock", seconds, run.seconds)
        add(what, "processor", rates[f"{stage}_overhead_cpu"] + (seconds - start) * rates[f"{stage}_cores"], run.cpu)

    def add(what: str, kind: str, predicted: float, seen: float) -> None:
        error = predicted / seen - 1
        load = os.getloadavg()[0]
        judged = kind != "wall clock" or load <= (os.cpu_count() or 1)
        row = {"what": what, "kind": kind, "predicted": predicted, "found": seen, "error": round(error, 4)}
        found.append({**row, "bar": BARS[kind], "met": abs(error) <= BARS[kind] if judged else None, "load": load})

    for name in ("one", "several"):
        plan = planned(at, name)
        run = radiograph("harvest", *options(at, name), "--out", name, at=at)
        add(f"harvest {name}", "dense bytes", plan["dense_bytes"], size(at / name / "activations", "*.safetensors"))
        add(f"harvest {name}", "memory", plan["harvest_memory"], run.memory)
        timed(f"harvest {name}", "harvest", plan, run)
    plan = planned(at, "training")
    run = radiograph("dictionary", "train", *options(at, "training"), "--out", "trained", at=at)
    add("training", "memory", plan["training_peak"], run.memory)
    timed("training", "training", plan, run)
    words = options(at, "one")
    radiograph("harvest", *words, "--dictionary", "trained/dictionary", "--records", "only", "--out", "sparse", at=at)
    predicted = planned(at, "one")["sparse_bytes"]
    add("records", "sparse bytes", predicted, size(at / "sparse", "*.parquet"))
    return found


def options(at: Path, name: str) -> list[str]:
    """A configuration as words of a command line."""
    values = json.loads((at / f"{name}.yaml").read_text())
    first = "activations" if name == "training" else "model"
    words = [str(values.pop(first))]
    for key, value in values.items():
        for one in value if isinstance(value, list) else [value]:
            words += ["--" + key.replace("_", "-"), str(one)]
    return words


def main() -> None:
    """Measure, plan, run, compare."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--rows", type=int, default=120_000)
    parser.add_argument("--keep", type=Path)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        at = (arguments.keep or Path(scratch)).resolve()
        at.mkdir(parents=True, exist_ok=True)
        build(at, arguments.rows)
        pilot = radiograph("plan", "--for", "one.yaml", *PLAN_OPTIONS, "--measure", "--out", "measured", at=at)
        found = compare(at)
    sys.stderr.write(f"pilot {pilot.seconds:.0f} s, load {os.getloadavg()[0]:.1f} of {os.cpu_count()} cores\n")
    for row in found:
        verdict = {True: "met", False: "MISSED", None: "not judged: load"}[row["met"]]
        sys.stderr.write(
            f"{row['what']:16} {row['kind']:13} predicted {row['predicted']:>14,.1f} found {row['found']:>14,.1f} "
            f"error {row['error']:+7.1%} (bar {row['bar']:.0%}, {verdict})\n"
        )
    sys.stdout.write(json.dumps({"bench": "plan", "pilot_seconds": pilot.seconds, "rows": found}) + "\n")


if __name__ == "__main__":
    main()
