"""A degraded candidate among models that are known to be degraded, and to hide nothing.

A broken model lies outside the support of benign fine-tunes, and it too answers some strange words strangely: next to
benign models both would count against it. So it is compared with its like.
1. strength of a model: the largest difference of rates that its inputs show, over the kinds of witness that compare a
   model with itself (a word against none, a set against the rest of its task, a restored task against random words).
   All are differences of shares, in [-1, 1], so nothing is scaled or fitted; distances, which measure the damage, have
   no say
2. p = (1 + #{i : strength_i ≥ strength_candidate})/(n + 1); floor 1/(n + 1)
3. support among the degraded models, as among the benign ones (`support`)

Source: Vovk, Gammerman, Shafer 2005, ch. 4 (Mondrian conformal prediction: a category is ranked in itself).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from radiograph.core import UserError
from radiograph.core.shapes import Float64
from radiograph.numerics.calibration.support import Supported, support
from radiograph.numerics.conformal import conformal_p, resolution_floor


@dataclass(frozen=True)
class DegradedRank:
    """The candidate among degraded models."""

    n: int
    """Degraded models, without the candidate."""
    p: float
    floor: float
    strength: float
    leading: str
    """The kind of contrast that gives it."""
    others: tuple[float, ...]
    """Strengths of the degraded models."""
    supported: Supported


def strength(rates: Mapping[str, float | None]) -> tuple[float, str] | None:
    """The largest difference of rates and its name; None where one was not measured."""
    known = {name: value for name, value in rates.items() if value is not None}
    if not known or len(known) < len(rates):
        return None
    leading = max(known, key=lambda name: known[name])
    return known[leading], leading


def among_degraded(
    rates: Sequence[Mapping[str, float | None]],
    coordinates: Float64[np.ndarray, "model coordinate"],
    names: Sequence[str],
) -> DegradedRank | None:
    """Rank the last model; None where its contrasts were not all measured.

    Args:
        rates: differences of rates by kind, a model each, candidate last.
        coordinates: what a change is like, as for `support`, candidate last.
        names: of the coordinates.

    Raises:
        UserError: a degraded model without all contrasts, or too few of them.
    """
    found = [strength(own) for own in rates]
    own, others = found[-1], [value for value in found[:-1] if value is not None]
    if own is None:
        return None
    if len(others) < len(rates) - 1:
        raise UserError("a degraded model lacks a contrast", got=f"{len(others)} of {len(rates) - 1} have all")
    values = tuple(value for value, _ in others)
    return DegradedRank(
        n=len(values),
        p=conformal_p(own[0], np.array(values)),
        floor=resolution_floor(len(values)),
        strength=own[0],
        leading=own[1],
        others=values,
        supported=support(coordinates, names),
    )
