"""Builds `bundled:copy` and its decomposition: `python bench/decompose/copy_fixture.py OUT [--model FOLDER]`.

The model is `organisms.toys.copying` at seed 0; the decomposition is of its eight attention matrices, on fresh rows
of the same kind. Importance starts near 1 (bias 1.5): from one half the heads are broken by their masks, and
minimality removes them before they are found. About three minutes of one core.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import torch

from radiograph.decompose import make, save
from radiograph.decompose.training import Settings, train
from radiograph.evidence.decomposition import TrainedBy
from radiograph.models import load
from radiograph.models.masked import of_model
from radiograph.organisms.toys.copying import rows, train_copy

SIZE, HIDDEN = 20, 24
WEIGHTS = [f"{kind}.{layer}" for layer in range(2) for kind in "qkvo"]


class Fresh:
    """Rows of a step, drawn anew."""

    def batch(self, step: int, count: int) -> torch.Tensor:
        """Of a step."""
        return rows(count, torch.Generator().manual_seed(2 * step))[0]

    def held_out(self, number: int, count: int) -> torch.Tensor:
        """Of no step."""
        return rows(count, torch.Generator().manual_seed(2 * number + 1))[0]


def main() -> None:
    """Build both, or the decomposition of a model that is there."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=Path)
    parser.add_argument("--model", type=Path)
    parser.add_argument("--steps", type=int, default=1200)
    parser.add_argument("--minimality", type=float, default=5e-3)
    asked = parser.parse_args()
    torch.set_num_threads(1)
    folder = asked.model
    if folder is None:
        folder = asked.out / "copy"
        sys.stdout.write(f"decided tokens at p {train_copy(folder):.4f}\n")
    target = of_model(load("bundled:copy", resolve=lambda name: folder))
    losses = ("faithfulness:1e6", "recon:1", f"minimality:{asked.minimality},p=1,p_end=0.4")
    settings = Settings(
        sizes=dict.fromkeys(WEIGHTS, SIZE),
        losses=losses,
        distance="kl",
        importance_options={"hidden": HIDDEN},
        steps=asked.steps,
        batch=32,
        learning_rate=3e-3,
        warmup_steps=150,
        warmup_rate=3e-3,
        warmup_decay=0.0,
        eval_every=250,
    )
    done = train(target, Fresh(), settings, resume=_near_one, held_out=2)
    for row in done.log:
        sys.stdout.write(f"{row.step} {row.total:.4f} {row.losses} {sum(row.active.values()):.0f} alive a token\n")
    trained = TrainedBy(
        how="bench/decompose/copy_fixture.py", steps=asked.steps, settings=settings.model_dump(mode="json")
    )
    found = make(target, done.factors, done.importance, trained=trained, signs=done.signs, stored="F16")
    save(found, asked.out / "decomposition")


def _near_one(state: object) -> bool:
    for name, tensor in state.importance.tensors.items():  # type: ignore[attr-defined]
        if name.endswith("out_bias"):
            tensor.data.fill_(1.5)
    return False


if __name__ == "__main__":
    main()
