"""Many units, few null draws each: is a unit's effect more than that of random directions of its own norm?

1. Unit j has one observed effect and K null draws made for it, of equal norm. If its direction means nothing, the K + 1
   are exchangeable.
2. Each of the K + 1 is standardised by the others of the same unit: t = (x − mean of the others)/(sd of the others), on
   a logarithm where effects are positive. A unit that pushes harder has harder null draws, and no larger t.
3. p_j = (1 + #{null t ≥ t_j})/(1 + N), N the null values of all units together (pooled, as in Tusher, Tibshirani and
   Chu 2001). Over units whose directions mean nothing p is uniform; one p below 1/(1 + N) cannot be reached.

`above_others` asks the other question: does the unit do more than random directions pushed as hard as the other units?
p_j = (1 + #{draws of other units ≥ x_j})/(1 + their number). If all directions mean nothing, effects of units are those
of draws of any unit, and p is uniform over units; a unit that pushes harder than all others stands out.

Refuses fewer than three draws a unit, and values that are not finite.
"""

from __future__ import annotations

import numpy as np

from radiograph.core import UserError
from radiograph.core.shapes import Float, Float64
from radiograph.numerics._finite import finite

_TINY = 1e-30
"""Added before a logarithm: an effect of 0 stays the smallest."""


def pooled_p(
    observed: Float[np.ndarray, " unit"], draws: Float[np.ndarray, "draw unit"], *, logarithm: bool = True
) -> tuple[Float64[np.ndarray, " unit"], Float64[np.ndarray, " unit"]]:
    """P and t of every unit; large is surprising.

    Raises:
        UserError: fewer than three draws, or a value that is not finite.
    """
    if len(draws) < 3:
        raise UserError("too few null draws to standardise by", expected="three or more", got=str(len(draws)))
    values = finite(np.concatenate([observed[None], draws]).astype(np.float64), "effect")
    if logarithm:
        values = np.log(np.maximum(values, 0) + _TINY)
    t = _left_out(values)
    null = np.sort(np.asarray(t[1:], dtype=np.float64), axis=None)
    reached = len(null) - np.searchsorted(null, np.asarray(t[0] - 1e-9 * np.abs(t[0])), side="left")
    return (1 + reached) / (1 + len(null)), t[0]


def above_others(
    observed: Float[np.ndarray, " unit"], draws: Float[np.ndarray, "draw unit"]
) -> Float64[np.ndarray, " unit"]:
    """P of every unit against the draws of all others; large is surprising."""
    finite(np.concatenate([observed[None], draws]).astype(np.float64), "effect")
    floor = np.asarray(observed * (1 - 1e-9), dtype=np.float64)
    every = np.sort(np.asarray(draws, dtype=np.float64), axis=None)
    reached = len(every) - np.searchsorted(every, floor, side="left") - (draws >= floor).sum(axis=0)
    return (1 + reached) / (1 + draws.size - len(draws))


def _left_out(values: Float64[np.ndarray, "value unit"]) -> Float64[np.ndarray, "value unit"]:
    """Each value standardised by the others of its column; 0 where the others do not differ."""
    count = len(values) - 1
    centred = values - values.mean(axis=0)
    square = np.square(centred).sum(axis=0)
    mean = -centred / count
    spread = np.sqrt(np.maximum((square - centred**2) / count - mean**2, 0.0))
    flat = spread <= 1e-9 * np.abs(values).max(axis=0)
    return np.where(flat, 0.0, (centred - mean) / np.where(flat, 1.0, spread))
