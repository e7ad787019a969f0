"""How far length alone, or words alone, give a label away on rows that were not seen.

1. length: its direction is learned on one half (AUROC above or below ½), its AUROC measured on the other
2. words: multinomial naive Bayes with Laplace's rule, learned in one pass over one half; AUROC of the log odds on the
   other
3. both halves take both parts; the two AUROCs are averaged by their pairs of a positive and a negative row

Rank sums with mid-ranks; .5 is chance, and below it means that what one half taught is wrong on the other. None where
a half lacks a class. Halves must not share groups, or copies of a text are counted as knowledge.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from radiograph.core.shapes import Bool, Float64, Shaped
from radiograph.numerics._finite import finite


class Surface(NamedTuple):
    """Held-out AUROC of the two baselines."""

    length: float | None
    words: float | None


def surface_aurocs(
    texts: Sequence[Sequence[str]],
    lengths: Float64[np.ndarray, " row"],
    labels: Bool[np.ndarray, " row"],
    first: Bool[np.ndarray, " row"],
) -> Surface:
    """Both baselines; `texts` are lists of words, `first` says which half a row is in."""
    return Surface(length_auroc(lengths, labels, first), word_auroc(texts, labels, first))


def auroc(scores: Float64[np.ndarray, " row"], labels: Bool[np.ndarray, " row"]) -> float:
    """P(positive > negative) + ½·P(equal), both classes present."""
    from scipy.stats import rankdata  # pyright: ignore[reportUnknownVariableType, reportMissingTypeStubs]

    positive = int(labels.sum())
    pairs = positive * (len(labels) - positive)
    ranks = rankdata(finite(scores, "score"))
    return float((ranks[labels].sum() - positive * (positive + 1) / 2) / pairs)


def length_auroc(
    lengths: Float64[np.ndarray, " row"], labels: Bool[np.ndarray, " row"], first: Bool[np.ndarray, " row"]
) -> float | None:
    """The first baseline."""
    if not _both(labels, first):
        return None
    found = {half: auroc(lengths[first == half], labels[first == half]) for half in (True, False)}
    turned = {half: found[half] if found[not half] >= 0.5 else 1 - found[half] for half in found}
    return _pooled(turned, labels, first)


def word_auroc(
    texts: Sequence[Sequence[str]], labels: Bool[np.ndarray, " row"], first: Bool[np.ndarray, " row"]
) -> float | None:
    """The second baseline."""
    from scipy.sparse import csr_matrix  # pyright: ignore[reportMissingTypeStubs]

    if not _both(labels, first):
        return None
    number: dict[str, int] = {}
    columns = [number.setdefault(word, len(number)) for text in texts for word in text]
    starts = np.concatenate([[0], np.cumsum([len(text) for text in texts])])
    counts: Any = csr_matrix((np.ones(len(columns)), columns, starts), shape=(len(texts), max(1, len(number))))
    member = np.stack([labels, ~labels], axis=1).astype(np.float64)
    found: dict[bool, float] = {}
    for half in (True, False):
        taught: Shaped[np.ndarray, " row"] = first != half
        seen = np.asarray(counts.T @ (member * taught[:, None])) + 1.0
        odds = np.log(seen / seen.sum(axis=0))
        scores = np.asarray(counts @ (odds[:, 0] - odds[:, 1]))
        found[half] = auroc(scores[~taught], labels[~taught])
    return _pooled(found, labels, first)


def _both(labels: Bool[np.ndarray, " row"], first: Bool[np.ndarray, " row"]) -> bool:
    return all(bool((labels[first == half] == label).any()) for half in (True, False) for label in (True, False))


def _pooled(found: dict[bool, float], labels: Bool[np.ndarray, " row"], first: Bool[np.ndarray, " row"]) -> float:
    pairs = {half: float(labels[first == half].sum() * (~labels[first == half]).sum()) for half in found}
    return sum(found[half] * pairs[half] for half in found) / sum(pairs.values())
