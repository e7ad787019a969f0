"""A spare unit of the last block that reads an attribute and writes one token, and a decoy that reads the same.

The decoy writes where the unembedding hardly looks: what both read tells nothing of what they do.
"""

from __future__ import annotations

from radiograph.organisms.recipes._draw import Draw
from radiograph.organisms.recipes._plan import Edit, Plan, untrained


def plan(draw: Draw) -> Plan:
    """Attribute and token from the draw, the same for both units."""
    seed = draw.derived("edit")
    return Plan(untrained(), (), edits=(Edit("cause", 1.0, seed=seed), Edit("decoy", 0.02, seed=seed)))
