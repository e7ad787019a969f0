"""Could so good a best match be chance? Groups of units are moved as blocks, and every best match is found again.

1. A draw pairs the groups of one side with those of the other at random, each group whole and in its order, so that
   units of one group keep what they share. Partners are of equal length, or of neighbouring lengths where fewer than
   ten groups have one; then a group is stretched to the length of its partner. Chained end to end they would come
   apart, and p ≤ .05 in a tenth of unrelated features. Moving left or right is the same pairing; here it is the left.
2. 20 draws of all best matches, pooled within deciles of left activity: a rarely active feature finds a good match by
   chance more easily. p = (1 + #{null ≥ observed})/(1 + n), n values in the pool.
3. Those pools end at p of about 1/(2 × left features), with which Benjamini and Hochberg can call ten matches, but not
   one. Features that no null value reached, if there are too few of them for the level, are drawn again, alone, as
   often as it takes, pooled within their decile. The choice looked at the old draws alone, so the new p is honest.

Refuses fewer than six groups: their orders are too few.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from radiograph.core import Refusal, derive
from radiograph.core.shapes import Bool, Float, Float64, Int64, Integer
from radiograph.numerics.matching._similarity import ROUNDING, Similarity
from radiograph.numerics.multiplicity import q_values

FEWEST_GROUPS = 6
DECILES = 10
_CLASS = 10
"""Groups that may change places with each other, at least."""
_FINE = 2
"""The second draws reach p of level/_FINE × calls/features."""


@dataclass(frozen=True, eq=False)
class NullTest:
    """How good best matches are by chance."""

    p: Float64[np.ndarray, " left"]
    q: Float64[np.ndarray, " left"]
    """Benjamini and Hochberg over left features."""
    q95: float
    """95th percentile of `null`."""
    null: Float64[np.ndarray, "draw left"]
    """Best matches of the first draws."""
    draws: int
    redrawn: Bool[np.ndarray, " left"]


def block_orders(
    groups: Integer[np.ndarray, " unit"], draws: int, seed: int
) -> Iterator[Int64[np.ndarray, "draw unit"]]:
    """The unit whose value each unit takes when groups change places, in chunks of draws.

    Raises:
        Refusal: fewer than six groups (`few_groups`).
    """
    names, codes, sizes = np.unique(groups, return_inverse=True, return_counts=True)
    if len(names) < FEWEST_GROUPS:
        raise Refusal(
            "few_groups",
            "too few groups of units to tell a match from chance",
            expected=f"{FEWEST_GROUPS} or more",
            got=str(len(names)),
        )
    generator = np.random.default_rng(seed)
    classes = _classes(sizes)
    order, starts = np.argsort(codes, kind="stable"), np.cumsum(sizes) - sizes
    place = np.empty(len(groups), dtype=np.int64)
    place[order] = np.arange(len(groups)) - np.repeat(starts, sizes)
    step = max(1, (1 << 22) // len(groups))
    for start in range(0, draws, step):
        luck = generator.random((min(step, draws - start), len(names)))
        partners = np.empty(luck.shape, dtype=np.int64)
        partners[:, np.argsort(classes, kind="stable")] = np.argsort(classes + luck, axis=1)
        partner = partners[:, codes]
        yield order[starts[partner] + (2 * place + 1) * sizes[partner] // (2 * sizes[codes])].astype(np.int64)


def null_test(
    observed: Float64[np.ndarray, " left"],
    similarity: Similarity,
    groups: Integer[np.ndarray, " unit"],
    *,
    seed: int,
    draws: int,
    level: float,
) -> NullTest:
    """The p of every left feature's best match.

    Raises:
        Refusal: fewer than six groups (`few_groups`).
    """
    n = len(observed)
    orders = block_orders(groups, draws, derive(seed, "null"))
    null = np.concatenate([similarity.best_of_draws(sources) for sources in orders])
    decile = _deciles(similarity.left.table.active)
    p = np.empty(n)
    for d in range(DECILES):
        mine = np.flatnonzero(decile == d)
        p[mine] = _pooled_p(observed[mine], null[:, mine].ravel())
    redrawn = np.zeros(n, dtype=bool)
    smallest = 1 / (1 + draws * np.bincount(decile, minlength=DECILES)[decile])
    again = (p <= smallest * (1 + 1e-9)) & (q_values(p) > level)
    # Features already called need no finer p, but count among the calls.
    calls = int((p <= smallest * (1 + 1e-9)).sum())
    for d in np.unique(decile[again]):
        mine = np.flatnonzero(again & (decile == d))
        wanted = int(np.ceil(_FINE * n / (level * calls * len(mine))))
        if wanted <= draws:
            continue
        values = _again(similarity, mine, groups, wanted, derive(seed, "again", int(d)))
        p[mine], redrawn[mine] = _pooled_p(observed[mine], values), True
    return NullTest(p, q_values(p), float(np.quantile(null, 0.95)), null, draws, redrawn)


def _again(
    similarity: Similarity,
    chosen: Int64[np.ndarray, " chosen"],
    groups: Integer[np.ndarray, " unit"],
    draws: int,
    seed: int,
) -> Float64[np.ndarray, " value"]:
    """Best matches of a few left features over many draws."""
    few = similarity.of_left(similarity.left.of_features(chosen))
    found = [few.best_of_draws(sources).ravel() for sources in block_orders(groups, draws, seed)]
    return np.concatenate(found)


def _classes(sizes: Integer[np.ndarray, " group"]) -> Int64[np.ndarray, " group"]:
    """Groups that may be partners: ten or more of one size, or of neighbouring ones."""
    lengths, counts = np.unique(sizes, return_counts=True)
    number, held, classes = 0, 0, np.zeros(len(lengths), dtype=np.int64)
    for place, count in enumerate(counts.tolist()):
        classes[place] = number
        held += count
        if held >= _CLASS:
            number, held = number + 1, 0
    # What is left at the end is too few for a class of its own.
    return np.minimum(classes, max(number - 1, 0))[np.searchsorted(lengths, sizes)]


def _deciles(active: Int64[np.ndarray, " left"]) -> Int64[np.ndarray, " left"]:
    """0 for the least active tenth; equal activity, equal decile."""
    edges = np.quantile(active, np.arange(1, DECILES) / DECILES)
    return np.searchsorted(edges, active, side="left").astype(np.int64)


def _pooled_p(
    observed: Float64[np.ndarray, " feature"], null: Float[np.ndarray, " value"]
) -> Float64[np.ndarray, " feature"]:
    ordered = np.sort(null)
    reached = len(ordered) - np.searchsorted(ordered, observed - ROUNDING, side="left")
    return (1 + reached) / (1 + len(ordered))
