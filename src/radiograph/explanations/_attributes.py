"""Which attribute of a token does a feature fire on? Chosen on one half of the documents, scored on the other.

AUROC of the activation for the attribute, ties at mid-rank: A = (R+ - P(P+1)/2) / (P N), with R+ the rank sum of the P
positive tokens among P + N. Zeros are measured values and share one mid-rank; nothing is left out for being silent.
All features and attributes at once: rank sums are one matrix product.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from radiograph.core.shapes import Float, Float64

MIN_POSITIVE = 20
"""Tokens that an attribute needs in each half."""
NEAR_BEST = 0.02
"""Attributes this close to the best AUROC compete by how many tokens they cover: a class is preferred to one word."""


@dataclass(frozen=True)
class Labelled:
    """Activations of tokens, and which attributes each token has."""

    activations: Float[np.ndarray, "token feature"]
    truth: Float64[np.ndarray, "token attribute"]


@dataclass(frozen=True)
class Choice:
    """The attribute that one feature goes with best."""

    attribute: int
    choosing: float
    """AUROC on the half that chose."""
    scoring: float
    """AUROC on the half that did not."""
    n_positive: int
    n: int


def aurocs(labelled: Labelled) -> Float64[np.ndarray, "feature attribute"]:
    """AUROC of every feature for every attribute; NaN with too few positive or negative tokens."""
    from scipy.stats import rankdata

    ranks = rankdata(labelled.activations, axis=0)
    positive = labelled.truth.sum(axis=0)
    negative = len(labelled.truth) - positive
    enough = np.minimum(positive, negative) >= MIN_POSITIVE
    pairs = np.where(enough, positive * negative, np.nan)
    return (ranks.T @ labelled.truth - positive * (positive + 1) / 2) / pairs


def choose(choosing: Labelled, scoring: Labelled, floor: float) -> dict[int, Choice]:
    """The best attribute of every feature that holds up on the other half; features without one are absent."""
    first, second = aurocs(choosing), aurocs(scoring)
    usable = np.where(np.isnan(first) | np.isnan(second), -np.inf, first)
    near = usable >= usable.max(axis=1, keepdims=True) - NEAR_BEST
    best = np.where(near, choosing.truth.sum(axis=0), -1).argmax(axis=1)
    found: dict[int, Choice] = {}
    for feature, attribute in enumerate(best):
        held = float(second[feature, attribute])
        if usable[feature, attribute] >= floor and held >= floor:
            positive = int(scoring.truth[:, attribute].sum())
            seen = float(first[feature, attribute])
            found[feature] = Choice(int(attribute), seen, held, positive, len(scoring.truth))
    return found
