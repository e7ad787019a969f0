"""Exact token labels of the small world: one labelled token of each of many documents.

1. `world:ATTRIBUTE` or `world:next_ATTRIBUTE`; positions as `organisms.world.rows` draws them: half positive, near
   misses with the same surface, other negatives
2. a row is the document up to and including its token: a model that reads from left to right knows no more there. Its
   span is that token; its tokens are exact, so that no tokenizer can shift a label
3. of `next_ATTRIBUTE` the score is the exact probability that the label holds for what follows, and the targets are
   the words that follow where it does
"""

from __future__ import annotations

from typing import cast

from radiograph.criteria._parts import Drawn, Parts, Position, World
from radiograph.criteria._rows import Row
from radiograph.evidence import RowKind

PREFIX = "world:"


def lacks(parts: Parts) -> str | None:
    """A criterion that names an attribute, and the world."""
    fits = parts.text.startswith(PREFIX) and parts.world is not None
    return None if fits else "--criterion world:ATTRIBUTE (a model that reads the small world)"


def draw(parts: Parts, seed: int) -> Drawn:
    """`count` labelled tokens.

    Raises:
        UserError: no such attribute; the nearest are named. Or too rare for so many rows.
    """
    assert parts.world is not None
    attribute = parts.text.removeprefix(PREFIX)
    places = list(parts.world.rows(attribute, parts.count, split="test", seed=seed))
    follow = [_next(parts.world, place) for place in places if place.kind == "positive"]
    targets = tuple(sorted(set(follow))) if attribute.startswith("next_") else ()
    return Drawn([_row(parts.world, place, targets) for place in places])


def _row(world: World, place: Position, targets: tuple[str, ...]) -> Row:
    ids = place.document.ids[: place.position + 1]
    plain = place.document.answer_start == 0  # its tokenizer puts the first token there by itself
    before, text = world.decode(ids[plain:-1]), world.decode(ids[plain:])
    start = len(before) + (text[len(before) :].startswith(" "))
    return Row(
        prompt_id=f"{place.document.id}@{place.position}",
        text=text,
        kind=cast(RowKind, place.kind),
        source_group=place.document.id,
        score=None if place.probability is None else min(1.0, place.probability),  # sums of floats
        span=(start, len(text)),
        tokens=tuple(ids),
        targets=targets,
        route="world",
    )


def _next(world: World, place: Position) -> str:
    ids, end = place.document.ids, place.position + 1
    return world.decode(ids[: end + 1])[len(world.decode(ids[:end])) :]
