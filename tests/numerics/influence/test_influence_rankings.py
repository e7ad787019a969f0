"""Rankings, recall, LDS, word overlap, layouts."""

from __future__ import annotations

import math

import numpy as np
import pytest

from radiograph.core import Refusal
from radiograph.numerics.influence import Layout, bm25, cut, lds, orthonormal, ranked, ranks, recall_at


def test_ranks_break_ties_by_the_order_given():
    scores = np.array([1.0, 3.0, 1.0, 2.0])
    assert ranked(scores).tolist() == [1, 3, 0, 2]
    assert ranked(scores, np.array([3, 1, 0, 2])).tolist() == [1, 3, 2, 0]
    assert ranks(scores).tolist() == [3, 1, 4, 2]


def test_recall_counts_the_known_among_the_highest():
    scores = np.array([5.0, 4.0, 3.0, 2.0, 1.0])
    assert recall_at(scores, [0, 1]) == 1.0
    assert recall_at(scores, [0, 4]) == 0.5
    assert recall_at(scores, [4], k=5) == 1.0
    with pytest.raises(Refusal, match="known"):
        recall_at(scores, [])


def test_lds_of_a_linear_world_is_one_and_of_noise_covers_zero():
    draw = np.random.default_rng(0)
    scores, kept = draw.standard_normal((40, 3)), draw.random((32, 40)) < 0.5
    estimate, interval, targets = lds(scores, kept, kept @ scores, seed=0, resamples=200)
    assert (estimate, targets) == (pytest.approx(1.0), 3)
    assert interval.low == pytest.approx(1.0)
    _, interval, _ = lds(scores, kept, draw.standard_normal((32, 3)), seed=0, resamples=200)
    assert interval.low < 0 < interval.high
    with pytest.raises(Refusal, match="8"):
        lds(scores, kept[:7], kept[:7] @ scores, seed=0)
    with pytest.raises(Refusal, match="moved no target"):
        lds(scores, kept, np.ones((32, 3)), seed=0)


def test_bm25_by_hand():
    rows = [["red", "fox", "fox"], ["blue", "fox"], ["blue", "sky", "sky", "sky"]]
    mean, k, b = 3.0, 1.5, 0.75
    idf = {"fox": math.log(1 + 1.5 / 2.5), "red": math.log(1 + 2.5 / 1.5)}
    first = idf["fox"] * 2 * (k + 1) / (2 + k * (1 - b + b * 3 / mean))
    first += 2 * idf["red"] * (k + 1) / (1 + k * (1 - b + b * 3 / mean))
    second = idf["fox"] * (k + 1) / (1 + k * (1 - b + b * 2 / mean))
    np.testing.assert_allclose(bm25(rows, ["fox", "red", "red", "gone"]), [first, second, 0.0])
    assert bm25([], ["fox"]).shape == (0,)


def test_a_projection_keeps_products_and_its_rows_are_orthogonal():
    p = orthonormal(16, 64, seed=3)
    np.testing.assert_allclose(p @ p.T, 4.0 * np.eye(16), atol=1e-12)
    np.testing.assert_array_equal(p, orthonormal(16, 64, seed=3))
    x, y = np.random.default_rng(0).standard_normal((2, 64))
    found = [float((orthonormal(16, 64, s) @ x) @ (orthonormal(16, 64, s) @ y)) for s in range(400)]
    assert abs(np.mean(found) - x @ y) < 3 * np.std(found) / 20


def test_a_cut_keeps_ranks_whole_and_stays_within_what_is_asked():
    shapes, low_rank = ((8, 64), (64, 8), (176, 64)), ((True, False), (False, True), (False, False))
    assert cut(shapes, low_rank, 10**6) == shapes
    kept = cut(shapes, low_rank, 2000)
    assert kept[0][0] == kept[1][1] == 8
    assert sum(o * i for o, i in kept) <= 2000 < sum(o * i for o, i in cut(shapes, low_rank, 2600))
    assert Layout(kept).size == sum(o * i for o, i in kept)
