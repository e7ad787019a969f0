"""Labels that could as well have been: what a contrast looks like where text and label have no relation.

Groups that hold both labels have theirs exchanged, or not, by a fair coin; groups of one label swap labels among
themselves. Rows of one group move together: they are one observation.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from radiograph.core.shapes import Bool, Int64


class Cells(NamedTuple):
    """Rows by group and label: a cell is all rows of one group with one label."""

    cell: Int64[np.ndarray, " row"]
    positive: Bool[np.ndarray, " cell"]
    group: Int64[np.ndarray, " cell"]

    @property
    def both(self) -> Bool[np.ndarray, " cell"]:
        """Cells whose group holds the other label too."""
        return np.bincount(self.group)[self.group] == 2

    @property
    def paired(self) -> float:
        """Share of the groups that hold both labels."""
        size = np.bincount(self.group)
        return float((size[size > 0] == 2).mean())


def cells_of(positive: Bool[np.ndarray, " row"], group: Int64[np.ndarray, " row"]) -> Cells:
    """Cells in the order of their groups, others before positives; groups are numbered anew."""
    _, own = np.unique(group, return_inverse=True)
    keys, cell = np.unique(own * 2 + positive, return_inverse=True)
    return Cells(cell.astype(np.int64), keys % 2 == 1, (keys // 2).astype(np.int64))


def permuted(cells: Cells, draws: int, seed: int) -> Bool[np.ndarray, "draw cell"]:
    """Labels of the cells: as they are in row 0, permuted in `draws` more."""
    rng = np.random.default_rng(seed)
    groups = int(cells.group.max()) + 1
    both = cells.both
    single = np.flatnonzero(~both)
    out = np.empty((draws + 1, len(cells.positive)), dtype=bool)
    out[0] = cells.positive
    for draw in out[1:]:
        turned = rng.random(groups) < 0.5
        draw[:] = cells.positive ^ (turned[cells.group] & both)
        draw[single] = rng.permutation(cells.positive[single])
    return out
