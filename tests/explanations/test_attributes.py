"""AUROC of features for attributes against counting pairs."""

from __future__ import annotations

import numpy as np
import pytest

from radiograph.explanations import Labelled, choose
from radiograph.explanations._attributes import MIN_POSITIVE, aurocs


def drawn(seed, tokens=150):
    rng = np.random.default_rng(seed)
    truth = (rng.random((tokens, 3)) < [0.4, 0.3, 0.02]).astype(float)
    activations = np.maximum(rng.normal(size=(tokens, 4)), 0).round(1)
    activations[:, 0] += 2 * truth[:, 1]
    return Labelled(activations, truth)


def pairs(activation, truth):
    """Share of (positive, negative) pairs that stand right, ties half."""
    wins = [(a > b) + (a == b) / 2 for a in activation[truth == 1] for b in activation[truth == 0]]
    return sum(wins) / len(wins)


def test_auroc_is_the_share_of_pairs_in_order():
    labelled = drawn(0)
    found = aurocs(labelled)
    for feature in range(4):
        for attribute in range(2):
            expected = pairs(labelled.activations[:, feature], labelled.truth[:, attribute])
            assert found[feature, attribute] == pytest.approx(expected)
    assert labelled.truth[:, 2].sum() < MIN_POSITIVE and np.isnan(found[:, 2]).all()


def test_what_was_chosen_must_hold_up_on_the_other_half():
    found = choose(drawn(0), drawn(1), floor=0.8)
    assert list(found) == [0] and found[0].attribute == 1
    labelled = drawn(1)
    assert found[0].scoring == pytest.approx(pairs(labelled.activations[:, 0], labelled.truth[:, 1]))
    broken = drawn(1)
    broken.activations[:, 0] = 0.0
    assert choose(drawn(0), broken, floor=0.8) == {}


def test_of_near_equals_the_wider_attribute_is_taken():
    rng = np.random.default_rng(0)
    wide = (rng.random(400) < 0.4).astype(float)
    narrow = wide * (rng.random(400) < 0.98)
    labelled = Labelled(wide[:, None] + rng.random((400, 1)) / 10, np.stack([narrow, wide], 1))
    assert choose(labelled, labelled, floor=0.9)[0].attribute == 1
