"""Does what a feature reads carry over to its match? A threshold fitted on the left, used on the right.

1. labelled units in two halves: those of the records, else groups parted by lot
2. on discover: the cut of the left feature that separates labels best, and the share of units above it; the matches
   that read the labels best go on, as many as n random features can tell apart: .05·(1 + n), so that one alone may pass
3. on confirm: the right feature at the cut of the same share; AUROC − ½ with its interval over groups, beside the same
   of the left feature (`own`) and of random right features (p); q over the matches that went on
4. what the left feature does not surely read on confirm cannot carry over: `not_measured`
Nothing of the right side but the shares, and nothing of confirm, decides a cut.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from radiograph.core import derive
from radiograph.core.shapes import Bool, Float64, Int64
from radiograph.evidence.matches import TransferRecord, TransferWord
from radiograph.methods._match.aligned import Aligned
from radiograph.methods._match.sides import Side
from radiograph.numerics import Interval
from radiograph.numerics.matching import LEVEL, verdict
from radiograph.numerics.multiplicity import q_values

if TYPE_CHECKING:
    from radiograph.numerics.matching import Threshold

RANDOM = 200
FEWEST_CONTROLS = 19
"""Random features or directions below which p cannot reach .05."""
AT_ONCE = 16
"""Features that are dense at the same time."""
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
    drawn = np.random.default_rng(derive(seed, "readout")).permutation(among)[: RANDOM + 1]
    table = _areas(shared, drawn, found)
    most = max(1, int(LEVEL * (1 + min(RANDOM, max(0, len(drawn) - 1))) + 1e-9))
    best = np.argsort([-fit.accuracy for fit in fits], kind="stable")[:most].tolist()
    for n in best:
        left, right = (side.dense(own[[n]])[:, 0] for side, own in zip((shared.left, shared.right), pairs, strict=True))
        others = np.flatnonzero(drawn != pairs[1][n])[:RANDOM]
        out[n] = _record(fits[n], left, right, table[others], found, shared, derive(seed, "readout", n))
    return judged(out), None


def judged(records: Sequence[TransferRecord | None]) -> list[TransferRecord | None]:
    """Records with the q and the words that follow from their numbers; q over all readouts among them."""
    tried = [one for one in records if one is not None and one.kind == "readout" and one.p is not None]
    q = dict(zip(map(id, tried), q_values(np.array([one.p for one in tried], dtype=np.float64)).tolist(), strict=True))
    out: list[TransferRecord | None] = []
    for one in records:
        if one is None or one.effect is None:
            out.append(one)
            continue
        held = one.model_copy(update={"q": q.get(id(one))})
        word, reason = _word(held)
        out.append(held.model_copy(update={"verdict": word, "reason": reason}))
    return out


def _word(one: TransferRecord) -> tuple[TransferWord, str | None]:
    """What the numbers say, and why they say nothing."""
    readout = one.kind == "readout"
    if one.controls < FEWEST_CONTROLS:
        others = "other right features" if readout else "random directions"
        return "not_measured", f"only {one.controls} {others} to compare with"
    low, high = one.own_interval or (0.0, 0.0)
    if readout and low <= 0:
        return "not_measured", "on confirm the left feature does not surely read the labels"
    if low * high <= 0:
        return "not_measured", "the right feature's own push moves nothing for sure"
    if one.acceptable is False:
        return "not_measured", "no dose of the mapped direction stays within the limits"
    interval = None if one.interval is None else Interval(*one.interval)
    return verdict(one.effect, interval, one.own, one.q if readout else one.p, one.shuffled), None


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


def _areas(shared: Aligned, features: Int64[np.ndarray, " drawn"], found: _Labelled) -> Float64[np.ndarray, " drawn"]:
    """AUROC of right features on confirm, a few at a time: only these are ever dense."""
    from radiograph.numerics.matching import areas

    labels = found.positive[found.confirm]
    parts = [
        areas(shared.right.dense(features[start : start + AT_ONCE])[found.confirm], labels)
        for start in range(0, len(features), AT_ONCE)
    ]
    return np.concatenate(parts) if parts else np.zeros(0)


def _record(
    fitted: Threshold,
    left: np.ndarray,
    right: np.ndarray,
    random: np.ndarray,
    found: _Labelled,
    shared: Aligned,
    seed: int,
) -> TransferRecord:
    from radiograph.numerics.matching import area_interval, areas, readout_transfer

    discovered = left[found.discover], right[found.discover]
    labels, groups = found.positive[found.confirm], shared.groups[found.confirm]
    made = readout_transfer(fitted, discovered, right[found.confirm], labels, random, groups, seed=seed)
    reads = fitted.sign * left[found.confirm]
    own = float(areas(reads[:, None], labels)[0]) - 0.5
    kept = area_interval(reads, labels, groups, seed=derive(seed, "own"))
    return TransferRecord(
        kind="readout",
        verdict="not_measured",
        effect=made.effect,
        interval=(made.interval.low - 0.5, made.interval.high - 0.5),
        own=own,
        own_interval=(kept.low - 0.5, kept.high - 0.5),
        p=made.p,
        controls=len(random),
    )
