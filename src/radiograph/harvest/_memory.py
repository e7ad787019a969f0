"""Activations of a model on texts, held in memory, with the interface that shards on disk have.

The same plan and the same capture as a harvest onto disk, as one shard. For what fits in RAM: rows × Σ widths × bytes
of the model's own type.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import torch
from torch import Tensor

from radiograph.core import REFERENCE, Progress, Silent, Site, UserError
from radiograph.core.shapes import Int
from radiograph.harvest._capture import Engine, expand_sources
from radiograph.harvest._plan import Limits, Plan, Split, Window, plan
from radiograph.harvest._run import index_of, spec_of
from radiograph.harvest._sources import Text
from radiograph.harvest._spec import Recipe
from radiograph.harvest._tokens import Keep, Reading
from radiograph.models import LanguageModel
from radiograph.store.shards import MemoryActivations


@dataclass(frozen=True, eq=False)
class Harvested(MemoryActivations):
    """Activations in memory, and the windows of tokens that they came from."""

    plan: Plan

    @cached_property
    def windows(self) -> tuple[Window, ...]:
        """Tokens, kept marks and split of every window; `owners` points into it."""
        return tuple(self.plan.window(number) for number in range(len(self.plan)))

    def of(self, split: Split) -> Int[Tensor, " row"]:
        """Numbers of the rows of a split, ascending."""
        return torch.from_numpy(self.shard_rows(0, split))


def harvest(
    model: LanguageModel,
    texts: Iterable[Text],
    sites: Sequence[str | Site],
    *,
    length: int = 512,
    keep: Keep = "content",
    validation: float = 0.1,
    salt: int = 0,
    seed: int = 0,
    batch_tokens: int = 8192,
    max_rows: int | None = None,
    progress: Progress | None = None,
) -> Harvested:
    """Rows of `sites` on all texts, or on the documents with at most `max_rows` rows that a hash with `seed` draws.

    `keep="all"` keeps BOS too. Rows keep the order of the texts.

    Raises:
        UserError: the model has no tokenizer or not that site; no token to keep; a value that is not finite.
    """
    models = {REFERENCE: model}
    recipe = Recipe(expand_sources(models, sites), batch_tokens=batch_tokens)
    if not recipe.sources:
        raise UserError("no site to read", expected="at least one site")
    engine = Engine(models, recipe)
    reading = Reading(min(length, model.context_length), rows=keep, bos="keep" if keep == "all" else "skip")
    limits = Limits(max_tokens=max_rows, seed=seed, validation=validation, salt=salt)
    progress = progress or Silent()
    made = plan(model.tokenizer, texts, reading, limits, vocabulary=model.vocab_size)
    with progress.task("harvest", made.counted.kept) as task:
        found = engine.capture(made, 0, len(made), task)
    spec = spec_of(engine, made, limits, shards=Path())
    index = index_of(engine, spec, {REFERENCE: str(model.ref)}, {})
    return Harvested(
        given=index.model_copy(update={"shards": 1}),
        prompts=made.prompts,
        values=found.rows,
        tokens=torch.from_numpy(found.token.astype("int64")),
        owners=torch.from_numpy(found.prompt.astype("int64")),
        positions=torch.from_numpy(found.position.astype("int64")),
        plan=made,
    )
