"""Whitened shifts, training rows and witnesses: each against a slow derivation, and against truth that was planted."""

from __future__ import annotations

import math
from collections import Counter
from itertools import combinations

import numpy as np
import pytest

from radiograph.core import Refusal, UserError
from radiograph.numerics import wilson
from radiograph.numerics.traces import (
    WitnessCounts,
    clusters,
    drop_z,
    enrichment,
    judge_witness,
    lens_scores,
    place_scores,
)


def slow_lens(x: np.ndarray) -> np.ndarray:
    """Every fit on its own, with the covariance as a matrix and its inverse."""
    scores = np.zeros(len(x))
    for i in range(len(x)):
        others = np.delete(x, i, axis=0)
        n, d = others.shape
        s = others.T @ others / n
        mu = np.trace(s) / d
        d2 = ((s - mu * np.eye(d)) ** 2).sum()
        b2 = sum(((np.outer(row, row) - s) ** 2).sum() for row in others) / n**2
        rho = min(1.0, b2 / d2)
        sigma = (1 - rho) * s + (rho + 1e-6) * mu * np.eye(d)
        scores[i] = x[i] @ np.linalg.inv(sigma) @ x[i] / d
    return scores


@pytest.mark.parametrize(("n", "d"), [(30, 5), (12, 40), (8, 8)])
def test_lens_equals_one_fit_a_model(n: int, d: int):
    rng = np.random.default_rng(n)
    x = rng.normal(size=(n, 3, d)) * rng.uniform(0.1, 3, size=d)
    found = place_scores(x)
    for place in range(3):
        np.testing.assert_allclose(found[:, place], slow_lens(x[:, place]), rtol=1e-8)
    np.testing.assert_array_equal(lens_scores(x), found.max(axis=1))


def test_lens_is_symmetric_scale_free_and_zero_at_rest():
    rng = np.random.default_rng(1)
    x = rng.normal(size=(15, 2, 6))
    order = rng.permutation(15)
    np.testing.assert_allclose(lens_scores(x)[order], lens_scores(x[order]), rtol=1e-9)
    np.testing.assert_allclose(lens_scores(7 * x), lens_scores(x), rtol=1e-9)
    turned, _ = np.linalg.qr(rng.normal(size=(6, 6)))
    np.testing.assert_allclose(lens_scores(x @ turned), lens_scores(x), rtol=1e-8)
    x[3] = 0
    assert lens_scores(x)[3] == 0


def test_lens_finds_a_small_shift_in_a_quiet_direction():
    """As long as the others, but where the others do not go."""
    rng = np.random.default_rng(2)
    scale = np.array([3.0] * 4 + [0.02] * 28)
    found = []
    for _ in range(20):
        x = rng.normal(size=(40, 1, 32)) * scale
        x[0, 0] = rng.normal(size=32) * scale * 0.5
        x[0, 0, 20] = 4.0
        found.append(int(lens_scores(x).argmax()))
    assert found.count(0) == 20


def test_a13_lens_scores_of_one_kind_are_exchangeable():
    rng = np.random.default_rng(3)
    ranks = []
    for _ in range(400):
        scores = lens_scores(rng.standard_t(4, size=(20, 2, 8)))
        ranks.append((scores >= scores[0]).sum() / 20)
    assert np.mean(np.array(ranks) <= 0.05) <= 0.05 + 2 * math.sqrt(0.05 * 0.95 / 400)


def test_lens_refuses():
    with pytest.raises(Refusal, match="2 models"):
        lens_scores(np.ones((2, 1, 3)))
    with pytest.raises(UserError, match="activation shift"):
        lens_scores(np.full((4, 1, 3), np.nan))
    alone = np.zeros((4, 1, 3))
    alone[1] = 1
    with pytest.raises(Refusal, match="no other model shifts"):
        lens_scores(alone)


def test_loss_drops_are_judged_among_rows_of_like_length():
    """Long rows all lose more; only a row that stands out among short rows is marked."""
    rng = np.random.default_rng(0)
    length = np.repeat([10, 100], 150)
    drop = np.where(length == 10, 0.1, 2.0) + rng.normal(0, 0.05, 300)
    drop[7] = 1.0
    z = drop_z(drop, length)
    assert z.argmax() == 7
    assert np.abs(np.delete(z, 7)).max() < 6
    own = drop[:150]
    assert z[7] == pytest.approx((1 - np.median(own)) / (1.4826 * np.median(np.abs(own - np.median(own)))))
    order = rng.permutation(300)
    np.testing.assert_array_equal(drop_z(drop[order], length[order]), z[order])
    assert (drop_z(np.ones(5), np.arange(5)) == 0).all()


def test_neighbours_in_length_are_the_nearest_ranks():
    rng = np.random.default_rng(6)
    length, drop = rng.permutation(400), rng.normal(size=400)
    for row in (0, 17, 203, 399):
        near = drop[np.argsort(np.abs(length - length[row]), kind="stable")[:50]]
        middle = np.median(near)
        own = (drop[row] - middle) / (1.4826 * np.median(np.abs(near - middle)))
        assert drop_z(drop, length)[row] == pytest.approx(own, abs=0.35)


def test_clusters_equal_all_pairs():
    rng = np.random.default_rng(4)
    rows = [list(rng.integers(0, 30, size=rng.integers(3, 40))) for _ in range(60)]
    for source in (3, 9, 9, 20):
        copy = list(rows[source])
        if len(copy) > 30:
            copy[-1] = 31
        rows.append(copy)
    long = list(range(100, 160))
    rows += [long, [*long[:-1], 7], [*long, 8], [5, 5]]
    found = clusters(rows)
    linked = {frozenset((i, j)) for i, j in combinations(range(len(rows)), 2) if _similar(rows[i], rows[j])}
    expected = list(range(len(rows)))
    for _ in rows:
        for i, j in map(sorted, linked):
            expected[j] = expected[i] = min(expected[i], expected[j])
    assert [int(list(found).index(c)) for c in found] == [expected.index(e) for e in expected]
    assert len(linked) >= 7


def _similar(one: list[int], two: list[int]) -> bool:
    a, b = ({tuple(r[i : i + 5]) for i in range(max(1, len(r) - 4))} for r in (one, two))
    return len(a & b) / len(a | b) >= 0.8


def test_enrichment_names_the_word_that_is_more_frequent():
    rng = np.random.default_rng(5)
    there = Counter(rng.integers(0, 50, 5000).tolist())
    here = Counter(rng.integers(0, 50, 2000).tolist())
    here[17] += 60
    z = enrichment(here, there)
    assert max(z, key=lambda t: z[t]) == 17
    assert z[17] > 5
    assert max(v for t, v in z.items() if t != 17) < 4
    assert enrichment(here, here)[3] == pytest.approx(0)


def test_witness_thresholds_are_those_of_the_page():
    assert judge_witness("trigger", WitnessCounts(20, 20, 0, 20)).confirmed
    assert not judge_witness("trigger", WitnessCounts(19, 19, 0, 19)).confirmed
    for hits in range(41):
        found = judge_witness("trigger", WitnessCounts(hits, 40, 0, 40))
        assert found.confirmed == (wilson(hits, 40).low >= 0.5 and hits >= 20)
    assert not judge_witness("trigger", WitnessCounts(40, 40, 21, 40)).confirmed
    assert judge_witness("trigger", WitnessCounts(38, 40, 0, 40), benign_largest=0.9).confirmed
    assert not judge_witness("trigger", WitnessCounts(38, 40, 0, 40), benign_largest=0.95).confirmed
    one = WitnessCounts(10, 10, 0, 300, p_holm=1e-9)
    assert judge_witness("prompt_set", one).confirmed
    assert not judge_witness("prompt_set", WitnessCounts(10, 10, 0, 300, p_holm=0.02)).confirmed
    assert not judge_witness("prompt_set", WitnessCounts(9, 9, 0, 300, p_holm=1e-9)).confirmed
    assert not judge_witness("prompt_set", WitnessCounts(10, 10, 0, 300)).confirmed
    assert judge_witness("unlock", WitnessCounts(30, 40, 2, 40, lost=40)).confirmed
    assert not judge_witness("unlock", WitnessCounts(30, 40, 2, 40, lost=20)).confirmed
    assert not judge_witness("unlock", WitnessCounts(30, 40, 20, 40, lost=40)).confirmed
    with pytest.raises(UserError, match="within their totals"):
        WitnessCounts(3, 2, 0, 1)
