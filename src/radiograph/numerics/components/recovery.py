"""How well components recover a known truth: matching by importance, columns, live counts, patterns, and chance.

1. `importance` is [feature, component]: importance on one-hot inputs of .75. Features are matched to components on it
   (Hungarian), never by cosine: the best cosine to a column is .997 before any training in 2 dimensions
2. columns: what feature and component write (or read), [feature, width] and [feature, component, width]; cosine and
   norm ratio of matched ones, mean and worst   3. live: components whose importance exceeds .1 on some input
4. pattern errors at a tolerance t. `identity`: matched entries below 1 − t, plus others above t. `dense k`: of the
   components by mass, the first k without an entry of 1 − t or more, plus the others with one above t
5. MMCS and ML2R (best-cosine matching) are printed to compare with the papers, beside their value at step 0 and for
   random decompositions. A feature's column is sought among the components that are live on it: where components
   outnumber dimensions, one of norm near 0 often lies closest, and ML2R then measures nothing
Source: the metrics of attribution-based and stochastic parameter decomposition (2025), and the issue with them in 1.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from radiograph.core.shapes import Float, Int
from radiograph.numerics.dictionaries.assignment import assignment

LIVE = 0.1
TOLERANCES = (0.1, 0.2)


@dataclass(frozen=True, slots=True)
class Columns:
    """Matched columns against the truth."""

    cosine: float
    cosine_worst: float
    ratio: float
    """Norm of the component's column over that of the target's."""
    ratio_worst: float
    """The one furthest from 1."""
    mmcs: float
    ml2r: float


def matched(importance: Float[np.ndarray, "feature component"]) -> Int[np.ndarray, " feature"]:
    """The component of each feature; −1 for features beyond the number of components."""
    left, right = assignment(importance)
    found = np.full(len(importance), -1, dtype=np.int64)
    found[left] = right
    return found


def live(importance: Float[np.ndarray, "feature component"], threshold: float = LIVE) -> int:
    """Components whose importance exceeds a threshold on some input."""
    return int((importance > threshold).any(axis=0).sum())


def identity_errors(importance: Float[np.ndarray, "feature component"], tolerance: float) -> int:
    """Entries that are wrong where every feature should have one component of its own."""
    partner = matched(importance)
    own = np.zeros(importance.shape, dtype=bool)
    rows = np.flatnonzero(partner >= 0)
    own[rows, partner[rows]] = True
    missing = int((importance[own] < 1 - tolerance).sum()) + int((partner < 0).sum())
    return missing + int((importance[~own] > tolerance).sum())


def dense_errors(importance: Float[np.ndarray, "feature component"], parts: int, tolerance: float) -> int:
    """Components that are wrong where `parts` of them should serve all features."""
    order = np.argsort(-importance.sum(axis=0), kind="stable")
    tops = importance.max(axis=0)[order]
    return int((tops[:parts] < 1 - tolerance).sum()) + int((tops[parts:] > tolerance).sum()) + max(0, parts - len(tops))


def pattern_errors(
    importance: Float[np.ndarray, "feature component"],
    pattern: Literal["identity", "dense"],
    parts: int,
    tolerance: float,
) -> int:
    """Errors of either pattern."""
    if pattern == "identity":
        return identity_errors(importance, tolerance)
    return dense_errors(importance, parts, tolerance)


def columns(
    importance: Float[np.ndarray, "feature component"],
    truth: Float[np.ndarray, "feature width"],
    found: Float[np.ndarray, "feature component width"],
) -> Columns:
    """Columns of the matched components, and of those with the best cosine."""
    partner = matched(importance)
    rows = np.flatnonzero(partner >= 0)
    own = found[rows, partner[rows]]
    lengths = np.linalg.norm(truth[rows], axis=1)
    norms = np.linalg.norm(own, axis=1)
    cosines = (own * truth[rows]).sum(axis=1) / np.maximum(norms * lengths, 1e-30)
    ratios = norms / np.maximum(lengths, 1e-30)
    mmcs, ml2r = best_cosine(truth, found, importance)
    return Columns(
        float(cosines.mean()),
        float(cosines.min()),
        float(ratios.mean()),
        float(ratios[np.abs(ratios - 1).argmax()]),
        mmcs,
        ml2r,
    )


def best_cosine(
    truth: Float[np.ndarray, "feature width"],
    found: Float[np.ndarray, "feature component width"],
    importance: Float[np.ndarray, "feature component"] | None = None,
) -> tuple[float, float]:
    """MMCS and ML2R: mean over features of the best cosine, and of the norm ratio of the component that has it.

    With `importance`, among the components live on the feature; among all where none is.
    """
    lengths = np.linalg.norm(truth, axis=1)
    norms = np.linalg.norm(found, axis=2)
    cosines = np.einsum("fcw,fw->fc", found, truth) / np.maximum(norms * lengths[:, None], 1e-30)
    if importance is not None:
        used = importance > LIVE
        cosines = np.where(used | ~used.any(axis=1, keepdims=True), cosines, -2.0)
    best = cosines.argmax(axis=1)
    rows = np.arange(len(truth))
    return float(cosines[rows, best].mean()), float((norms[rows, best] / np.maximum(lengths, 1e-30)).mean())
