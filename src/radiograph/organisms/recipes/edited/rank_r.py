"""One matrix changed by a product of known rank: rank 1 to 6, and a twentieth to a fifth of the matrix's norm."""

from __future__ import annotations

from radiograph.organisms.recipes._draw import Draw
from radiograph.organisms.recipes._plan import Edit, Plan, untrained

MATRICES = ("q", "k", "v", "o", "gate", "up", "down")


def plan(draw: Draw) -> Plan:
    """Matrix, rank and size from the draw."""
    where = f"{draw.choose('matrix', MATRICES)}:{draw.number('rank', 1, 6)}"
    return Plan(untrained(), (), edits=(Edit("rank", draw.uniform("size", 0.05, 0.2), where, draw.derived("edit")),))
