"""The same places in the records of two models: prompts by their id, tokens by index or by the word they lie in.

1. Prompts are shared if both sides hold the id; their text hashes must be equal. Shared prompts are put in the order of
   their ids, so the order of a file means nothing.
2. Same tokenizer: token i of a prompt is token i of the other. A prompt cut short on one side is shared as far as both
   go.
3. Other tokenizers: whitespace words. A token belongs to the word that holds its first character that is not
   whitespace; the value of a word is the maximum over its tokens, those not listed counting as 0.

Refuses: one id twice on a side, different texts under one id.
"""

from __future__ import annotations

import re
from typing import NamedTuple

import numpy as np

from radiograph.core import UserError
from radiograph.core.shapes import Float, Float64, Int64, Integer, Shaped

_SHOWN = 5


class Shared(NamedTuple):
    """Rows that both sides hold, in the order of their ids."""

    left: Int64[np.ndarray, " shared"]
    """Place of each in the left table."""
    right: Int64[np.ndarray, " shared"]


class Pooled(NamedTuple):
    """One value for each feature and unit."""

    feature: Int64[np.ndarray, " entry"]
    unit: Int64[np.ndarray, " entry"]
    value: Float64[np.ndarray, " entry"]


def shared_prompts(
    left_ids: Shaped[np.ndarray, " left"],
    right_ids: Shaped[np.ndarray, " right"],
    left_texts: Shaped[np.ndarray, " left"] | None = None,
    right_texts: Shaped[np.ndarray, " right"] | None = None,
) -> Shared:
    """Prompts under one id; `texts` are their hashes, compared where both sides have them.

    Raises:
        UserError: an id twice on one side, or different texts under one id.
    """
    for side, ids in (("left", left_ids), ("right", right_ids)):
        names, counts = np.unique(ids, return_counts=True)
        if (counts > 1).any():
            raise UserError(
                "a prompt id stands twice on one side",
                where=side,
                got=_named(names[counts > 1]),
                fix="give every prompt an id of its own",
                code="duplicate_prompt",
            )
    names, left, right = np.intersect1d(left_ids, right_ids, assume_unique=True, return_indices=True)
    if left_texts is not None and right_texts is not None:
        other = left_texts[left] != right_texts[right]
        if other.any():
            raise UserError(
                "different texts under one prompt id",
                got=_named(names[other]),
                expected="the same prompts on both sides",
                fix="export both sides from one prompt file",
                code="text_mismatch",
            )
    return Shared(left.astype(np.int64), right.astype(np.int64))


def shared_tokens(
    left_counts: Integer[np.ndarray, " shared"], right_counts: Integer[np.ndarray, " shared"]
) -> Int64[np.ndarray, " offset"]:
    """Where the units of each shared prompt begin: as many tokens as the shorter side has."""
    return np.concatenate([[0], np.cumsum(np.minimum(left_counts, right_counts))]).astype(np.int64)


def unit_places(
    row: Integer[np.ndarray, " entry"],
    item: Integer[np.ndarray, " entry"],
    rows: Integer[np.ndarray, " shared"],
    offsets: Int64[np.ndarray, " offset"],
    n_rows: int,
) -> Int64[np.ndarray, " entry"]:
    """The unit of each entry from its row and its token or word there; −1 where it is not shared.

    `rows` are the rows of this side in shared order, `offsets` where their units begin.
    """
    shared = np.full(n_rows, -1, dtype=np.int64)
    shared[rows] = np.arange(len(rows))
    prompt = shared[row]
    unit = offsets[prompt] + item
    return np.where((prompt >= 0) & (item >= 0) & (unit < offsets[prompt + 1]), unit, -1)


def word_spans(text: str) -> Int64[np.ndarray, "word 2"]:
    """First character and end of every whitespace word."""
    return np.array([match.span() for match in re.finditer(r"\S+", text)], dtype=np.int64).reshape(-1, 2)


def words_of(
    offsets: Integer[np.ndarray, "token 2"], words: Int64[np.ndarray, "word 2"]
) -> Int64[np.ndarray, " token"]:
    """The word of each token from character offsets; −1 for whitespace and for tokens without characters."""
    if not len(words):
        return np.full(len(offsets), -1, dtype=np.int64)
    word = np.searchsorted(words[:, 1], offsets[:, 0], side="right")
    near = np.minimum(word, len(words) - 1)
    inside = (word < len(words)) & (words[near, 0] < offsets[:, 1]) & (offsets[:, 0] < offsets[:, 1])
    return np.where(inside, near, -1).astype(np.int64)


def pooled_by_unit(
    feature: Integer[np.ndarray, " entry"],
    unit: Integer[np.ndarray, " entry"],
    value: Float[np.ndarray, " entry"],
    tokens: Integer[np.ndarray, " unit"],
) -> Pooled:
    """Maximum over the tokens of each unit; `tokens` says how many it has, and those without an entry are 0."""
    kept = unit >= 0
    key = feature[kept].astype(np.int64) * len(tokens) + unit[kept]
    order = np.argsort(key, kind="stable")
    key, amounts = key[order], value[kept][order].astype(np.float64)
    if not len(key):
        return Pooled(key, key, amounts)
    starts = np.flatnonzero(np.concatenate([[True], key[1:] != key[:-1]]))
    largest = np.maximum.reduceat(amounts, starts)
    place = key[starts] % len(tokens)
    listed = np.diff(np.append(starts, len(key)))
    largest = np.where(listed < tokens[place], np.maximum(largest, 0.0), largest)
    return Pooled(key[starts] // len(tokens), place, largest)


def _named(ids: Shaped[np.ndarray, " id"]) -> str:
    rest = f", and {len(ids) - _SHOWN} more" if len(ids) > _SHOWN else ""
    return ", ".join(str(i) for i in ids[:_SHOWN].tolist()) + rest
