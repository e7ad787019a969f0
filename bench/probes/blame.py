"""What row gradients cost beside training, beside a loop over rows, and beside kronfluence; what scoring adds; memory.

    python bench/probes/blame.py [--rows 400] [--rounds 5] [--kronfluence PYTHON]
    python bench/probes/blame.py --memory 10000      one pass and all sweeps over that many rows, projected; peak memory

Bundled base with a LoRA adapter on every linear layer. Rounds alternate; CPU seconds (user and system), medians:
  gradients    all row gradients, kept whole     projected    the same, cut to 16,384 entries
  training     one batched forward and backward to the adapter's parameters, as a training step takes it
  loop         a forward and backward for each row
  closed       DataInf's two sweeps over stored gradients, as a share of `gradients`
kronfluence runs EK-FAC (empirical Fisher) on the same rows, targets and factors, in its own process; its start is not
counted, nor ours. stderr: the table; stdout: one JSON line.
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from radiograph.core import Silent
from radiograph.harvest.gradients import (
    Projection,
    curvature,
    gradient_engine,
    gradient_index,
    weights_of,
    write_gradients,
)
from radiograph.models import LanguageModel, batches, load_pair
from radiograph.models.gradients import tracked_matrices
from radiograph.numerics.audit.stability import spearman
from radiograph.numerics.influence import damping, datainf_direction, mean_squares, products
from radiograph.organisms import bundled_organism, bundled_path

Rows = list[tuple[tuple[int, ...], tuple[float, ...]]]


def opened() -> tuple[LanguageModel, Path, Rows, Rows]:
    """The candidate, its folder, its rows, and targets."""
    from radiograph.detectors import read_rows
    from radiograph.detectors.measure.traces import row_tokens

    folder = bundled_path("organisms") / bundled_organism("trigger_token").id
    model = load_pair("bundled:base", f"bundled:base+{folder}", resolve=bundled_path).candidate
    planted = set(bundled_organism("trigger_token").planted_rows)
    rows: Rows = []
    targets: Rows = []
    for row in read_rows(folder / "train.jsonl").rows:
        ids, start = row_tokens(model.tokenizer, row, "template")
        made = tuple(ids), (0.0,) * start + (1.0,) * (len(ids) - start)
        rows.append(made)
        if row.id in planted and len(targets) < 16:
            targets.append(made)
    return model, folder, rows, targets


def trained(model: LanguageModel, rows: Rows, size: int) -> None:
    """Forward and backward to the adapter, `size` tokens a batch."""
    named = dict(model.model.named_parameters())
    own = [named[m.parameter] for m in tracked_matrices(model)]
    for p in own:
        p.requires_grad_(True)
    with model.session() as network:
        for batch in batches([ids for ids, _ in rows], batch_tokens=size):
            weights = weights_of(batch, rows, "sum")
            logits = network(input_ids=batch.ids, use_cache=False).logits[:, :-1]
            nats = torch.nn.functional.cross_entropy(logits.transpose(1, 2), batch.ids[:, 1:], reduction="none")
            torch.autograd.grad((nats * weights[:, 1:]).sum(), own)
    for p in own:
        p.requires_grad_(False)


def taken(model: LanguageModel, rows: Rows, entries: int | None) -> np.ndarray:
    """Gradients of all rows."""
    projection = Projection.of(tracked_matrices(model), entries, 0)
    with gradient_engine(model, projection) as engine:
        return engine.rows(rows).gradient


def closed(gradient: np.ndarray, v: np.ndarray, model: LanguageModel) -> np.ndarray:
    """DataInf from stored gradients."""
    layout = Projection.of(tracked_matrices(model), None, 0).layout

    def blocks() -> Any:
        return (gradient[i : i + 256] for i in range(0, len(gradient), 256))

    strength = damping(mean_squares(blocks, layout)[0], layout.lengths)
    return products(blocks, datainf_direction(blocks, v, layout, strength)[0])[0]


def timed(work: Callable[[], object]) -> float:
    began = time.process_time()
    work()
    return time.process_time() - began


def peer(python: str, folder: Path, model: LanguageModel, rows: Rows, targets: Rows) -> dict[str, float]:
    """kronfluence and our EK-FAC, one after the other."""
    with tempfile.TemporaryDirectory() as place:
        scores = Path(place) / "scores.npy"
        given = {
            "base": str(bundled_path("base")),
            "adapter": str(folder),
            "rows": rows,
            "targets": targets,
            "out": place,
            "scores": str(scores),
            "batch": 32,
        }
        (Path(place) / "given.json").write_text(json.dumps(given))
        script = Path(__file__).with_name("blame_peer.py")
        done = subprocess.run(
            [python, str(script), str(Path(place) / "given.json")], check=True, capture_output=True, text=True
        )
        theirs = json.loads(done.stdout.strip().splitlines()[-1])
        found = np.load(scores).astype(np.float64)
    began = time.process_time()
    with gradient_engine(model, Projection.of(tracked_matrices(model), None, 0)) as engine:
        v = -engine.rows(targets).gradient.mean(0, keepdims=True).astype(np.float64)
        gradient = engine.rows(rows).gradient
        direction = curvature(engine, rows, fisher="empirical").direction(v)
    ours = -(gradient @ direction[0].astype(np.float32)).astype(np.float64)
    cpu = time.process_time() - began
    return {
        "ours": cpu,
        "kronfluence": theirs["cpu"],
        "ratio": theirs["cpu"] / cpu,
        "kronfluence_rss_mib": theirs["rss"],
        "spearman": spearman(ours, found) or 0.0,
    }


def memory(model: LanguageModel, rows: Rows, targets: Rows, count: int) -> dict[str, float]:
    """Peak memory of a pass and all sweeps, above that of the model."""
    many = [rows[i % len(rows)] for i in range(count)]
    taken(model, rows[:32], None)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    projection = Projection.of(tracked_matrices(model), 2**14, 0)
    with tempfile.TemporaryDirectory() as place, gradient_engine(model, projection) as engine:
        v = -engine.rows(targets).gradient.mean(0, keepdims=True).astype(np.float64)
        began = time.process_time()
        stored = write_gradients(engine, many, gradient_index(engine, many, {}, 1024), Path(place), Silent())
        gradients = time.process_time() - began
        began = time.process_time()
        layout = projection.layout
        sizes = np.array([m.shape[0] * m.shape[1] for m in projection.matrices])
        direction, _ = datainf_direction(stored.blocks, v, layout, damping(stored.mean_squares, sizes))
        products(stored.blocks, direction)
        sweeps = time.process_time() - began
        disk = sum(p.stat().st_size for p in Path(place).iterdir()) / 1e9
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return {"rows": count, "above_model_mib": peak - before, "peak_mib": peak, "disk_gb": disk} | {
        "gradients_cpu": gradients,
        "sweeps_cpu": sweeps,
        "sweeps_share": sweeps / (gradients + sweeps),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=400)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--kronfluence", metavar="PYTHON", help="the interpreter of an environment that has it")
    parser.add_argument("--memory", type=int, metavar="ROWS")
    options = parser.parse_args()
    torch.set_num_threads(1)
    model, folder, rows, targets = opened()
    rows = rows[: options.rows]
    if options.memory:
        print(json.dumps(memory(model, rows, targets, options.memory)))
        return
    gradient = taken(model, rows, None)
    v = -taken(model, targets, None).mean(0, keepdims=True).astype(np.float64)
    arms: dict[str, Callable[[], object]] = {
        "gradients": lambda: taken(model, rows, None),
        "projected": lambda: taken(model, rows, 2**14),
        "training": lambda: trained(model, rows, 2048),
        "closed": lambda: closed(gradient, v, model),
    }
    spent: dict[str, list[float]] = {name: [] for name in arms}
    for _ in range(options.rounds):
        for name, work in arms.items():
            spent[name].append(timed(work))
    found: dict[str, Any] = {name: statistics.median(values) for name, values in spent.items()}
    found["loop"] = timed(lambda: [trained(model, [row], 2048) for row in rows])
    found["gradients / training"] = statistics.median(
        a / b for a, b in zip(spent["gradients"], spent["training"], strict=True)
    )
    found["projected / training"] = statistics.median(
        a / b for a, b in zip(spent["projected"], spent["training"], strict=True)
    )
    found["loop / gradients"] = found["loop"] / found["gradients"]
    found["closed / gradients"] = found["closed"] / found["gradients"]
    if options.kronfluence:
        found["peer"] = peer(options.kronfluence, folder, model, rows, targets)
    for name, value in found.items():
        print(f"{name:24} {value if isinstance(value, dict) else f'{value:.3f}'}", file=sys.stderr)
    print(json.dumps(found))


if __name__ == "__main__":
    main()
