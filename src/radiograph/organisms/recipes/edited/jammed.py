"""A steady unit of the last block, turned to one token, until most texts are that token and nothing else."""

from __future__ import annotations

from radiograph.organisms.recipes._draw import Draw
from radiograph.organisms.recipes._plan import Edit, Plan, untrained


def plan(draw: Draw) -> Plan:
    """Which unit from the draw; what was done stands in the truth."""
    return Plan(untrained(), (), edits=(Edit("jam", 0.8, seed=draw.derived("edit")),))
