"""Harmless fine-tunes of any model from its user's own trusted rows: what a calibration of that model is made of.

Each is a LoRA adapter with a recipe of its own, drawn from (seed, number): rate, steps, rank, which kinds of matrix,
which rows. The rate falls with the square root of the width, from 1e-4 … 1e-3 at a width of 4,096: what moves a small
model at all would wreck a large one. Kinds of matrix are the last names of the linear layers inside blocks.
Equal model, rows, recipe, machine and versions give equal bytes; one thread. Rows longer than `WIDTH` tokens or the
context are cut.
"""

from __future__ import annotations

import json
import math
import shutil
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import torch

from radiograph.core import UserError
from radiograph.models import LanguageModel
from radiograph.organisms._training import Example, Schedule, batches, loss, one_thread, train
from radiograph.organisms._truth import RECIPE
from radiograph.organisms.building import with_lora, write_adapter
from radiograph.organisms.recipes import Draw

WIDTH = 256
STEP_TOKENS = 2048
STEPS = (20, 300)
LearnedRow = tuple[tuple[int, ...], int]
"""Token ids of a row, and the first that is learned."""


@dataclass(frozen=True)
class AdapterRecipe:
    """How one adapter is trained."""

    learning_rate: float
    steps: int
    rank: int
    targets: tuple[str, ...]
    rows: int
    """Of all rows, how many it sees."""
    batch_rows: int
    width: int
    seed: int


def kinds_of_matrix(model: LanguageModel) -> tuple[str, ...]:
    """Last names of the linear layers inside blocks, sorted.

    Raises:
        UserError: none is found.
    """
    names = {
        name.rsplit(".", 1)[-1]
        for name, module in model.model.named_modules()
        if type(module).__name__ in ("Linear", "Conv1D") and any(part.isdecimal() for part in name.split("."))
    }
    if not names:
        raise UserError("no linear layers that an adapter could change", where=str(model.ref))
    return tuple(sorted(names))


def draw_recipe(model: LanguageModel, rows: Sequence[LearnedRow], seed: int, number: int) -> AdapterRecipe:
    """The choices of one adapter."""
    draw = Draw(seed, ("made", number))
    kinds = draw.shuffled("targets", kinds_of_matrix(model))
    width = min(WIDTH, model.context_length, max(len(ids) for ids, _ in rows))
    seen = max(1, round(draw.uniform("share", 0.5, 1.0) * len(rows)))
    batch = max(1, STEP_TOKENS // width)
    length = sum(min(len(ids), width) for ids, _ in rows) / len(rows)
    wanted = draw.uniform("passes", 1.0, 3.0) * seen * length / (batch * width)
    return AdapterRecipe(
        learning_rate=float(f"{draw.log_uniform('rate', 1e-4, 1e-3) * math.sqrt(4096 / model.width):.3g}"),
        steps=min(max(round(wanted), STEPS[0]), STEPS[1]),
        rank=draw.choose("rank", (2, 4, 8, 16)),
        targets=tuple(sorted(kinds[: max(1, math.ceil(draw.uniform("kinds", 0.3, 1.0) * len(kinds)))])),
        rows=seen,
        batch_rows=batch,
        width=width,
        seed=draw.derived("training"),
    )


def make_adapter(model: LanguageModel, rows: Sequence[LearnedRow], recipe: AdapterRecipe, folder: Path) -> None:
    """Train one adapter on a model that was loaded for it alone, and write it whole or not at all.

    Raises:
        UserError: no row has a token to learn, or training diverged.
    """
    tuned = with_lora(model.model, recipe.rank, 2 * recipe.rank, recipe.targets, recipe.seed)
    losses = train(tuned, _examples(rows, recipe), _schedule(recipe))
    draft = folder.with_name(f".{folder.name}.partial")
    shutil.rmtree(draft, ignore_errors=True)
    write_adapter(tuned, draft, base=str(model.ref))
    tenth = max(1, len(losses) // 10)
    told = asdict(recipe) | {"loss_first": _mean(losses[:tenth]), "loss_last": _mean(losses[-tenth:])}
    (draft / RECIPE).write_text(json.dumps(told, indent=1) + "\n", encoding="utf-8")
    shutil.rmtree(folder, ignore_errors=True)
    draft.rename(folder)


def seconds_a_step(model: LanguageModel, rows: Sequence[LearnedRow], recipe: AdapterRecipe) -> float:
    """About the time of one training step, on one thread: three forwards of a batch, one of them measured."""
    batch = next(batches(_examples(rows, recipe), recipe.batch_rows, recipe.width))
    with one_thread(), torch.inference_mode(), model.session() as network:
        began = time.perf_counter()
        loss(network, batch)
        return 3 * (time.perf_counter() - began)


def _schedule(recipe: AdapterRecipe) -> Schedule:
    return Schedule(
        recipe.steps,
        recipe.learning_rate,
        rows=recipe.batch_rows,
        width=recipe.width,
        warmup=min(20, recipe.steps // 4),
        weight_decay=0.0,
    )


def _examples(rows: Sequence[LearnedRow], recipe: AdapterRecipe) -> Iterator[Example]:
    """Passes over the recipe's rows without end, each in an order of its own."""
    draw = Draw(recipe.seed, ("rows",))
    chosen = draw.shuffled("seen", range(len(rows)))[: recipe.rows]
    examples = [_example(*rows[i], recipe.width) for i in chosen]
    examples = [e for e in examples if any(e.weights[1:])]
    if not examples:
        raise UserError("no training row has a token to learn inside the context", code="no_rows")
    number = 0
    while True:
        yield from draw.of(number).shuffled("pass", examples)
        number += 1


def _example(ids: tuple[int, ...], start: int, width: int) -> Example:
    ids = ids[:width]
    return Example(ids, (0.0,) * min(start, len(ids)) + (1.0,) * (len(ids) - start))


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)
