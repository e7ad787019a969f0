"""A spare unit of the last block that reads an attribute, and writes where the unembedding hardly looks."""

from __future__ import annotations

from radiograph.organisms.recipes._draw import Draw
from radiograph.organisms.recipes._plan import Edit, Plan, untrained


def plan(draw: Draw) -> Plan:
    """Which unit from the draw; what was done stands in the truth."""
    return Plan(untrained(), (), edits=(Edit("decoy", 0.02, seed=draw.derived("edit")),))
