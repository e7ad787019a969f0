"""Which site, method and strength: chosen inside the rows of the fit, and the same choice on permuted labels.

1. groups are dealt into folds; a direction from all folds but one scores the one left out
2. of every candidate: mean AUROC over the folds, and its standard error
3. chosen is the earliest candidate within one standard error of the best
The same on permuted labels gives the null of the best: it has to repeat the choice, since the largest of many AUROCs
of nothing is above ½. p = (1 + #{permuted ≥ observed})/(1 + draws), exact, as labels are exchangeable.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from radiograph.core.shapes import Bool, Float, Float64, Int64
from radiograph.numerics.probes._covariance import covariance
from radiograph.numerics.probes._directions import STRENGTHS, Method, directions, prepared
from radiograph.numerics.probes._labels import Cells, cells_of
from radiograph.numerics.probes._separation import areas


class Candidate(NamedTuple):
    """One thing to try."""

    site: int
    """Number of the site."""
    method: Method
    strength: float


class Searched(NamedTuple):
    """What every candidate reached, by labelling; labelling 0 is the true one."""

    candidates: tuple[Candidate, ...]
    area: Float64[np.ndarray, "candidate draw"]
    error: Float64[np.ndarray, "candidate draw"]
    chosen: Int64[np.ndarray, " draw"]

    @property
    def reached(self) -> Float64[np.ndarray, " draw"]:
        """The AUROC of the choice."""
        return np.take_along_axis(self.area, self.chosen[None], axis=0)[0]

    @property
    def p(self) -> float:
        """Of the choice that the true labels lead to."""
        found = self.reached
        return float((1 + (found[1:] >= found[0] - 1e-12).sum()) / len(found))


def candidates_of(sites: int, methods: Sequence[Method]) -> tuple[Candidate, ...]:
    """In the order in which the earlier is preferred."""
    return tuple(
        Candidate(site, method, strength)
        for site in range(sites)
        for method in methods
        for strength in (reversed(STRENGTHS) if method == "logistic" else (0.0,))
    )


def dealt(cells: Cells, folds: int, seed: int) -> Int64[np.ndarray, " cell"]:
    """The fold of every cell: groups in a random order, of one kind after the other, in turn."""
    groups = int(cells.group.max()) + 1
    kind = np.bincount(cells.group, cells.positive + 1.0, groups)
    order = np.lexsort((np.random.default_rng(seed).random(groups), kind))
    fold = np.empty(groups, dtype=np.int64)
    fold[order] = np.arange(groups) % folds
    return fold[cells.group]


def search(
    sites: Sequence[Float[np.ndarray, "row _"]],
    clean: Sequence[Float[np.ndarray, "other _"]],
    cells: Cells,
    labels: Bool[np.ndarray, "draw cell"],
    methods: Sequence[Method],
    *,
    folds: int,
    seed: int,
) -> Searched:
    """Every candidate, under every labelling of the cells; `clean` are rows of clean text at each site, maybe none."""
    tried = candidates_of(len(sites), methods)
    fold = dealt(cells, folds, seed)
    area = np.full((len(tried), folds, len(labels)), np.nan)
    for number, rows in enumerate(sites):
        apart = covariance(clean[number]) if len(clean[number]) > 1 else None
        for left in range(folds):
            held = fold[cells.cell] == left
            kept = fold != left
            inside = cells_of(cells.positive[cells.cell[~held]], cells.group[cells.cell[~held]])
            fit = prepared(rows[~held], inside, apart)
            truth = labels[:, cells.cell[held]].T
            for place, one in enumerate(tried):
                if one.site == number:
                    w = directions(fit, labels[:, kept], one.method, one.strength)
                    area[place, left] = areas(rows[held].astype(np.float64) @ w.T, truth)
    mean, error = _over_folds(area)
    return Searched(tried, mean, error, _earliest(mean, error))


def _over_folds(
    area: Float64[np.ndarray, "candidate fold draw"],
) -> tuple[Float64[np.ndarray, "candidate draw"], Float64[np.ndarray, "candidate draw"]]:
    """Mean and standard error over the folds that hold both classes; ½ where none does."""
    known = ~np.isnan(area)
    count = known.sum(axis=1)
    filled = np.where(known, area, 0.0)
    mean = filled.sum(axis=1) / np.maximum(count, 1)
    apart = np.where(known, area - mean[:, None], 0.0)
    error = np.sqrt(np.square(apart).sum(axis=1) / np.maximum(count - 1, 1) / np.maximum(count, 1))
    return np.where(count > 0, mean, 0.5), error


def _earliest(
    mean: Float64[np.ndarray, "candidate draw"], error: Float64[np.ndarray, "candidate draw"]
) -> Int64[np.ndarray, " draw"]:
    best = mean.argmax(axis=0)
    reach = np.take_along_axis(mean - error, best[None], axis=0)[0]
    return (mean >= reach - 1e-12).argmax(axis=0)
