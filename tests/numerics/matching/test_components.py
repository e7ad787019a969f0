"""Components beside the score: null where not comparable, percentiles against random pairs."""

from __future__ import annotations

import numpy as np
import pytest

from radiograph.core import UserError
from radiograph.numerics.matching import _components as module
from radiograph.numerics.matching import (
    component,
    decoder_cosine,
    firing_overlap,
    logit_correlation,
    nearest,
    text_similarity,
)

PAIRS = np.arange(6), np.arange(6)


def test_y3_12_missing_components_are_null():
    rng = np.random.default_rng(0)
    left, right = rng.normal(size=(6, 8)), rng.normal(size=(6, 8))
    assert decoder_cosine(left, right, "a1", "b2") is None
    assert decoder_cosine(left, right, None, None) is None
    assert decoder_cosine(left, right[:, :5], "a1", "a1") is None  # never cut to the shorter vector
    assert logit_correlation(left, right, list("abcdefgh"), list("abcdefgh")) is None  # 8 tokens
    assert text_similarity(["units of length", None], ["units", ""], ["Units of length"]) is None
    compare = decoder_cosine(np.vstack([left, np.zeros(8)]), right, "a1", "a1")
    assert compare is not None
    found = component(compare, np.array([6, 0]), np.array([0, 0]), (7, 6), seed=0)
    assert np.isnan(found.value[0]) and np.isnan(found.percentile[0]) and not np.isnan(found.percentile[1])


def test_cosines_and_correlations_are_those_by_hand():
    rng = np.random.default_rng(1)
    left, right = rng.normal(size=(6, 150)), rng.normal(size=(6, 140))
    cosine = decoder_cosine(left, left[::-1], "a1", "a1")
    assert cosine is not None
    expected = [a @ b / np.linalg.norm(a) / np.linalg.norm(b) for a, b in zip(left, left[::-1], strict=True)]
    assert cosine(*PAIRS) == pytest.approx(expected)
    names, others = [f"t{i}" for i in range(150)], [f"t{i}" for i in range(139, -1, -1)]
    logits = logit_correlation(left, right, names, others)
    assert logits is not None
    assert logits(*PAIRS) == pytest.approx([np.corrcoef(left[i, :140], right[i, ::-1])[0, 1] for i in range(6)])
    with pytest.raises(UserError, match="one logit effect for each token"):
        logit_correlation(left, right, names[:-1], others)


def test_firing_is_a_share_of_units():
    left = np.array([[1, 0, 0], [1, 1, 0], [0, 1, 0]], dtype=bool)
    overlap = firing_overlap(left, left)
    assert overlap(np.array([0, 0, 2]), np.array([0, 1, 2])).tolist()[:2] == [1.0, 1 / 3]
    assert np.isnan(overlap(np.array([2]), np.array([2]))[0])


def test_words_of_the_criterion_do_not_count():
    left = ["lengths in physical units, metres", "names of cities", None]
    right = ["physical units of weight", "cities in France", "metres and other lengths"]
    compare = text_similarity(left, right, ["mentions of physical units"])
    assert compare is not None
    one, two, none = compare(np.array([0, 1, 2]), np.array([0, 1, 1]))
    assert one == 0.0 and two > 0.3 and np.isnan(none)
    plain = text_similarity(left, right)
    assert plain is not None and plain(np.array([0]), np.array([0]))[0] > 0.2


def test_percentiles_of_unrelated_pairs_are_uniform_and_the_planted_pair_is_high():
    rng = np.random.default_rng(2)
    left, right = rng.normal(size=(200, 16)), rng.normal(size=(200, 16))
    right[:10] = left[:10] + 0.3 * rng.normal(size=(10, 16))
    compare = decoder_cosine(left, right, "a1", "a1")
    assert compare is not None
    every = np.arange(200)
    found = component(compare, every, every, (200, 200), seed=0)
    assert found.percentile[:10].min() > 0.99
    assert found.percentile[10:].mean() == pytest.approx(0.5, abs=0.07)
    again = component(compare, every, every, (200, 200), seed=0)
    assert np.array_equal(found.percentile, again.percentile)


def test_nearest_is_the_largest_cosine(monkeypatch):
    monkeypatch.setattr(module, "BLOCK", 5)
    rng = np.random.default_rng(3)
    left, right = rng.normal(size=(13, 4)), rng.normal(size=(11, 4))
    unit = [rows / np.linalg.norm(rows, axis=1, keepdims=True) for rows in (left, right)]
    table = unit[0] @ unit[1].T
    found = nearest(left, right)
    assert np.array_equal(found.place, table.argmax(axis=1))
    assert found.score == pytest.approx(table.max(axis=1))
    assert found.runner_up == pytest.approx(np.sort(table, axis=1)[:, -2])
    assert np.array_equal(found.mutual, table.argmax(axis=0)[found.place] == np.arange(13))
    with pytest.raises(UserError, match="one width"):
        nearest(left, right[:, :3])
