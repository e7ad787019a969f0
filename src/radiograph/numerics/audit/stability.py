"""Do paraphrases of one question shift the same features?

Within each group, for every pair of prompts: Jaccard overlap of their top-k sets, and Spearman correlation of the
corrected differences over the union of the two sets. Features that did not move are in no set: filled up with zeros,
two prompts would agree by index alone. A pair in which neither moved, or a correlation of a constant, is not counted.
Means are over pairs within groups, then over groups, so that a large group does not speak for the others. Five
paraphrases a group are advised; formats and sampling seeds are groups of another naming.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from radiograph.core import Refusal, UserError
from radiograph.core.shapes import Bool, Float, Float64, Int
from radiograph.numerics._finite import finite

ADVISED_GROUP = 5


@dataclass(frozen=True)
class Stability:
    """Agreement between prompts that ask the same."""

    jaccard: float
    spearman: float | None
    """None where no pair has a correlation."""
    groups: int
    pairs: int
    smallest_group: int


def stability(
    corrected: Float[np.ndarray, "prompt feature"], top: Int[np.ndarray, "prompt k"], groups: Sequence[str]
) -> Stability | Refusal:
    """Agreement of top-k sets within groups; `top` holds the indices of the k largest |corrected| of each prompt.

    Returns:
        the agreement, or a Refusal: `no_groups` without a group of two, `no_shift` where no pair moved.
    """
    values = finite(corrected, "corrected differences")
    if not len(groups) == len(values) == len(top):
        raise UserError("one group and one top-k set per prompt", got=f"{len(groups)}, {len(top)}, {len(values)}")
    sets = [row[np.abs(values[p, row]) > 0] for p, row in enumerate(top)]
    members: dict[str, list[int]] = {}
    for prompt, name in enumerate(groups):
        members.setdefault(name, []).append(prompt)
    shared = [group for group in members.values() if len(group) >= 2]
    if not shared:
        return Refusal("no_groups", "stability needs a group of two paraphrases")
    overlaps: list[float] = []
    correlations: list[float] = []
    pairs = 0
    for group in shared:
        rows, chosen = values[group], _membership([sets[p] for p in group], values.shape[1])
        jaccards, rhos = _agreements(rows, chosen)
        pairs += len(jaccards)
        overlaps += [float(np.mean(jaccards))] if len(jaccards) else []
        correlations += [float(np.mean(rhos))] if len(rhos) else []
    if not overlaps:
        return Refusal("no_shift", "no feature moved in any pair of paraphrases")
    return Stability(
        jaccard=float(np.mean(overlaps)),
        spearman=float(np.mean(correlations)) if correlations else None,
        groups=len(overlaps),
        pairs=pairs,
        smallest_group=min(len(group) for group in shared),
    )


def spearman(x: Float[np.ndarray, " row"], y: Float[np.ndarray, " row"]) -> float | None:
    """Correlation of average ranks; None for fewer than two rows or a constant."""
    rho = _spearmans(x[None], y[None], np.ones((1, len(x)), dtype=bool))[0]
    return None if np.isnan(rho) else float(rho)


def _membership(sets: Sequence[Int[np.ndarray, " _"]], features: int) -> Bool[np.ndarray, "prompt feature"]:
    chosen = np.zeros((len(sets), features), dtype=bool)
    for row, indices in zip(chosen, sets, strict=True):
        row[indices] = True
    return chosen


def _agreements(
    values: Float64[np.ndarray, "prompt feature"], chosen: Bool[np.ndarray, "prompt feature"]
) -> tuple[Float64[np.ndarray, " pair"], Float64[np.ndarray, " pair"]]:
    """Overlap of every pair in which a feature moved, and correlation of every pair that has one."""
    left, right = np.triu_indices(len(values), 1)
    union = chosen[left] | chosen[right]
    size = union.sum(1)
    moved = size > 0
    left, right, union, size = left[moved], right[moved], union[moved], size[moved]
    jaccards = (chosen[left] & chosen[right]).sum(1) / size
    # The union's features first, in their order: a row is as wide as the largest union and no wider.
    kept = np.argsort(~union, axis=1, kind="stable")[:, : size.max(initial=0)]
    real = np.take_along_axis(union, kept, 1)
    rhos = _spearmans(values[left[:, None], kept], values[right[:, None], kept], real)
    return jaccards, rhos[~np.isnan(rhos)]


def _spearmans(
    x: Float[np.ndarray, "pair row"], y: Float[np.ndarray, "pair row"], real: Bool[np.ndarray, "pair row"]
) -> Float64[np.ndarray, " pair"]:
    """Correlation of average ranks over what is real in each row, which stands in front; NaN where there is none."""
    if not real.size:
        return np.full(len(real), np.nan)
    ranks_x, ranks_y = _centred_ranks(x, real), _centred_ranks(y, real)
    size = np.sqrt((ranks_x**2).sum(1) * (ranks_y**2).sum(1))
    return np.divide((ranks_x * ranks_y).sum(1), size, out=np.full(len(real), np.nan), where=size > 0)


def _centred_ranks(
    x: Float[np.ndarray, "pair row"], real: Bool[np.ndarray, "pair row"]
) -> Float64[np.ndarray, "pair row"]:
    """Ranks minus their mean, ties sharing the average of their places; 0 where nothing is real."""
    padded = np.where(real, x, np.inf)
    order = np.argsort(padded, axis=1)  # equal values share their places, so any order of them will do
    ordered = np.take_along_axis(padded, order, 1)
    new = np.ones((len(x), x.shape[1] + 1), dtype=bool)
    new[:, 1:-1] = ordered[:, 1:] != ordered[:, :-1]
    place = np.arange(x.shape[1] + 1, dtype=np.int64)
    starts = np.maximum.accumulate(np.where(new, place, 0), axis=1)[:, :-1]
    ends = np.minimum.accumulate(np.where(new, place, x.shape[1])[:, ::-1], axis=1)[:, ::-1][:, 1:]
    ranks = np.empty(x.shape)
    np.put_along_axis(ranks, order, (starts + ends - real.sum(1, keepdims=True)) / 2, 1)
    return np.where(real, ranks, 0.0)
