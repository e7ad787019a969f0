"""Can a factor be told from the words alone, on cores that were not seen?

1. Word counts; words that stand in one core only, or in one text, cannot help and are left out.
2. Multinomial naive Bayes with Laplace's rule, trained on every core but one, tested on that one, for each core;
   balanced accuracy = mean over labels of the share found.
3. The same with labels permuted inside cores, 99 times, seeded: the null.
4. It leaks when the accuracy is above the null's 95 % quantile and above chance (1 / labels) + .15. The words that tell
   most are those of highest mutual information between "is in the text" and the label.

For a factor that is made of wording (question against order) a leak is the design; for one that is not, a contrast of
its levels is a contrast of these words. Needs two cores and two labels.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from radiograph.core.shapes import Bool, Float32, Float64, Int
from radiograph.numerics.design.confounds import Labelling

MARGIN = 0.15
PERMUTATIONS = 99
_VOCABULARY = 2_000
"""Most words that are looked at, the most frequent first."""
_SHOWN = 8


@dataclass(frozen=True)
class Leak:
    """How well words alone give the label away."""

    accuracy: float
    null: float
    """95 % quantile under permutation."""
    chance: float
    n: int
    words: tuple[str, ...]

    @property
    def leaks(self) -> bool:
        """Whether the wording gives it away."""
        return self.accuracy > self.null and self.accuracy > self.chance + MARGIN


def wording_leak(texts: Sequence[Sequence[str]], labelling: Labelling, *, seed: int) -> Leak | None:
    """Judge one factor; strata are the cores. None with fewer than two cores, two labels or two shared words."""
    cores = np.unique(np.array([str(s) for s in labelling.strata]), return_inverse=True)[1]
    vocabulary = _vocabulary(texts, cores)
    if cores.max() < 1 or labelling.levels < 2 or len(vocabulary) < 2 or not labelling.movable:
        return None
    counts = _counted(texts, vocabulary)
    parts = [(rows, counts[rows]) for rows in (np.flatnonzero(cores == c) for c in range(int(cores.max()) + 1))]
    observed = _accuracy(parts, labelling.codes, labelling.levels)
    null = [
        _accuracy(parts, labels[labelling.blocks], labelling.levels)
        for chunk in labelling.permuted(PERMUTATIONS, seed)
        for labels in chunk
    ]
    information = _information(counts > 0, labelling.codes, labelling.levels)
    best = np.argsort(-information, kind="stable")[:_SHOWN]
    telling = tuple(vocabulary[int(i)] for i in best.tolist() if information[i] > 0)
    return Leak(observed, float(np.quantile(null, 0.95)), 1 / labelling.levels, len(texts), telling)


def _vocabulary(texts: Sequence[Sequence[str]], cores: Int[np.ndarray, " row"]) -> list[str]:
    where: dict[str, set[int]] = {}
    for text, core in zip(texts, cores, strict=True):
        for word in text:
            where.setdefault(word, set()).add(int(core))
    frequency = Counter(word for text in texts for word in set(text))
    shared = [word for word, own in where.items() if len(own) > 1]
    return sorted(shared, key=lambda word: (-frequency[word], word))[:_VOCABULARY]


def _counted(texts: Sequence[Sequence[str]], vocabulary: Sequence[str]) -> Float32[np.ndarray, "row word"]:
    column = {word: i for i, word in enumerate(vocabulary)}
    counts = np.zeros((len(texts), len(vocabulary)), dtype=np.float32)
    for row, text in enumerate(texts):
        for word in text:
            if word in column:
                counts[row, column[word]] += 1
    return counts


def _accuracy(
    parts: Sequence[tuple[Int[np.ndarray, " own"], Float32[np.ndarray, "own word"]]],
    labels: Int[np.ndarray, " row"],
    levels: int,
) -> float:
    """Balanced accuracy, each core (its rows, their counts) predicted from the others."""
    member = np.equal.outer(np.arange(levels), labels).astype(np.float32)
    own = [member[:, rows] @ counts for rows, counts in parts]
    total, size = sum(own), np.bincount(labels, minlength=levels)
    predicted = np.empty_like(labels)
    for (rows, counts), spoken in zip(parts, own, strict=True):
        seen = total - spoken + 1
        likelihood = np.log(seen) - np.log(seen.sum(axis=1, keepdims=True))
        prior = np.log(np.maximum(size - np.bincount(labels[rows], minlength=levels), 1e-9))
        predicted[rows] = np.argmax(counts @ likelihood.T + prior, axis=1)
    found = np.bincount(labels, weights=predicted == labels, minlength=levels)
    return float((found[size > 0] / size[size > 0]).mean())


def _information(
    present: Bool[np.ndarray, "row word"], labels: Int[np.ndarray, " row"], levels: int
) -> Float64[np.ndarray, " word"]:
    """Mutual information of "the word is in the text" and the label, in nats."""
    n = len(labels)
    member = np.equal.outer(np.arange(levels), labels).astype(np.float64)
    label_share = member.sum(axis=1, keepdims=True) / n
    total = np.zeros(present.shape[1])
    for there in (present, ~present):
        joint = (member @ there) / n
        expected = label_share * there.mean(axis=0)
        safe = np.where(joint > 0, joint, 1.0) / np.where(joint > 0, expected, 1.0)
        total += (joint * np.log(safe)).sum(axis=0)
    return total
