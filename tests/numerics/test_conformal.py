"""Conformal p: validity over thousands of null draws, floors, ties, and a combination that keeps its power."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from radiograph.core import UserError
from radiograph.numerics import combine, conformal, conformal_p, models_needed, resolution_floor

DRAWS = 2000


def valid(p, alpha):
    return np.mean(np.asarray(p) <= alpha) <= alpha + 2 * np.sqrt(alpha * (1 - alpha) / len(p))


@pytest.mark.parametrize("n", [39, 199])
def test_single_p_is_valid_over_null_draws(n):
    rng = np.random.default_rng(n)
    p = [conformal_p(draw[0], draw[1:]) for draw in rng.standard_cauchy((DRAWS, n + 1))]
    for alpha in (0.025, 0.05, 0.1, 0.5):
        assert valid(p, alpha)
    assert np.mean(p) == pytest.approx(0.5 + 0.5 / (n + 1), abs=0.025)


@pytest.mark.parametrize("n", [39, pytest.param(199, marks=pytest.mark.slow)])
def test_combined_p_is_valid_over_null_draws(n):
    rng = np.random.default_rng(n)
    mixing = rng.normal(size=(5, 5))
    floor = np.full(5, 1e-6)
    draws = rng.standard_t(3, size=(DRAWS, n + 1, 5)) @ mixing
    p = [combine(draw[0], draw[1:], floor).p for draw in draws]
    for alpha in (0.025, 0.05, 0.1):
        assert valid(p, alpha)


def test_one_detector_of_five_far_out_is_found():
    rng = np.random.default_rng(0)
    found, by_ranks = 0, 0
    for _ in range(200):
        pool = rng.normal(size=(40, 5))
        pool[-1, 2] = 6.0
        result = combine(pool[-1], pool[:-1], np.full(5, 1e-6))
        found += result.p <= 0.05 and result.leading == 2
        ranks = (pool[:, None] >= pool[None]).sum(axis=1).max(axis=1)
        by_ranks += np.mean(ranks >= ranks[-1]) <= 0.05
    assert found / 200 > 0.9
    assert by_ranks == 0


def test_combination_agrees_with_a_slow_leave_one_out(monkeypatch):
    rng = np.random.default_rng(1)
    pool, floor = rng.normal(size=(12, 3)), np.array([0.1, 5.0, 0.1])

    def t(i):
        out = []
        for d in range(3):
            others = sorted(pool[j, d] for j in range(12) if j != i)
            middle = others[5]
            spread = sorted(abs(x - middle) for x in others)[5]
            upper = (others[9] - middle) / 1.2815515655446004  # 0.9 of the way from the first of eleven to the last
            out.append((pool[i, d] - middle) / max(1.4826 * spread, upper, floor[d]))
        return max(out)

    expected = np.array([t(i) for i in range(12)])
    result = combine(pool[-1], pool[:-1], floor)
    np.testing.assert_allclose([*result.benign, result.statistic], expected, rtol=1e-12)
    assert result.p == np.mean(expected >= expected[-1])
    monkeypatch.setattr(conformal, "_CHUNK", 5 * pool.size)  # chunks of five models
    np.testing.assert_array_equal(combine(pool[-1], pool[:-1], floor).benign, result.benign)


scores = hnp.arrays(np.float64, st.integers(1, 30), elements=st.integers(-5, 5).map(float))


@given(benign=scores, score=st.integers(-6, 6).map(float))
def test_p_is_between_floor_and_one_and_falls_as_the_score_grows(benign, score):
    p = conformal_p(score, benign)
    assert resolution_floor(len(benign)) <= p <= 1
    assert conformal_p(score + 1, benign) <= p
    assert conformal_p(score, benign[::-1]) == p


def test_ties_count_against_the_candidate():
    assert conformal_p(0.0, np.zeros(19)) == 1.0
    assert combine(np.zeros(2), np.zeros((19, 2)), np.ones(2)).p == 1.0
    assert conformal_p(1.0, np.zeros(19)) == resolution_floor(19) == 0.05
    assert conformal_p(1.0, np.array([])) == 1.0


def test_models_needed_is_the_inverse_of_the_floor():
    assert [models_needed(a) for a in (0.05, 0.01, 0.001, 0.5, 0.03)] == [19, 99, 999, 1, 33]
    for n in range(1, 300):
        assert models_needed(resolution_floor(n)) == n


@pytest.mark.parametrize(
    "call",
    [
        lambda: conformal_p(np.nan, np.zeros(3)),
        lambda: conformal_p(0.0, np.array([np.inf])),
        lambda: combine(np.zeros(1), np.zeros((1, 1)), np.ones(1)),
        lambda: combine(np.zeros(1), np.zeros((9, 1)), np.zeros(1)),
        lambda: combine(np.zeros(0), np.zeros((9, 0)), np.zeros(0)),
        lambda: models_needed(0.0),
    ],
)
def test_bad_scores_are_errors(call):
    with pytest.raises(UserError):
        call()
