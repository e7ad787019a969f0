"""The causal grade of one feature, from numbers measured on confirm.

| grade | needs |
|---|---|
| `untested` | no rows, or fewer than 6 groups (`few_groups`) |
| `no_effect` | q > .05 |
| `effect` | q ≤ .05 |
| `beyond_controls` | p ≤ .05 in every family of controls that applies |
| `validated` | slope as E and surely not 0, monotonicity ≥ .8, side effects inside limits, placebo exact, 20 groups |

Each grade needs those above it too. `contradicted` stands aside: an effect whose sign is opposite to that of the
association. `failing` names the conditions of `validated` that are not met, in order; missing evidence is not met.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from radiograph.numerics.effects._controls import LEVEL, ControlFamily, beyond
from radiograph.numerics.effects._doses import MONOTONE, DoseResponse
from radiograph.numerics.effects._effect import FEWEST_GROUPS

CausalGrade = Literal["untested", "no_effect", "effect", "beyond_controls", "validated"]
Condition = Literal["effect", "beyond_controls", "slope", "monotone", "limits", "placebo", "groups"]
VALIDATED_GROUPS = 20


@dataclass(frozen=True)
class CausalVerdict:
    """A grade with its codes."""

    grade: CausalGrade
    contradicted: bool
    codes: tuple[str, ...]
    failing: tuple[Condition, ...]


def causal_verdict(
    *,
    groups: int,
    estimate: float,
    q: float,
    families: tuple[ControlFamily, ...] = (),
    dose: DoseResponse | None = None,
    within_limits: bool | None = None,
    placebo_exact: bool | None = None,
    association: float | None = None,
) -> CausalVerdict:
    """Grade a feature; `association` is signed, `within_limits` and `placebo_exact` are None where not measured."""
    met: dict[Condition, bool] = {
        "effect": groups >= FEWEST_GROUPS and bool(q <= LEVEL),
        "beyond_controls": beyond(families),
        # A slope against E: what the graded dose does is not what more of the feature does.
        "slope": dose is not None and dose.slopes and dose.slope * estimate > 0,
        "monotone": dose is not None and dose.monotonicity is not None and dose.monotonicity >= MONOTONE,
        "limits": within_limits is True,
        "placebo": placebo_exact is True,
        "groups": groups >= VALIDATED_GROUPS,
    }
    codes = [
        name
        for name, holds in (
            ("few_groups", 0 < groups < (VALIDATED_GROUPS if met["effect"] else FEWEST_GROUPS)),
            ("no_controls", groups > 0 and not families),
            ("few_controls", any(family.few for family in families)),
            ("side_effects", within_limits is False),
            ("not_monotone", dose is not None and dose.monotonicity is not None and not met["monotone"]),
            ("placebo_leak", placebo_exact is False),
        )
        if holds
    ]
    opposite = association is not None and bool(np.sign(association) * np.sign(estimate) < 0)
    return CausalVerdict(
        grade=_grade(groups, q, met),
        contradicted=met["effect"] and opposite,
        codes=tuple(codes),
        failing=tuple(name for name, holds in met.items() if not holds),
    )


def _grade(groups: int, q: float, met: dict[Condition, bool]) -> CausalGrade:
    if groups < FEWEST_GROUPS or np.isnan(q):
        return "untested"
    if not met["effect"]:
        return "no_effect"
    if not met["beyond_controls"]:
        return "effect"
    return "validated" if all(met.values()) else "beyond_controls"
