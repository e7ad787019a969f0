"""Orders of units over all sites of a scan.

lonely: lowest firing rate, then lowest contribution: units that the text hardly used
loud: highest contribution: units whose writing varies most
mean, sd: the lowest signed mean, the lowest standard deviation: the original's lists
Equal units stand in the order of sites and numbers.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np

from radiograph.methods.neurons._scan.measured import Scanned

Rank = Literal["lonely", "loud", "mean", "sd"]
WHY = {
    "mean": "A low signed mean is not little use: GELU and SiLU are slightly negative over much of their range, so a "
    "unit that is often weakly negative has a lower mean than one that is exactly off, and a unit with rare large "
    "positive values a high one. The least used units are the lonely ones.",
    "sd": "A low standard deviation leaves out how long the write vector is: a unit that hardly moves can still move "
    "the residual stream more than another. The least used units are the lonely ones.",
}


def ranked(found: Sequence[Scanned], rank: Rank, top: int) -> list[tuple[int, int]]:
    """(place of the site, unit) of the first `top`."""
    place = np.concatenate([np.full(s.statistics.width, n) for n, s in enumerate(found)])
    unit = np.concatenate([np.arange(s.statistics.width) for s in found])
    contribution = np.concatenate([s.contribution for s in found])
    match rank:
        case "lonely":
            keys = (contribution, np.concatenate([s.statistics.firing for s in found]))
        case "loud":
            keys = (-contribution,)
        case "mean":
            keys = (np.concatenate([s.statistics.mean for s in found]),)
        case "sd":
            keys = (np.concatenate([s.statistics.sd for s in found]),)
    order = np.lexsort((unit, place, *keys))[:top]
    return [(int(place[i]), int(unit[i])) for i in order]
