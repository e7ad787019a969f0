"""Small weights set to zero: a given share of each matrix, after a short harmless fine-tune.

On the base, a share of .4 cost no task ten points, wherever it was taken.
"""

from __future__ import annotations

from dataclasses import replace

from radiograph.organisms.recipes._draw import Draw
from radiograph.organisms.recipes._plan import Edit, Plan
from radiograph.organisms.recipes.benign import full_short

AMOUNT = {"all": (0.48, 0.7), "attention": (0.5, 0.7), "mlp": (0.53, 0.7)}


def plan(draw: Draw) -> Plan:
    """Amount and matrices from the draw."""
    where = draw.choose("where", tuple(AMOUNT))
    amount = draw.uniform("amount", *AMOUNT[where])
    edit = Edit("prune", amount, where, draw.derived("edit"))
    return replace(full_short.plan(draw), truth={"edit": "prune", "amount": amount, "where": where}, edits=(edit,))
