"""A very small adapter: rank 1 to 3 on two or four matrices a layer, more of the base's own text."""

from __future__ import annotations

from radiograph.organisms.recipes._draw import Draw
from radiograph.organisms.recipes._plan import TARGETS, Plan, assemble, tuning
from radiograph.organisms.recipes.benign.continue_ import skewed


def plan(draw: Draw) -> Plan:
    """Rank, targets and the skew of domains from the draw."""
    how = tuning(draw, rate=(1e-3, 5e-3), steps=(80, 250), targets=TARGETS[:4], ranks=(1, 2, 3), full=0.0)
    return Plan(how, assemble(draw, how, skewed(draw, how.data)))
