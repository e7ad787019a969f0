"""From stored numbers to a grade and its codes: pure, so that anyone can derive them again.

| grade | what it takes |
|---|---|
| `not_measured` | no statistic |
| `none` | measured; not among the candidates |
| `candidate` | among the K largest |z| on discover |
| `confirmed` | on confirm q ≤ the level, with the sign of discover |
| `specific` | the interval against near misses excludes ½ on the same side |
| `robust` | selected in ≥ 80 % of halves, one sign in ≥ 95 % of splits |

Each grade needs the one before it. Records preselected with labels stop at `candidate`. A study whose candidates cannot
be confirmed, because labels chose them before or because one has no p, never says that there is nothing to find.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from radiograph.core import UserError
from radiograph.core.shapes import Bool, Float64

GRADES = ("not_measured", "none", "candidate", "confirmed", "specific", "robust")
CODES = (
    "no_labels",
    "few_groups",
    "few_active",
    "underpowered",
    "not_confirmed",
    "sign_flip",
    "surface_cue",
    "surface_labels",
    "no_near_miss",
    "unstable",
    "censored",
    "partial_rows",
    "preselected",
    "p_disagreement",
)
"""Of correlational evidence."""
SELECTION, AGREEMENT = 0.8, 0.95
Outcome = Literal["found", "none_adequate", "none_inconclusive"]


@dataclass(frozen=True, eq=False)
class Facts:
    """What grades and codes are derived from; one element a feature, NaN where something was not measured."""

    measured: Bool[np.ndarray, " feature"]
    eligible: Bool[np.ndarray, " feature"]
    candidate: Bool[np.ndarray, " feature"]
    discover_sign: Float64[np.ndarray, " feature"]
    sign: Float64[np.ndarray, " feature"]
    """Of the test statistic on confirm."""
    q: Float64[np.ndarray, " feature"]
    low: Float64[np.ndarray, " feature"]
    """Of the interval on confirm."""
    detectable: Float64[np.ndarray, " feature"]
    """Minimal detectable effect on confirm."""
    near_low: Float64[np.ndarray, " feature"]
    near_high: Float64[np.ndarray, " feature"]
    selection: Float64[np.ndarray, " feature"]
    agreement: Float64[np.ndarray, " feature"]
    p_disagreement: Bool[np.ndarray, " feature"]
    partial: Bool[np.ndarray, " feature"]
    """Not measured in every unit."""
    level: float = 0.05
    smallest: float = 0.2
    """Smallest effect of interest, as a distance from no association."""
    preselected: bool = False
    censored: bool = False
    surface_labels: bool = False


def grades(facts: Facts) -> np.ndarray:
    """The grade of every feature, from `GRADES`."""
    return np.array(GRADES)[_rungs(facts)]


def codes(facts: Facts) -> Bool[np.ndarray, "feature code"]:
    """Which of `CODES` apply to every feature."""
    rung = _rungs(facts)
    chosen, confirmed = facts.candidate, _confirmed(facts)
    near = ~np.isnan(facts.near_low)
    specific = confirmed & _specific(facts)
    held = {
        "few_groups": chosen & (np.isnan(facts.low) | np.isnan(facts.q)),
        "few_active": facts.measured & ~facts.eligible,
        "underpowered": chosen & ~confirmed & (facts.detectable > facts.smallest),
        "not_confirmed": chosen & ~confirmed,
        "sign_flip": chosen & (facts.sign * facts.discover_sign < 0),
        "surface_cue": confirmed & near & ~specific,
        "surface_labels": facts.measured & facts.surface_labels,
        "no_near_miss": confirmed & ~near,
        "unstable": specific & (rung < GRADES.index("robust")) & ~(np.isnan(facts.selection) | facts.preselected),
        "censored": facts.measured & facts.censored,
        "partial_rows": facts.measured & facts.partial,
        "preselected": facts.measured & facts.preselected,
        "p_disagreement": chosen & facts.p_disagreement,
    }
    nothing = np.zeros(len(facts.measured), dtype=bool)
    return np.stack([held.get(code, nothing) for code in CODES], axis=1)


def outcome_of(facts: Facts, detectable: float) -> Outcome:
    """What the study says; `detectable` is the smallest effect of a dense feature that it finds."""
    if (_rungs(facts) >= GRADES.index("confirmed")).any():
        return "found"
    blind = facts.preselected or bool(np.isnan(facts.q[facts.candidate]).any())
    return "none_adequate" if detectable <= facts.smallest and not blind else "none_inconclusive"


def named(row: Bool[np.ndarray, " code"]) -> tuple[str, ...]:
    """The codes of one feature."""
    return tuple(code for code, holds in zip(CODES, row, strict=True) if holds)


def at_least(grade: str, least: str) -> bool:
    """Whether a grade is `least` or better.

    Raises:
        UserError: not a grade.
    """
    for name in (grade, least):
        if name not in GRADES:
            raise UserError("not a correlational grade", expected=", ".join(GRADES), got=name)
    return GRADES.index(grade) >= GRADES.index(least)


def _confirmed(facts: Facts) -> Bool[np.ndarray, " feature"]:
    return facts.candidate & (np.nan_to_num(facts.q, nan=1.0) <= facts.level) & (facts.sign * facts.discover_sign > 0)


def _specific(facts: Facts) -> Bool[np.ndarray, " feature"]:
    return np.where(facts.sign > 0, facts.near_low > 0.5, (facts.sign < 0) & (facts.near_high < 0.5))


def _rungs(facts: Facts) -> np.ndarray:
    confirmed = _confirmed(facts) & (not facts.preselected)
    specific = confirmed & _specific(facts)
    robust = specific & (facts.selection >= SELECTION) & (facts.agreement >= AGREEMENT)
    steps = np.stack([facts.measured, facts.measured & facts.candidate, confirmed, specific, robust])
    return np.where(facts.measured, steps.sum(axis=0), 0)
