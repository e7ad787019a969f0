"""All units of a scan as a picture holds them: how many stand where, by firing rate and contribution.

Cells are even in the firing rate and in the logarithm of the contribution, over five decades below the largest; what is
below them counts as their lower edge. A cell stands at the mean of its units.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from radiograph.evidence import UnitCell
from radiograph.methods.neurons._scan.measured import Scanned

ACROSS, UP = 60, 40
DECADES = 5


def cloud(found: Sequence[Scanned]) -> tuple[UnitCell, ...]:
    """The cells that hold a unit, in order."""
    firing = np.concatenate([one.statistics.firing for one in found])
    contribution = np.concatenate([one.contribution for one in found])
    top = float(contribution.max())
    if top <= 0:
        return ()
    height = np.log10(np.maximum(contribution / top, 10.0**-DECADES))
    column = np.minimum((firing * ACROSS).astype(int), ACROSS - 1)
    row = np.minimum(((height / DECADES + 1) * UP).astype(int), UP - 1)
    _, cell, counts = np.unique(column * UP + row, return_inverse=True, return_counts=True)
    across = np.bincount(cell, weights=firing) / counts
    up = top * 10.0 ** (np.bincount(cell, weights=height) / counts)
    return tuple(
        UnitCell(firing=float(x), contribution=float(y), units=int(n))
        for x, y, n in zip(across, up, counts, strict=True)
    )
