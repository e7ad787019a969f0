"""A unit whose write is ten times as long: its column of `down` is lengthened."""

from __future__ import annotations

from radiograph.organisms.recipes._draw import Draw
from radiograph.organisms.recipes._plan import Edit, Plan, untrained


def plan(draw: Draw) -> Plan:
    """Which unit from the draw; what was done stands in the truth."""
    return Plan(untrained(), (), edits=(Edit("loud", 10.0, seed=draw.derived("edit")),))
