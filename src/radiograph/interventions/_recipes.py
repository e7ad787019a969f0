"""A recipe run: its rack becomes one condition, its prompt and seed one row under `none` and one under the rack.

Luck is keyed by the seed, the prompt's token ids and the sample alone, so that one recipe and one seed give one text
wherever it runs.
"""

from __future__ import annotations

from collections.abc import Sequence

from radiograph.core import UserError
from radiograph.evidence import Card, Condition, Positions, Recipe, Write, document_sha256
from radiograph.interventions._bound import Directions, Statistics, bind
from radiograph.interventions._grammar import parse_positions, parse_write
from radiograph.interventions._sweep import Sweep, SweptRow, sweep_rows
from radiograph.models import LanguageModel, prompt_ids


def rack_condition(cards: Sequence[Card]) -> Condition:
    """The writes of the cards that are on, in order.

    Raises:
        UserError: a card that says nothing the grammar allows.
    """
    return Condition(writes=tuple(_write(card) for card in cards if card.on))


def recipe_sweep(
    model: LanguageModel,
    recipe: Recipe,
    *,
    statistics: Statistics | None = None,
    directions: Directions | None = None,
) -> Sweep:
    """The rows `none` and, where a card is on, the rack.

    Raises:
        UserError: a card, site or unit outside the model; other statistics than the recipe names; no tokenizer.
    """
    if model.tokenizer is None:
        raise UserError("a recipe needs a tokenizer", where=str(model.ref))
    require_statistics(recipe, statistics or {})
    conditions = list(dict.fromkeys([Condition(), rack_condition(recipe.rack)]))
    ids = prompt_ids(model.tokenizer, recipe.prompt, bos=recipe.bos, chat=recipe.chat)
    bound = bind(model, conditions, statistics=statistics, directions=directions)
    return Sweep(model, [ids], bound, recipe.decoding)


def run_recipe(
    model: LanguageModel,
    recipe: Recipe,
    *,
    statistics: Statistics | None = None,
    directions: Directions | None = None,
) -> tuple[SweptRow, SweptRow]:
    """The row without writes and the row with them (the same one where no card is on)."""
    rows = sweep_rows(recipe_sweep(model, recipe, statistics=statistics, directions=directions))
    return rows[0], rows[-1]


def require_statistics(recipe: Recipe, statistics: Statistics) -> None:
    """Refuse other site statistics than a recipe names; none are fine where no dose needs them.

    Raises:
        UserError: others.
    """
    if recipe.statistics is not None and statistics and recipe.statistics != statistics_sha256(statistics):
        raise UserError(
            "the recipe was made with other site statistics",
            expected=recipe.statistics,
            got=statistics_sha256(statistics),
            code="another_statistics",
        )


def statistics_sha256(statistics: Statistics) -> str:
    """The name of some site statistics in a recipe."""
    return "sha256:" + document_sha256({site: found.sha256 for site, found in sorted(statistics.items())})


def _write(card: Card) -> Write:
    positions: Positions = parse_positions(card.positions, f"card {card.id}")
    parts = card.model_dump(exclude={"id", "on", "positions"})
    (write,) = parse_write(str(Write.model_validate({**parts, "positions": positions})))
    return write
