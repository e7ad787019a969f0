"""Does what a feature reads carry over to its match? A threshold fitted on the left, used on the right.

1. labelled units in two halves: those of the records, else groups parted by lot
2. on discover: the cut of the left feature that separates labels best, and the share of units above it; the matches
   that read the labels best go on
3. on confirm: the right feature at the cut of the same share; AUROC − ½ with its interval over groups, beside the same
   of the left feature (`own`) and of random right features (p)
Nothing of the right side but the shares, and nothing of confirm, decides a cut.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Bool, Int64

from radiograph.core import derive
from radiograph.evidence.matches import TransferRecord
from radiograph.methods._match.aligned import Aligned
from radiograph.methods._match.sides import Side

if TYPE_CHECKING:
    from radiograph.numerics.matching import Threshold

RANDOM = 200
MOST = 50
"""Matches that go on to confirm."""
FEWEST_RANDOM = 19
"""Random features below which p cannot reach .05."""
FEWEST = 8
"""Units of either label in either half."""


@dataclass(frozen=True, eq=False)
class _Labelled:
    """Units with labels, in halves."""

    positive: Bool[np.ndarray, " unit"]
    discover: Int64[np.ndarray, " some"]
    confirm: Int64[np.ndarray, " other"]


def readouts(
    sides: tuple[Side, Side],
    shared: Aligned,
    pairs: tuple[Int64[np.ndarray, " pair"], Int64[np.ndarray, " pair"]],
    among: Int64[np.ndarray, " right"],
    seed: int,
) -> tuple[list[TransferRecord | None], str | None]:
    """A record for each pair (None: not among those that go on), or why there is none at all."""
    from radiograph.numerics.matching import fit_threshold

    found = _labelled(sides, shared, seed)
    if isinstance(found, str):
        return [None] * len(pairs[0]), found
    out: list[TransferRecord | None] = [None] * len(pairs[0])
    labels = found.positive[found.discover]
    fits = [fit_threshold(shared.left.dense(pairs[0][[n]])[found.discover, 0], labels) for n in range(len(pairs[0]))]
    best = np.argsort([-fit.accuracy for fit in fits], kind="stable")[:MOST].tolist()
    drawn = np.random.default_rng(derive(seed, "readout")).permutation(among)[: RANDOM + 1]
    table = shared.right.dense(drawn)[found.confirm]
    for n in best:
        left, right = (side.dense(own[[n]])[:, 0] for side, own in zip((shared.left, shared.right), pairs, strict=True))
        others = np.flatnonzero(drawn != pairs[1][n])[:RANDOM]
        out[n] = _record(fits[n], left, right, table[:, others], found, shared, derive(seed, "readout", n))
    return out, None


def _labelled(sides: tuple[Side, Side], shared: Aligned, seed: int) -> _Labelled | str:
    assert sides[0].values is not None and sides[1].values is not None
    labels = shared.labels(sides[0].values, sides[1].values)
    if labels is None:
        return "no row of either side has a label"
    positive, known = labels
    half = shared.halves(sides[0].values, sides[1].values)
    if half is None:
        order = np.random.default_rng(derive(seed, "halves")).permutation(shared.record.groups)
        half = (order[shared.groups] >= shared.record.groups // 2).astype(np.int64)
    parts = [np.flatnonzero(known & (half == number)) for number in (0, 1)]
    counts = [int((positive[part] == label).sum()) for part in parts for label in (False, True)]
    if min(counts) < FEWEST:
        return f"a half has {min(counts)} labelled units of one kind, {FEWEST} are needed"
    return _Labelled(positive, parts[0], parts[1])


def _record(
    fitted: Threshold,
    left: np.ndarray,
    right: np.ndarray,
    random: np.ndarray,
    found: _Labelled,
    shared: Aligned,
    seed: int,
) -> TransferRecord:
    from radiograph.numerics import Interval
    from radiograph.numerics.matching import areas, readout_transfer, verdict

    discovered = left[found.discover], right[found.discover]
    labels, groups = found.positive[found.confirm], shared.groups[found.confirm]
    made = readout_transfer(fitted, discovered, right[found.confirm], labels, random, groups, seed=seed)
    own = float(areas(fitted.sign * left[found.confirm][:, None], labels)[0]) - 0.5
    interval = Interval(made.interval.low - 0.5, made.interval.high - 0.5)
    few = random.shape[1] < FEWEST_RANDOM
    return TransferRecord(
        kind="readout",
        verdict="not_measured" if few else verdict(made.effect, interval, own, made.p),
        reason=f"only {random.shape[1]} other right features to compare with" if few else None,
        effect=made.effect,
        interval=(interval.low, interval.high),
        own=own,
        p=made.p,
        controls=random.shape[1],
    )
