"""Alignment: prompts by id, tokens by index or word; a file's order means nothing."""

from __future__ import annotations

import numpy as np
import pytest

from radiograph.core import UserError
from radiograph.numerics.matching import (
    Activations,
    pooled_by_unit,
    shared_prompts,
    shared_tokens,
    unit_places,
    word_spans,
    words_of,
)


def test_shared_prompts_come_in_the_order_of_their_ids():
    left, right = np.array(["p3", "p1", "p2"]), np.array(["p2", "p9", "p3"])
    found = shared_prompts(left, right)
    assert left[found.left].tolist() == right[found.right].tolist() == ["p2", "p3"]
    order = np.array([2, 0, 1])
    moved = shared_prompts(left[order], right)
    assert left[order][moved.left].tolist() == ["p2", "p3"]


def test_other_texts_and_double_ids_are_refused():
    ids = np.array(["a", "b", "c"])
    with pytest.raises(UserError, match=r"different texts under one prompt id(.|\n)*got: b"):
        shared_prompts(ids, ids, np.array(["1", "2", "3"]), np.array(["1", "x", "3"]))
    with pytest.raises(UserError, match=r"twice on one side(.|\n)*where: right(.|\n)*got: a"):
        shared_prompts(ids, np.array(["a", "b", "a"]))


def test_tokens_are_shared_as_far_as_both_sides_go():
    offsets = shared_tokens(np.array([3, 2]), np.array([2, 5]))
    assert offsets.tolist() == [0, 2, 4]
    rows = np.array([4, 1])  # shared prompt 0 is row 4, prompt 1 is row 1
    row, token = np.array([4, 4, 4, 1, 0, 1]), np.array([0, 1, 2, 1, 0, -1])
    assert unit_places(row, token, rows, offsets, 5).tolist() == [0, 1, -1, 3, -1, -1]


def test_words_hold_the_tokens_of_any_tokenizer():
    text = "  Un deux  trois"
    words = word_spans(text)
    assert [text[a:b] for a, b in words] == ["Un", "deux", "trois"]
    #                 special  " "     " U"    "n"     " de"   "ux"    "  tr"   "ois"    past the end
    tokens = np.array([[0, 0], [0, 1], [1, 3], [3, 4], [4, 7], [7, 9], [9, 13], [13, 16], [16, 17]])
    assert words_of(tokens, words).tolist() == [-1, -1, 0, 0, 1, 1, 2, 2, -1]
    assert words_of(tokens, word_spans("")).tolist() == [-1] * 9
    slow = [next((w for w, (a, b) in enumerate(words) if any(a <= c < b for c in range(*span))), -1) for span in tokens]
    assert words_of(tokens, words).tolist() == slow


def test_a_word_has_the_maximum_of_its_tokens_silent_ones_included():
    feature, unit = np.array([0, 0, 0, 1, 1, 0]), np.array([0, 0, 1, 1, 0, -1])
    value = np.array([1.0, 3.0, -2.0, -2.0, -1.0, 9.0])
    found = pooled_by_unit(feature, unit, value, np.array([2, 1]))
    assert list(zip(*(part.tolist() for part in found), strict=True)) == [
        (0, 0, 3.0),
        (0, 1, -2.0),
        (1, 0, 0.0),
        (1, 1, -2.0),
    ]
    mixed = np.random.default_rng(0).permutation(6)
    again = pooled_by_unit(feature[mixed], unit[mixed], value[mixed], np.array([2, 1]))
    assert all(np.array_equal(a, b) for a, b in zip(found, again, strict=True))
    table = Activations.of(found.feature, found.unit, found.value, features=2, units=2)
    assert table.active.tolist() == [2, 1]


def test_units_can_be_renamed_and_dropped():
    table = Activations.of_dense(np.array([[1.0, 0.0], [2.0, 3.0], [0.0, 4.0]]))
    assert table.on_units(np.array([1, -1, 0]), 2).dense(np.arange(2)).tolist() == [[0.0, 4.0], [1.0, 0.0]]
    assert table.of_features(np.array([1, 1])).dense(np.arange(2))[:, 0].tolist() == [0.0, 3.0, 4.0]
