"""Which models of a pool drifted about as far: thirds by divergence on neutral text (Mondrian conformal prediction).

The edges are quantiles of the whole pool, candidate included: a rule that is symmetric in the pool, so that a p-value
inside a stratum is exact too. Equal values fall into one stratum.
"""

from __future__ import annotations

import numpy as np

from radiograph.core.shapes import Float, Int
from radiograph.numerics._finite import finite

STRATA = 3


def strata(drift: Float[np.ndarray, " model"]) -> Int[np.ndarray, " model"]:
    """0 for the third that drifted least, 2 for the one that drifted most."""
    values = finite(drift, "drift")
    edges = np.quantile(values, np.arange(1, STRATA) / STRATA)
    return np.searchsorted(edges, values, side="left")
