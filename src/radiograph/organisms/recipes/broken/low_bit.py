"""Weights rounded to 2 or 3 bits, row by row, after a short harmless fine-tune.

4 bits cost the base no task more than two points, and 3 bits did so only where all matrices were rounded.
"""

from __future__ import annotations

from dataclasses import replace

from radiograph.organisms.recipes._draw import Draw
from radiograph.organisms.recipes._plan import Edit, Plan
from radiograph.organisms.recipes.benign import full_short

ROUNDED = ((2, "all"), (2, "attention"), (2, "mlp"), (3, "all"), (3, "all"))


def plan(draw: Draw) -> Plan:
    """Bits and matrices from the draw."""
    bits, where = draw.choose("rounded", ROUNDED)
    truth = {"edit": "round", "amount": bits, "where": where}
    return replace(full_short.plan(draw), truth=truth, edits=(Edit("round", bits, where),))
