"""From labelled rows to units of a design: what is compared with what, and what chance may exchange.

1. A unit is a cell (group, label), inside one stratum if a factor is conditioned on. A block is (group, stratum).
2. The design follows from labels alone:
   `between`   one label in ≥ 80 % of blocks: labels are exchanged among all units of a stratum
   `within`    both labels in ≥ 80 %: positive minus negative of a block, signs are flipped; other blocks are dropped
               and counted
   `mixed`     neither: labels are exchanged inside blocks that have both, and among the others of a stratum
   `continuous` a score instead of labels: a unit is a block, its score the mean over rows
3. Cells that are compared have equally many rows: the mean of one row and the mean of two have not the same law, where
   features are sparse, and chance cannot exchange them. A pair keeps as many rows on both sides; otherwise every cell
   keeps m, the largest number that four fifths of each class have, and smaller ones are dropped and counted. Which
   rows is drawn by name; rows of one name are one row.
4. Halves (discover, confirm) are unions of groups.

Refuses: one class; fewer than 8 units a class in a half (`few_units`; 16 units for a score). Errors: a group in both
halves, a label that is neither 0 nor 1, a score that is not finite, a factor with two levels in a group (cells of one
group would be exchanged as if they were independent).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Literal

import numpy as np

from radiograph.core import Refusal, UserError
from radiograph.core.seeds import derive
from radiograph.core.shapes import Bool, Float64, Int, Int64, Num, Shaped
from radiograph.numerics._finite import finite
from radiograph.numerics.association._columns import Columns, added

Design = Literal["between", "within", "mixed", "continuous"]
FEWEST = 8
"""Units of a class in a half."""
SHARE = 0.8
"""Of blocks, for a pure design."""


@dataclass(frozen=True, eq=False)
class Units:
    """The units of one part of the rows. Groups, blocks and strata are numbers from 0."""

    design: Design
    label: Float64[np.ndarray, " unit"]
    """1 positive, 0 negative; the score in a continuous design."""
    group: Int64[np.ndarray, " unit"]
    block: Int64[np.ndarray, " unit"]
    """Units that chance may exchange share a block."""
    stratum: Int64[np.ndarray, " unit"]
    discover: Bool[np.ndarray, " unit"]
    cell: Int64[np.ndarray, " row"]
    """The unit of each row; −1 where the row is in none."""
    rows: Int64[np.ndarray, " unit"]
    """How many rows each unit has."""
    dropped: int = 0
    """Blocks left out because a within design cannot use them, cells because they have too few rows."""
    left: int = 0
    """Rows left out so that cells that are compared have equally many."""

    def __len__(self) -> int:
        return len(self.label)

    @property
    def positive(self) -> int:
        """P."""
        return int(self.label.sum()) if self.design != "continuous" else 0

    @property
    def negative(self) -> int:
        """Q."""
        return len(self) - self.positive if self.design != "continuous" else 0

    @cached_property
    def groups(self) -> int:
        """Distinct groups."""
        return len(np.unique(self.group))

    @property
    def blocks(self) -> int:
        """Blocks, numbered from 0; the pairs of a within design."""
        return int(self.block.max(initial=-1)) + 1

    @property
    def classes(self) -> Int64[np.ndarray, " unit"]:
        """0 and 1; one class for all in a continuous design."""
        return np.zeros(len(self), np.int64) if self.design == "continuous" else self.label.astype(np.int64)

    @property
    def strata(self) -> int:
        """Strata, numbered from 0."""
        return int(self.stratum.max(initial=-1)) + 1

    def among(self, chosen: Bool[np.ndarray, " unit"]) -> Units:
        """Some units; rows of the others belong to none."""
        number = np.append(np.where(chosen, np.cumsum(chosen) - 1, -1), -1)
        return replace(
            self,
            label=self.label[chosen],
            group=self.group[chosen],
            block=np.unique(self.block[chosen], return_inverse=True)[1].astype(np.int64),
            stratum=self.stratum[chosen],
            discover=self.discover[chosen],
            cell=number[self.cell],
            rows=self.rows[chosen],
        )

    def pooled(self, rows: Columns) -> Columns:
        """A table of rows as a table of units."""
        return rows.pooled(self.cell, self.rows)

    def differences(self, cells: Columns) -> Columns:
        """Positive minus negative of each block of a within design, for a table of its units.

        A pair of which one side was not measured is not measured.
        """
        size = self.blocks
        sign = np.where(self.label == 1, 1.0, -1.0)
        signed = Columns(cells.offsets, cells.unit, cells.value * sign[cells.unit], cells.units, cells.absent)
        if cells.absent == "zero":
            return signed.pooled(self.block, np.ones(size, np.int64))
        key = cells.feature * size + self.block[cells.unit]
        _, place, counts = np.unique(key, return_inverse=True, return_counts=True)
        both = (counts == 2)[place]
        kept = Columns(
            np.concatenate(
                [np.zeros(1, np.int64), np.cumsum(np.bincount(cells.feature[both], minlength=cells.features))]
            ),
            signed.unit[both],
            2 * signed.value[both],  # the mean of two present rows is half their sum
            cells.units,
            "missing",
        )
        return kept.pooled(self.block, np.ones(size, np.int64))


def units_of(
    group: Shaped[np.ndarray, " row"],
    label: Num[np.ndarray, " row"] | Bool[np.ndarray, " row"],
    discover: Bool[np.ndarray, " row"],
    *,
    stratum: Shaped[np.ndarray, " row"] | None = None,
    rows: Bool[np.ndarray, " row"] | None = None,
    name: Shaped[np.ndarray, " row"] | None = None,
    continuous: bool = False,
    seed: int = 0,
) -> Units:
    """Cells and design of labelled rows; `rows` restricts them (positives and near misses, for instance).

    Groups are numbered in the order of their names, so the order of rows changes nothing. `name` says which rows are
    the same (their text, else their id), and by it rows are chosen where cells have too many; without it every row is
    one of its own, known by its place.

    Raises:
        UserError: lengths differ, a group lies in both halves, a label is neither 0 nor 1, a factor with two levels in
            a group.
    """
    taken = np.ones(len(group), dtype=bool) if rows is None else rows
    given = np.zeros(len(group), np.int64) if stratum is None else stratum
    known = np.arange(len(group)) if name is None else name
    if not len(group) == len(label) == len(discover) == len(given) == len(taken) == len(known):
        raise UserError("every row needs a group, a label, a half and a stratum", got=f"{len(group)}, {len(label)}, …")
    names, groups = np.unique(group[taken], return_inverse=True)
    strata = np.unique(given[taken], return_inverse=True)[1]
    half = np.zeros(len(names), np.int64)
    np.bitwise_or.at(half, groups, np.where(discover[taken], 1, 2))
    if (half == 3).any():
        raise UserError(
            "a group lies in both halves",
            got=str(names[half == 3][0]),
            fix="split by group",
            code="split",
        )
    _check_strata(names, groups, strata)
    score = finite(np.asarray(label, dtype=np.float64)[taken], "scores" if continuous else "labels")
    if not continuous and not np.isin(score, (0.0, 1.0)).all():
        raise UserError("a label is 0 or 1", got=str(score[~np.isin(score, (0.0, 1.0))][0]))
    blocks = np.unique(groups * (int(strata.max(initial=0)) + 1) + strata, return_inverse=True)[1]
    cells = blocks * 2 + (0 if continuous else score.astype(np.int64))
    kept, dropped = _even(cells, blocks, known[taken], continuous, seed)
    left = int(taken.sum()) - int(kept.sum())
    taken = taken.copy()
    taken[taken] = kept
    groups, strata, blocks, cells, score = (own[kept] for own in (groups, strata, blocks, cells, score))
    _, first, cell, counts = np.unique(cells, return_index=True, return_inverse=True, return_counts=True)
    whole = np.full(len(group), -1, np.int64)
    whole[taken] = cell
    made = Units(
        design="continuous",
        label=_means(score, cell, counts) if continuous else score[first],
        group=groups[first].astype(np.int64),
        block=np.unique(blocks[first], return_inverse=True)[1].astype(np.int64),
        stratum=strata[first].astype(np.int64),
        discover=discover[taken][first],
        cell=whole,
        rows=counts.astype(np.int64),
        dropped=dropped,
        left=left,
    )
    return _designed(made, continuous)


def _check_strata(
    names: Shaped[np.ndarray, " group"], groups: Int[np.ndarray, " row"], strata: Int[np.ndarray, " row"]
) -> None:
    levels = np.unique(groups * (int(strata.max(initial=0)) + 1) + strata) // (int(strata.max(initial=0)) + 1)
    twice = levels[1:][levels[1:] == levels[:-1]]
    if len(twice):
        raise UserError(
            "a factor that is conditioned on has one level in a group",
            got=f"group {names[twice[0]]} has several, and so have {len(np.unique(twice)) - 1} others",
            fix="condition on a factor of whole groups, or make smaller groups",
            code="stratum_in_group",
        )


def _even(
    cells: Int[np.ndarray, " row"],
    blocks: Int[np.ndarray, " row"],
    name: Shaped[np.ndarray, " row"],
    continuous: bool,
    seed: int,
) -> tuple[Bool[np.ndarray, " row"], int]:
    """Rows that stay, so that cells that are compared have equally many; and how many cells are too small."""
    unique, number = np.unique(name, return_inverse=True)
    luck = np.random.default_rng(derive(seed, "rows of cells")).permutation(len(unique))[number.reshape(-1)]
    order = np.lexsort((luck, cells))
    cell, drawn = cells[order], luck[order]
    new = np.ones(len(order), dtype=bool)
    new[1:] = (cell[1:] != cell[:-1]) | (drawn[1:] != drawn[:-1])
    held, place, counts = np.unique(cell[new], return_inverse=True, return_counts=True)
    if not len(held):
        return np.zeros(len(cells), dtype=bool), 0
    owner = np.unique(cells, return_index=True)[1]
    block = np.unique(blocks[owner], return_inverse=True)[1]
    paired = np.bincount(block) == 2
    if not continuous and float(paired.mean()) >= SHARE:
        fewest = np.full(len(paired), np.iinfo(np.int64).max)
        np.minimum.at(fewest, block, counts)
        most = fewest[block]
        small = np.zeros(len(held), dtype=bool)
    else:
        classes = np.zeros(len(held), np.int64) if continuous else held % 2
        least = [np.sort(counts[classes == y])[int((classes == y).sum() * (1 - SHARE))] for y in np.unique(classes)]
        most = np.full(len(held), min(least) if len(np.unique(counts)) > 1 else counts[0])
        small = counts < most
    starts = np.concatenate([np.zeros(1, np.int64), np.cumsum(counts)[:-1]])
    rank = np.arange(len(place)) - starts[place]
    kept = np.zeros(len(cells), dtype=bool)
    kept[order[new]] = (rank < most[place]) & ~small[place]
    return kept, int(small.sum())


def check_sizes(units: Units, *, fewest: int = FEWEST) -> None:
    """Refuse what cannot be tested.

    Raises:
        Refusal: one class (`one_class`), or too few units of a class in a half (`few_units`).
    """
    counts = [[int(((units.label == y) & (units.discover == half)).sum()) for y in (1, 0)] for half in (True, False)]
    if units.design == "continuous":
        counts = [[int((units.discover == half).sum()) // 2] * 2 for half in (True, False)]
        if len(units) and np.ptp(units.label) == 0:
            raise Refusal("one_class", "all scores are equal", got=f"{len(units)} units")
    said = f"discover {counts[0][0]} positive, {counts[0][1]} negative; confirm {counts[1][0]}, {counts[1][1]}"
    said += f"; {units.groups} groups, {units.dropped} dropped" if units.dropped else f"; {units.groups} groups"
    if units.design != "continuous" and min(units.positive, units.negative) == 0:
        raise Refusal("one_class", "rows of one class cannot be compared with anything", got=said)
    if min(min(own) for own in counts) < fewest:
        raise Refusal(
            "few_units",
            "too few units to find anything and to confirm it",
            expected=f"{fewest} units of each class in each half",
            got=said,
            fix="add groups; more rows of a group are no more units",
        )


def _designed(units: Units, continuous: bool) -> Units:
    """Decide the design, drop what it cannot use, and say what may be exchanged."""
    if continuous:
        return replace(units, block=units.stratum)
    size = np.bincount(units.block)
    paired = size == 2
    share = float(paired.mean()) if len(size) else 0.0
    if share >= SHARE:
        kept = replace(units, design="within", dropped=units.dropped + int((~paired).sum()))
        return kept.among(paired[units.block])
    if share <= 1 - SHARE + 1e-12:
        return replace(units, design="between", block=units.stratum)
    alone = ~paired[units.block]
    block = np.where(alone, units.stratum, units.strata + units.block)
    return replace(units, design="mixed", block=np.unique(block, return_inverse=True)[1].astype(np.int64))


def _means(
    score: Float64[np.ndarray, " row"], cell: Int[np.ndarray, " row"], counts: Int[np.ndarray, " cell"]
) -> Float64[np.ndarray, " cell"]:
    order = np.lexsort((score, cell))  # one order of addition, whatever order rows came in
    return added(cell[order], score[order]) / counts
