"""Which feature of one model is which feature of another, and could it be chance?

1. Features active on 10 or more shared units on their side; the others are `few_active`. (On 128 units, at 2.5 %
   firing, the null's 95th percentile of the best correlation is 1: small samples cannot match sparse features.)
2. Similarity of all pairs (`_similarity`), best partner and runner-up of every feature, pairing one to one (`_search`).
3. p and q of every left feature's best match, groups of units moved as blocks (`_null`).
4. A match is q ≤ .05 *and* mutual: each is the other's best. Its margin is the similarity less that of the best rival,
   which shares one of its features; it is `ambiguous` if the margin may be 0 (`_intervals`).

Scores, margins and intervals are float64 of the pair; the search may use float32, whose rounding counts as a tie in the
null. Time O(n·m·units·(draws + 1)) where tables are dense, less where they are sparse.
Refuses: no shared unit, fewer than six groups, no feature active often enough on a side.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from radiograph.core import Refusal, UserError, derive
from radiograph.core.shapes import Bool, Float64, Int64, Integer
from radiograph.numerics.matching._activations import LEAST_ACTIVE, Activations, enough_active
from radiograph.numerics.matching._intervals import RESAMPLES, pair_intervals
from radiograph.numerics.matching._null import NullTest, null_test
from radiograph.numerics.matching._search import EXACT, Found, search
from radiograph.numerics.matching._similarity import Kind, Similarity

DRAWS, LEVEL = 20, 0.05


@dataclass(frozen=True, eq=False)
class Pairs:
    """Left and right features in the numbering of the caller."""

    left: Int64[np.ndarray, " pair"]
    right: Int64[np.ndarray, " pair"]

    def __len__(self) -> int:
        return len(self.left)


@dataclass(frozen=True, eq=False)
class Matches:
    """Everything that the comparison of two sides says; features in the numbering of the caller."""

    left: Int64[np.ndarray, " left"]
    """Left features that were compared."""
    right: Int64[np.ndarray, " right"]
    best: Int64[np.ndarray, " left"]
    """The right feature most like each left one."""
    score: Float64[np.ndarray, " left"]
    p: Float64[np.ndarray, " left"]
    q: Float64[np.ndarray, " left"]
    mutual: Bool[np.ndarray, " left"]
    margin: Float64[np.ndarray, " left"]
    """Over the best rival; NaN where neither feature has another partner."""
    matched: Bool[np.ndarray, " left"]
    low: Float64[np.ndarray, " left"]
    """95 % interval of the score; NaN where not matched."""
    high: Float64[np.ndarray, " left"]
    ambiguous: Bool[np.ndarray, " left"]
    """Matched, but the margin may be 0."""
    assigned: Int64[np.ndarray, " left"]
    """The right feature in the pairing one to one; −1 without."""
    few_active: tuple[int, int]
    """Features left out on either side."""
    draws: int
    q95: float
    """95th percentile of `null`."""
    null: Float64[np.ndarray, "draw left"]
    """Best matches by chance."""
    units: int
    groups: int

    @property
    def matches(self) -> Pairs:
        """The matches, largest score first."""
        rows = np.flatnonzero(self.matched)
        rows = rows[np.argsort(-self.score[rows], kind="stable")]
        return Pairs(self.left[rows], self.best[rows])

    @property
    def assigned_only(self) -> Pairs:
        """Pairs of the pairing one to one that are no matches."""
        rows = np.flatnonzero((self.assigned >= 0) & ~(self.matched & (self.assigned == self.best)))
        return Pairs(self.left[rows], self.assigned[rows])

    @property
    def left_only(self) -> Int64[np.ndarray, " feature"]:
        """Compared left features without a match."""
        return self.left[~self.matched]

    @property
    def right_only(self) -> Int64[np.ndarray, " feature"]:
        return np.setdiff1d(self.right, self.best[self.matched])


def match(
    left: Activations,
    right: Activations,
    groups: Integer[np.ndarray, " unit"],
    *,
    seed: int,
    similarity: Kind = "pearson",
    draws: int = DRAWS,
    level: float = LEVEL,
    least: int = LEAST_ACTIVE,
    exact: int = EXACT,
    resamples: int = RESAMPLES,
) -> Matches:
    """Compare two sides on shared units; `groups` names the group of each.

    Raises:
        UserError: the sides have unlike units.
        Refusal: `no_shared_units`, `few_groups`, `few_active`.
    """
    if not left.n_units == right.n_units == len(groups):
        raise UserError(
            "both sides and the groups are over the same shared units",
            got=f"{left.n_units} left, {right.n_units} right, {len(groups)} groups",
        )
    if not len(groups):
        raise Refusal("no_shared_units", "the two sides share no unit", fix="export both from one prompt file")
    ours, theirs = enough_active(left, least), enough_active(right, least)
    for side, kept, whole in (("left", ours, left.features), ("right", theirs, right.features)):
        if not len(kept):
            raise Refusal(
                "few_active",
                f"no {side} feature is active on enough shared units",
                expected=f"a feature active on {least} units or more",
                got=f"0 of {whole}, over {len(groups)} units",
                fix="match on more prompts, or per token",
            )
    pairs = Similarity.of(left.of_features(ours), right.of_features(theirs), similarity)
    found = search(pairs, exact=exact)
    score = pairs.exact(np.arange(len(ours)), found.left.places[:, 0])
    null = null_test(score, pairs, groups, seed=seed, draws=draws, level=level)
    excluded = (left.features - len(ours), right.features - len(theirs))
    return _judged(pairs, found, score, null, groups, (ours, theirs), excluded, level, seed, resamples)


def _judged(
    pairs: Similarity,
    found: Found,
    score: Float64[np.ndarray, " left"],
    null: NullTest,
    groups: Integer[np.ndarray, " unit"],
    features: tuple[Int64[np.ndarray, " left"], Int64[np.ndarray, " right"]],
    excluded: tuple[int, int],
    level: float,
    seed: int,
    resamples: int,
) -> Matches:
    ours, theirs = features
    n = len(ours)
    best = found.left.places[:, 0]
    mutual = found.right.places[best, 0] == np.arange(n)
    matched = mutual & (null.q <= level)
    rival = _rivals(found, best, mutual)
    margin = np.full(n, np.nan)
    known = rival[:, 0] >= 0
    margin[known] = score[known] - pairs.exact(rival[known, 0], rival[known, 1])
    low, high, ambiguous = np.full(n, np.nan), np.full(n, np.nan), np.zeros(n, dtype=bool)
    rows = np.flatnonzero(matched)
    if len(rows):
        seeded = derive(seed, "interval")
        low[rows], high[rows], ambiguous[rows] = pair_intervals(
            pairs, rows, best[rows], rival[rows, 0], rival[rows, 1], groups, seed=seeded, resamples=resamples
        )
    return Matches(
        left=ours,
        right=theirs,
        best=theirs[best],
        score=score,
        p=null.p,
        q=null.q,
        mutual=mutual,
        margin=margin,
        matched=matched,
        low=low,
        high=high,
        ambiguous=ambiguous,
        assigned=np.where(found.assigned >= 0, theirs[found.assigned], -1),
        few_active=excluded,
        draws=null.draws,
        q95=null.q95,
        null=null.null,
        units=len(groups),
        groups=len(np.unique(groups)),
    )


def _rivals(
    found: Found, best: Int64[np.ndarray, " left"], mutual: Bool[np.ndarray, " left"]
) -> Int64[np.ndarray, "left 2"]:
    """The best pair that shares a feature with (left, best): the runner-up of the left feature, or that of the right
    one (its best, where they are not mutual). −1 where there is none.
    """
    own, turn = np.arange(len(best)), np.where(mutual, 1, 0)
    here, there = found.left.scores[:, 1], found.right.scores[best, turn]
    by_left = np.stack([own, found.left.places[:, 1]], axis=1)
    by_right = np.stack([found.right.places[best, turn], best], axis=1)
    rival = np.where((here >= there)[:, None], by_left, by_right)
    rival[(rival < 0).any(axis=1)] = -1
    return rival
