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
from itertools import combinations

import numpy as np
from jaxtyping import Bool, Float, Float64, Int

from radiograph.core import Refusal, UserError
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
        found = [_agreement(rows, chosen, a, b) for a, b in combinations(range(len(group)), 2)]
        jaccards = [jaccard for jaccard, _ in found if jaccard is not None]
        spearmans = [rho for _, rho in found if rho is not None]
        pairs += len(jaccards)
        overlaps += [float(np.mean(jaccards))] if jaccards else []
        correlations += [float(np.mean(spearmans))] if spearmans else []
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
    ranks_x, ranks_y = _centred_ranks(x), _centred_ranks(y)
    size = float(np.sqrt((ranks_x @ ranks_x) * (ranks_y @ ranks_y)))
    return float(ranks_x @ ranks_y) / size if size > 0 else None


def _membership(sets: Sequence[Int[np.ndarray, " _"]], features: int) -> Bool[np.ndarray, "prompt feature"]:
    chosen = np.zeros((len(sets), features), dtype=bool)
    for row, indices in zip(chosen, sets, strict=True):
        row[indices] = True
    return chosen


def _agreement(
    values: Float64[np.ndarray, "prompt feature"], chosen: Bool[np.ndarray, "prompt feature"], a: int, b: int
) -> tuple[float | None, float | None]:
    union = np.flatnonzero(chosen[a] | chosen[b])
    if len(union) == 0:
        return None, None
    both = int(np.count_nonzero(chosen[a] & chosen[b]))
    return both / len(union), spearman(values[a, union], values[b, union])


def _centred_ranks(x: Float64[np.ndarray, " row"]) -> Float64[np.ndarray, " row"]:
    """Ranks minus their mean, ties sharing the average of their places."""
    order = np.argsort(x, kind="stable")
    ordered = x[order]
    first = np.ones(len(x), dtype=bool)
    first[1:] = ordered[1:] != ordered[:-1]
    starts = np.flatnonzero(first)
    ends = np.concatenate([starts[1:], [len(x)]])
    ranks = np.empty(len(x))
    ranks[order] = np.repeat((starts + ends - len(x)) / 2, ends - starts)
    return ranks
