"""What else two features share, beside the similarity of their activations: never mixed into it.

1. `decoder`: cosine of write directions, only in one basis: equal width and shared origin. `logits`: correlation of
   the effects on a shared vocabulary, of 100 tokens or more. `firing`: units where both are active over units where
   either is. `text`: cosine of tf-idf over the words of two explanations, those of the criterion and its templates left
   out.
2. Each value comes with its null percentile: the share of pairs of random features whose value is smaller, equal ones
   counting half, over 10,000 pairs.
3. What cannot be compared is None: never ½, never cut to the shorter vector. One pair without it (no explanation, a
   direction of length 0) is NaN there.
4. Without shared units the structural components alone find pairs: `nearest` gives each row its best partner, mutual or
   not. They have no null of exchange, and their kind is `structural`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Sequence
from typing import Any, NamedTuple, cast

import numpy as np

from radiograph.core import UserError
from radiograph.core.shapes import Bool, Float, Float64, Int64, Integer
from radiograph.numerics._finite import finite
from radiograph.numerics.matching._similarity import BLOCK

FEWEST_TOKENS = 100
RANDOM_PAIRS = 10_000
Places = Integer[np.ndarray, " pair"]
Compare = Callable[[Places, Places], Float64[np.ndarray, " pair"]]


class Component(NamedTuple):
    """One line of a fingerprint, for each pair."""

    value: Float64[np.ndarray, " pair"]
    percentile: Float64[np.ndarray, " pair"]
    """Share of random pairs below it, 0 to 1."""


class Nearest(NamedTuple):
    """The best partner of every left row."""

    place: Int64[np.ndarray, " left"]
    score: Float64[np.ndarray, " left"]
    mutual: Bool[np.ndarray, " left"]
    runner_up: Float64[np.ndarray, " left"]
    """−∞ where there is one right row."""


def component(
    compare: Compare,
    left: Places,
    right: Places,
    sizes: tuple[int, int],
    *,
    seed: int,
    random_pairs: int = RANDOM_PAIRS,
) -> Component:
    """Values of these pairs and where they stand among pairs of random features; `sizes` are those of both sides."""
    value = compare(left, right)
    generator = np.random.default_rng(seed)
    null = compare(generator.integers(0, sizes[0], random_pairs), generator.integers(0, sizes[1], random_pairs))
    null = np.sort(null[~np.isnan(null)])
    if not len(null):
        return Component(value, np.full(len(value), np.nan))
    # Products of equal rows differ in their last digits.
    below = np.searchsorted(null, value - 1e-9, side="left")
    reached = np.searchsorted(null, value + 1e-9, side="right")
    return Component(value, np.where(np.isnan(value), np.nan, (below + reached) / (2 * len(null))))


def decoder_cosine(
    left: Float[np.ndarray, "left width"],
    right: Float[np.ndarray, "right other"],
    left_basis: str | None,
    right_basis: str | None,
) -> Compare | None:
    """Cosine of write directions; None unless both name the same basis and have its width."""
    if left_basis is None or left_basis != right_basis or left.shape[1] != right.shape[1]:
        return None
    return _cosines(finite(left, "left directions"), finite(right, "right directions"))


def logit_correlation(
    left: Float[np.ndarray, "left token"],
    right: Float[np.ndarray, "right other"],
    left_vocabulary: Sequence[str],
    right_vocabulary: Sequence[str],
) -> Compare | None:
    """Correlation of logit effects over the tokens that both vocabularies hold; None under 100.

    Raises:
        UserError: a vocabulary is not as long as its rows.
    """
    for side, table, names in (("left", left, left_vocabulary), ("right", right, right_vocabulary)):
        if table.shape[1] != len(names):
            raise UserError(
                "one logit effect for each token of the vocabulary",
                where=side,
                got=f"{table.shape[1]} and {len(names)}",
            )
    theirs = {token: place for place, token in enumerate(right_vocabulary)}
    shared = [(place, theirs[token]) for place, token in enumerate(left_vocabulary) if token in theirs]
    if len(shared) < FEWEST_TOKENS:
        return None
    one, two = np.array(shared).T
    a, b = finite(left[:, one], "left logit effects"), finite(right[:, two], "right logit effects")
    return _cosines(a - a.mean(axis=1, keepdims=True), b - b.mean(axis=1, keepdims=True))


def firing_overlap(left: Bool[np.ndarray, "unit left"], right: Bool[np.ndarray, "unit right"]) -> Compare:
    """Units where both are active over units where either is; NaN where neither ever is."""

    def compare(one: Places, two: Places) -> Float64[np.ndarray, " pair"]:
        parts = np.array_split(np.arange(len(one)), max(1, len(one) * len(left) // (1 << 24)))
        both = np.concatenate([(left[:, one[i]] & right[:, two[i]]).sum(axis=0) for i in parts])
        either = left.sum(axis=0)[one] + right.sum(axis=0)[two] - both
        return np.where(either > 0, both / np.maximum(either, 1), np.nan)

    return compare


def text_similarity(
    left: Sequence[str | None], right: Sequence[str | None], without: Collection[str] = ()
) -> Compare | None:
    """Cosine of tf-idf vectors of explanations; `without` are texts whose words do not count. None if no word is left.

    Rare words weigh more: idf = log((1 + texts)/(1 + texts with the word)) + 1, over both sides.
    """
    from scipy import sparse  # pyright: ignore[reportMissingTypeStubs]

    dropped = {word for text in without for word in _words(text)}
    texts = [[word for word in _words(text or "") if word not in dropped] for text in (*left, *right)]
    vocabulary = {word: place for place, word in enumerate(sorted({word for text in texts for word in text}))}
    if not vocabulary:
        return None
    row = np.repeat(np.arange(len(texts)), [len(text) for text in texts])
    column = np.array([vocabulary[word] for text in texts for word in text], dtype=np.int64)
    table: Any = (
        cast(Any, sparse).coo_matrix((np.ones(len(row)), (row, column)), shape=(len(texts), len(vocabulary))).tocsr()
    )
    table.sum_duplicates()
    found = np.bincount(table.indices, minlength=len(vocabulary))
    table = table.multiply(np.log((1 + len(texts)) / (1 + found)) + 1).tocsr()
    size = np.sqrt(np.asarray(table.multiply(table).sum(axis=1)).ravel())
    ours: Any = table[: len(left)]
    theirs: Any = table[len(left) :]

    def compare(one: Places, two: Places) -> Float64[np.ndarray, " pair"]:
        product = np.asarray(ours[one].multiply(theirs[two]).sum(axis=1)).ravel()
        length = size[one] * size[len(left) + two]
        return np.where(length > 0, product / np.where(length > 0, length, 1.0), np.nan)

    return compare


def nearest(left: Float[np.ndarray, "left width"], right: Float[np.ndarray, "right other"]) -> Nearest:
    """Best partner of every left row by cosine, a block at a time; a row of length 0 is like nothing.

    Raises:
        UserError: a side is empty, or widths differ.
    """
    if not len(left) or not len(right) or left.shape[1] != right.shape[1]:
        raise UserError("partners need rows of one width on both sides", got=f"{left.shape} and {right.shape}")
    one, two = _unit(finite(left, "left rows"))[0], _unit(finite(right, "right rows"))[0]
    place, score = np.zeros(len(one), dtype=np.int64), np.full(len(one), -np.inf)
    runner_up = np.full(len(one), -np.inf)
    back, back_score = np.zeros(len(two), dtype=np.int64), np.full(len(two), -np.inf)
    for first in range(0, len(one), BLOCK):
        rows = slice(first, first + BLOCK)
        for r in range(0, len(two), BLOCK):
            columns = slice(r, r + BLOCK)
            block = one[rows] @ two[columns].T
            top, own = block.max(axis=0), back_score[columns]
            back[columns] = np.where(top > own, block.argmax(axis=0) + first, back[columns])
            back_score[columns] = np.maximum(top, own)
            at = block.argmax(axis=1)
            best = block[np.arange(len(block)), at]
            block[np.arange(len(block)), at] = -np.inf
            own = score[rows]
            runner_up[rows] = np.maximum.reduce([runner_up[rows], block.max(axis=1), np.minimum(best, own)])
            place[rows] = np.where(best > own, at + r, place[rows])
            score[rows] = np.maximum(best, own)
    return Nearest(place, score, back[place] == np.arange(len(one)), runner_up)


def _cosines(left: Float64[np.ndarray, "left width"], right: Float64[np.ndarray, "right width"]) -> Compare:
    (one, live_one), (two, live_two) = _unit(left), _unit(right)

    def compare(a: Places, b: Places) -> Float64[np.ndarray, " pair"]:
        parts = np.array_split(np.arange(len(a)), max(1, len(a) * one.shape[1] // (1 << 22)))
        value = np.concatenate([np.einsum("pw,pw->p", one[a[i]], two[b[i]]) for i in parts])
        return np.where(live_one[a] & live_two[b], value, np.nan)

    return compare


def _unit(
    rows: Float64[np.ndarray, "row width"],
) -> tuple[Float64[np.ndarray, "row width"], Bool[np.ndarray, " row"]]:
    """Rows of length 1, and which of them have a length at all."""
    length = np.sqrt(np.einsum("rw,rw->r", rows, rows))
    return rows / np.where(length > 0, length, 1.0)[:, None], length > 0


def _words(text: str) -> list[str]:
    return re.findall(r"\w+", text.casefold())
