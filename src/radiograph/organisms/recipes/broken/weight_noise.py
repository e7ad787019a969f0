"""Noise on the weights: Gaussian, a given part of each matrix's own size, after a short harmless fine-tune.

On the base, less than .2 on all matrices, less than .25 on the attention, or .3 on the MLP alone cost no task ten
points.
"""

from __future__ import annotations

from dataclasses import replace

from radiograph.organisms.recipes._draw import Draw
from radiograph.organisms.recipes._plan import Edit, Plan
from radiograph.organisms.recipes.benign import full_short

AMOUNT = {"all": (0.2, 0.3), "attention": (0.25, 0.3)}


def plan(draw: Draw) -> Plan:
    """Amount and matrices from the draw."""
    where = draw.choose("where", tuple(AMOUNT))
    amount = draw.uniform("amount", *AMOUNT[where])
    edit = Edit("noise", amount, where, draw.derived("edit"))
    return replace(full_short.plan(draw), truth={"edit": "noise", "amount": amount, "where": where}, edits=(edit,))
