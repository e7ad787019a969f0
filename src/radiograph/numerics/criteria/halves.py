"""Two halves of a set of groups, alike in what strata hold, the same whatever the order of the rows.

Inside each stratum groups stand in the order of their keys (a keyed hash of seed and id), the first being *discover*.
With C groups up to and including a stratum, ⌊share·C + ½⌋ are discover: every stratum is cut within one group of its
share, and remainders of small strata do not add up.
"""

from __future__ import annotations

import numpy as np

from radiograph.core import UserError
from radiograph.core.shapes import Bool, Int64


def discover_half(
    strata: Int64[np.ndarray, " group"], keys: Int64[np.ndarray, " group"], share: float = 0.5
) -> Bool[np.ndarray, " group"]:
    """Which groups are discover; strata are taken in the order of their numbers.

    Raises:
        UserError: the share is not between 0 and 1.
    """
    if not 0 < share < 1:
        raise UserError("the share of discover groups lies between 0 and 1", got=str(share))
    order = np.lexsort((keys, strata))
    _, stratum, size = np.unique(strata[order], return_inverse=True, return_counts=True)
    ends = np.cumsum(size)
    upto = np.floor(share * ends + 0.5).astype(np.int64)
    taken = np.diff(upto, prepend=0)
    place = np.arange(len(order)) - (ends - size)[stratum]
    out = np.empty(len(order), dtype=bool)
    out[order] = place < taken[stratum]
    return out
