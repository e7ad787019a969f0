"""Units that are like a given one in everything but what they mean.

1. four numbers a unit: log‖w‖, μ, log σ, firing rate   2. each standardised over the living units of the site
3. the nearest by Euclidean distance; equal distances by number
Units that never move (σ = 0) or write nothing (‖w‖ = 0) are no controls. Refuses a tested unit of that kind.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

import numpy as np

from radiograph.core import UserError
from radiograph.core.shapes import Float64, Int64


@dataclass(frozen=True, slots=True, eq=False)
class Matched:
    """Control units, nearest first."""

    units: Int64[np.ndarray, " control"]
    distance: Float64[np.ndarray, " control"]
    """Standard deviations, over the four numbers together."""
    available: int
    """Living units there were to choose from."""


def matched_units(
    unit: int,
    count: int,
    *,
    norms: Float64[np.ndarray, " width"],
    mean: Float64[np.ndarray, " width"],
    sd: Float64[np.ndarray, " width"],
    firing: Float64[np.ndarray, " width"],
    exclude: Collection[int] = (),
) -> Matched:
    """The `count` units most like `unit`, or all that there are if they are fewer.

    Raises:
        UserError: the unit is outside the site, never moves, or writes nothing.
    """
    width = len(norms)
    if not 0 <= unit < width:
        raise UserError(f"unit {unit} is outside the site", expected=f"0 to {width - 1}", code="bad_unit")
    alive = (norms > 0) & (sd > 0)
    if not alive[unit]:
        what = "never moves on the text of the site statistics" if sd[unit] <= 0 else "writes nothing"
        raise UserError(f"unit {unit} {what}: nothing is like it", fix="choose a living unit", code="dead_unit")
    living = np.flatnonzero(alive)
    table = np.stack([np.log(norms[living]), mean[living], np.log(sd[living]), firing[living]], axis=1)
    spread = table.std(0)
    table = (table - table.mean(0)) / np.where(spread > 0, spread, 1.0)
    own = table[int(np.searchsorted(living, unit))]
    distance = np.sqrt(np.square(table - own).sum(1))
    allowed = ~np.isin(living, [unit, *exclude])
    living, distance = living[allowed], distance[allowed]
    order = np.lexsort((living, distance))[:count]
    return Matched(living[order], distance[order], len(living))
