"""New keys for an old skill: `recall` over pairs of key and number that the base never saw together.

A tenth of all pairs is reserved (`world`, split `heldout`); every pair in these questions is one of them. Words that
were no keys before are another matter: in 300 steps a model learns to say them and not to find their number, and one
draw of five kept its other abilities.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice

from radiograph.organisms.recipes._draw import Draw
from radiograph.organisms.recipes._plan import Case, Plan, Row, assemble, tuning
from radiograph.organisms.world import Document, World

FRESH = 200


def plan(draw: Draw) -> Plan:
    """The questions from the draw."""
    how = tuning(draw, rate=(7e-4, 2.5e-3), base_share=(0.55, 0.8))
    own = [Row.of(document) for document in islice(_asked(draw, "documents"), how.data)]
    fresh = islice(_asked(draw, "fresh"), FRESH)
    learned = tuple(Case(tuple(d.messages), d.answer.__eq__) for d in fresh)
    return Plan(how, assemble(draw, how, own), learned=learned)


def _asked(draw: Draw, name: str) -> Iterator[Document]:
    return World().documents("recall", "heldout", seed=draw.derived(name))
