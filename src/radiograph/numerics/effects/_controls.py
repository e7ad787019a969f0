"""Is the effect more than that of pushing elsewhere just as hard?

1. Placebo: dose 0 changes nothing, to the last bit; else the splice itself leaks and nothing is measured.
2. Randomisation p of each family of controls = (1 + #{|c| ≥ |E|})/(1 + n) (Phipson and Smyth 2010). Under 19 controls
   no p below .05 can be reached: none is given, and the band is null (`few_controls`). A control that was not measured
   wherever the effect was is compared with the effect where both were.
3. `beyond_controls`: p ≤ .05 in every family that applies.
4. Strong causal score = max(0, |E|_lo − max(C, D)). |E|_lo: the bound of E's interval nearest 0, 0 if it contains 0.
   C: the ⌈.95(n + 1)⌉-th smallest |c| of the worst family. D: mean |Δ outcome| on near misses and negatives. In units
   of the outcome, not clamped above; null without controls. E .31 [.18, .44], 19 controls with largest .12, D .04: .06.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from radiograph.core import Refusal
from radiograph.core.shapes import Float
from radiograph.numerics._finite import finite
from radiograph.numerics.proportions import Interval
from radiograph.numerics.units import FEWEST

LEVEL = 0.05


@dataclass(frozen=True)
class ControlFamily:
    """One kind of control against one effect."""

    name: str
    n: int
    p: float | None
    """None under 19 controls."""
    band: float | None
    """What 95 % of such controls stay below, |c|; None under 19."""
    largest: float | None

    @property
    def few(self) -> bool:
        return self.n < FEWEST


def control_families(
    effect: float,
    controls: Mapping[str, Float[np.ndarray, " control"]],
    beside: Mapping[str, Float[np.ndarray, " control"]] | None = None,
) -> tuple[ControlFamily, ...]:
    """The families that apply, sorted by name; each control is an E of its own, measured as the tested one was.

    Args:
        effect: E.
        controls: of each family; a family without any counts as too small.
        beside: E where each control was measured; by default E.

    Raises:
        UserError: an effect that is not finite.
    """
    own = {name: np.full(len(values), float(effect)) for name, values in controls.items()} | dict(beside or {})
    return tuple(_family(name, own[name], controls[name]) for name in sorted(controls))


def beyond(families: tuple[ControlFamily, ...]) -> bool:
    """P ≤ .05 in every family, and there is one."""
    return bool(families) and all(family.p is not None and family.p <= LEVEL for family in families)


def check_placebo(change: Float[np.ndarray, " row"]) -> None:
    """Outcomes at dose 0 less the baseline.

    Raises:
        Refusal: one of them is not exactly 0 (`placebo_leak`).
    """
    moved = np.flatnonzero(change != 0)
    if len(moved):
        raise Refusal(
            "placebo_leak",
            "dose 0 changes the outcome: the splice itself leaks",
            expected="exactly 0 in every row",
            got=f"{change[moved[0]]} in row {moved[0]}, and {len(moved) - 1} more",
            fix="check site and dictionary; a reconstruction error must be kept",
        )


def nearest_bound(interval: Interval) -> float:
    """The bound of |E| nearest 0; 0 if the interval contains 0."""
    return 0.0 if interval.low <= 0 <= interval.high else min(abs(interval.low), abs(interval.high))


def strong_causal_score(
    interval: Interval | None, families: tuple[ControlFamily, ...], drift: float | None
) -> float | None:
    """None without an interval, a family, a drift, or with a family too small for a band."""
    bands = [family.band for family in families if family.band is not None]
    if interval is None or drift is None or not families or len(bands) < len(families):
        return None
    return max(0.0, nearest_bound(interval) - max(*bands, drift))


def _family(name: str, effect: Float[np.ndarray, " control"], controls: Float[np.ndarray, " control"]) -> ControlFamily:
    values = np.abs(finite(controls, f"{name} controls"))
    sizes, n = np.sort(values), len(values)
    place = math.ceil(round(0.95 * (n + 1), 9))
    as_large = int((values >= np.abs(finite(effect, "effect"))).sum())
    return ControlFamily(
        name=name,
        n=n,
        p=(1 + as_large) / (1 + n) if n >= FEWEST else None,
        band=float(sizes[place - 1]) if n >= FEWEST else None,
        largest=float(sizes[-1]) if n else None,
    )
