"""Where an observed number stands among those of controls: p = (1 + #{null ≥ observed})/(M + 1).

Equal numbers count against the observed one. Under 19 controls no p below .05 can be reached, and none is given.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from radiograph.core import UserError

FEWEST = 19
"""Controls below which there is no p."""


@dataclass(frozen=True, slots=True)
class ControlTest:
    """One-sided: large is special."""

    observed: float
    controls: int
    rank: int
    """1 where no control reaches it."""
    p: float | None
    smallest: float
    """The smallest p that so many controls can give."""
    note: str | None = None


def control_test(observed: float, null: Sequence[float] | np.ndarray) -> ControlTest:
    """The rank of `observed` among controls, and its p.

    Raises:
        UserError: a number that is not finite.
    """
    values = np.asarray(null, dtype=np.float64)
    if not np.isfinite(observed) or not np.isfinite(values).all():
        raise UserError("a control or the observed number is not finite", got=str(observed), code="not_finite")
    reached = int((values >= observed).sum())
    smallest = 1 / (len(values) + 1)
    if len(values) < FEWEST:
        return ControlTest(observed, len(values), reached + 1, None, smallest, "no p from controls")
    return ControlTest(observed, len(values), reached + 1, (1 + reached) / (len(values) + 1), smallest)
