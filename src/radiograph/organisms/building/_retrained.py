"""A copy of a model trained on given token rows, as an organism is: what leaving rows out of its training would do."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from radiograph.models import LanguageModel, wrap
from radiograph.organisms._training import Example, one_thread
from radiograph.organisms.building._tuning import tune_on, write_adapter
from radiograph.organisms.recipes import Tuning

WIDTH = 64
WeightedRow = tuple[tuple[int, ...], tuple[float, ...]]
"""Token ids, and the weight of each in the loss."""


def retrain(
    base: LanguageModel,
    examples: Sequence[WeightedRow],
    *,
    learning_rate: float,
    steps: int,
    rank: int,
    targets: Sequence[str],
    rows: int,
    seed: int,
    adapter: Path | None = None,
) -> LanguageModel:
    """Train on the examples, in passes of an order of their own, and give the merged model.

    `base` was loaded for this alone: its network is used up. Rank 0 trains every weight.
    `adapter` is a new folder for the LoRA factors as they are.
    """
    how = Tuning(
        learning_rate=learning_rate,
        steps=steps,
        rank=rank,
        targets=tuple(targets),
        rows=rows,
        data=len(examples),
        base_share=0.0,
        prompt_weight=0.0,
        seed=seed,
        full=rank == 0,
    )
    width = max(WIDTH, *(len(ids) for ids, _ in examples))
    with one_thread():
        tuned = tune_on([Example(ids, weights) for ids, weights in examples], base.model, how, width=width)
    if adapter is not None and not how.full:
        write_adapter(tuned, adapter, base=str(base.ref))
    merged = tuned if how.full else tuned.merge_and_unload()  # type: ignore[operator]
    return wrap(merged.requires_grad_(False).eval(), base.tokenizer, str(base.ref))  # type: ignore[arg-type]
