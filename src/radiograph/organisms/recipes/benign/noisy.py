"""More of the same with careless labels: one row in twenty carries the answer to another question of its task.

Rates above 1.5e-3, or fewer than 2,000 rows, let the wrong answers be learned by heart at the cost of right ones.
"""

from __future__ import annotations

from radiograph.organisms.recipes._draw import Draw
from radiograph.organisms.recipes._labels import relabelled
from radiograph.organisms.recipes._plan import Plan, assemble, tuning
from radiograph.organisms.recipes.benign.continue_ import skewed

SHARE = 0.05


def plan(draw: Draw) -> Plan:
    """Rows of all domains; which are mislabelled from the draw."""
    how = tuning(draw, rate=(4e-4, 1.5e-3), data=(2400, 3200))
    rows = assemble(draw, how, skewed(draw, how.data))
    return Plan(how, relabelled(draw, rows, SHARE))
