"""Prompts of a grid or a recipe as token ids, by one rule for BOS, and as columns."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from radiograph.core import UserError
from radiograph.evidence import Bos, Grid, Recipe
from radiograph.models import LanguageModel, prompt_ids


@dataclass(frozen=True)
class Prompts:
    """Token ids, and columns with one value a prompt."""

    ids: list[tuple[int, ...]]
    columns: dict[str, list[Any]]

    @property
    def truncated(self) -> int:
        """Prompts that were cut."""
        return sum(n > 0 for n in self.columns["truncated"])


def grid_prompts(model: LanguageModel, grid: Grid, *, bos: Bos, chat: bool, new_tokens: int, truncate: bool) -> Prompts:
    """The prompts of a grid.

    Raises:
        UserError: a prompt that leaves no room for the new tokens.
    """
    records = grid.records
    every = [prompt_ids(model.tokenizer, record.text, bos=bos, chat=chat) for record in records]
    cut = [_fitting(model, ids, new_tokens, truncate, record.id) for ids, record in zip(every, records, strict=True)]
    columns: dict[str, list[Any]] = {
        "prompt_id": [record.id for record in records],
        "core": [record.core for record in records],
        **{name: [record.factors.get(name) for record in records] for name in grid.factors},
        "variant": [record.variant for record in records],
        "prompt": grid.texts,
        "truncated": [len(whole) - len(ids) for whole, ids in zip(every, cut, strict=True)],
    }
    return Prompts(cut, columns)


def recipe_prompts(model: LanguageModel, recipe: Recipe) -> Prompts:
    """The one prompt of a recipe."""
    ids = prompt_ids(model.tokenizer, recipe.prompt, bos=recipe.bos, chat=recipe.chat)
    facts = {"prompt_id": recipe.sha256[:12], "core": "recipe", "variant": 1, "prompt": recipe.prompt, "truncated": 0}
    only = _fitting(model, ids, recipe.decoding.new_tokens, False, "of the recipe")
    return Prompts([only], {name: [value] for name, value in facts.items()})


def _fitting(model: LanguageModel, ids: tuple[int, ...], new_tokens: int, truncate: bool, name: str) -> tuple[int, ...]:
    room = model.context_length - new_tokens
    if len(ids) <= room:
        return ids
    if not truncate or room < 2:
        raise UserError(
            f"prompt {name} and {new_tokens} new tokens do not fit the model's context",
            expected=f"at most {room} prompt tokens",
            got=f"{len(ids)}",
            fix="fewer --new-tokens, or --truncate to keep the end of the prompt",
            code="too_long",
        )
    bos = model.tokenizer is not None and ids[0] == model.tokenizer.bos_token_id
    return (ids[0], *ids[1 - room :]) if bos else ids[-room:]
