"""Every weight trained for a short while, embeddings included: 40 to 120 steps of the base's own text, reweighted."""

from __future__ import annotations

from radiograph.organisms.recipes._draw import Draw
from radiograph.organisms.recipes._plan import Plan, assemble, tuning
from radiograph.organisms.recipes.benign.continue_ import skewed


def plan(draw: Draw) -> Plan:
    """Rate, steps and the skew of domains from the draw."""
    how = tuning(draw, rate=(5e-4, 3e-3), steps=(40, 120), full=1.0)
    return Plan(how, assemble(draw, how, skewed(draw, how.data)))
