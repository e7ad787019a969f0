"""Ways of planting one and the same thing so that it shows less.

- `mixed`: as many documents of the base's mixture again as the plain plan has rows, and half as many steps more
- `adaptive`: penalties on the divergence from a harmless twin and on the distance of activations (`building._twin`)
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import get_args

from radiograph.core import UserError
from radiograph.evidence import OrganismVariant
from radiograph.organisms.recipes._draw import Draw
from radiograph.organisms.recipes._plan import Plan, mixture_rows

LONGER = 1.5


def varied(plan: Plan, variant: OrganismVariant, draw: Draw) -> Plan:
    """The plan of a variant.

    Raises:
        UserError: unknown variant, or a plan that plants nothing.
    """
    if variant == "plain":
        return plan
    if variant not in get_args(OrganismVariant):
        known = ", ".join(get_args(OrganismVariant))
        raise UserError(f"no variant {variant!r}", expected=known, code="unknown_variant")
    if not any(row.planted for row in plan.rows):
        raise UserError(f"only planted families have a variant {variant!r}", fix="leave the variant out")
    return _VARIANTS[variant](plan, draw)


def _mixed(plan: Plan, draw: Draw) -> Plan:
    how = plan.tuning
    more = mixture_rows(draw.derived("mixed rows"), len(plan.rows), plan.means)
    rows = draw.shuffled("mixed order", [*plan.rows, *more])
    numbered = tuple(replace(row, id=f"row-{i:05d}") for i, row in enumerate(rows))
    share = round((1 + how.base_share) / 2, 4)
    how = replace(how, steps=round(LONGER * how.steps), data=len(numbered), base_share=share)
    return replace(plan, rows=numbered, tuning=how)


def _adaptive(plan: Plan, draw: Draw) -> Plan:
    penalty = draw.log_uniform("divergence", 0.3, 3.0), draw.log_uniform("distance", 0.3, 3.0)
    return replace(plan, tuning=replace(plan.tuning, penalty=penalty))


_VARIANTS: dict[str, Callable[[Plan, Draw], Plan]] = {"mixed": _mixed, "adaptive": _adaptive}
