"""n-grams, log-odds, windows and scores, each against a second derivation."""

from __future__ import annotations

import math
from collections import Counter

import numpy as np
import pytest
from scipy import stats

from radiograph.core import UserError
from radiograph.numerics import wilson
from radiograph.numerics.explanations import (
    balanced_accuracy,
    contrast,
    correlation,
    counted,
    csr,
    f1,
    f1_limits,
    grams,
    mean_limits,
    peaks,
    round_trip,
    windows_of,
)
from radiograph.numerics.explanations.sparse import marked

RNG = np.random.default_rng(3)
STARTS = np.array([0, 7, 8, 20])
TOKENS = RNG.integers(0, 4, 31)


@pytest.mark.parametrize("n", [1, 2, 3])
def test_grams_are_those_of_each_text(n):
    made = grams(TOKENS, STARTS, n)
    for place, number in enumerate(made.of):
        start = STARTS[place >= STARTS].max()
        if place - start < n - 1:
            assert number == -1
        else:
            assert tuple(made.tokens[number]) == tuple(TOKENS[place - n + 1 : place + 1])
    assert len({tuple(row) for row in made.tokens}) == len(made.tokens) == made.of.max() + 1


def test_log_odds_by_the_formula():
    fires = RNG.random(3000) < 0.1
    terms = RNG.integers(0, 30, 3000)
    terms[fires & (RNG.random(3000) < 0.4)] = 7
    found = contrast(marked(np.zeros(fires.sum(), int), np.flatnonzero(fires), (1, 3000)), terms, prior=200.0, least=3)
    inside, everywhere = Counter(terms[fires].tolist()), Counter(terms.tolist())
    n, m = int(fires.sum()), int((~fires).sum())
    for term, z, times in zip(found.term.tolist(), found.z.tolist(), found.times.tolist(), strict=True):
        alpha = 200 * everywhere[term] / 3000
        y, other = inside[term] + alpha, everywhere[term] - inside[term] + alpha
        delta = math.log(y / (n + 200 - y)) - math.log(other / (m + 200 - other))
        assert z == pytest.approx(delta / math.sqrt(1 / y + 1 / other))
        assert times == inside[term]
    assert found.term[0] == 7 and found.z[0] > 8
    assert list(found.z) == sorted(found.z, reverse=True)


def test_log_odds_of_chance_are_standard_normal_or_narrower():
    terms = RNG.integers(0, 20, 20_000)
    rows, columns = np.nonzero(RNG.random((40, 20_000)) < 0.05)
    found = contrast(marked(rows, columns, (40, 20_000)), terms)
    assert len(found.z) == 800
    assert 0.5 < found.z.std() < 1.1
    assert np.abs(found.z).max() < 5


def test_windows_cut_texts_and_peaks_are_their_largest_values():
    windows = windows_of(STARTS, 31, 5)
    assert [(a, b) for a, b in zip(windows.first, windows.last, strict=True)] == [
        *[(0, 5), (5, 7), (7, 8), (8, 13), (13, 18), (18, 20), (20, 25), (25, 30), (30, 31)]
    ]
    dense = np.where(RNG.random((3, 31)) < 0.3, RNG.random((3, 31)), 0)
    rows, columns = np.nonzero(dense)
    top, token = (
        np.asarray(m.todense()) for m in peaks(csr(dense[rows, columns], rows, columns, (3, 31)), windows.of, 9)
    )
    for number, (a, b) in enumerate(zip(windows.first, windows.last, strict=True)):
        np.testing.assert_allclose(top[:, number], dense[:, a:b].max(1))
        for feature in range(3):
            if top[feature, number]:
                assert dense[feature, int(token[feature, number]) - 1] == top[feature, number]


def test_balanced_accuracy_and_its_limits():
    fires = np.r_[np.ones(10, bool), np.zeros(20, bool)]
    said = np.r_[np.ones(8, bool), np.zeros(2, bool), np.ones(5, bool), np.zeros(15, bool)]
    found = balanced_accuracy(fires, said)
    assert found.value == pytest.approx((0.8 + 0.75) / 2)
    a, b = wilson(8, 10), wilson(15, 20)
    assert found.low == pytest.approx(found.value - math.hypot(0.8 - a.low, 0.75 - b.low) / 2)
    assert found.high == pytest.approx(found.value + math.hypot(a.high - 0.8, b.high - 0.75) / 2)
    assert balanced_accuracy(fires[:10], said[:10]) is None


@pytest.mark.slow
@pytest.mark.parametrize(("firing", "silent"), [(0.5, 0.5), (0.9, 0.6), (0.97, 0.97)])
def test_limits_of_balanced_accuracy_cover(firing, silent):
    fires = np.r_[np.ones(10, bool), np.zeros(10, bool)]
    rate = np.where(fires, firing, 1 - silent)
    draws = [balanced_accuracy(fires, RNG.random(20) < rate) for _ in range(2000)]
    held = np.mean([d.low <= (firing + silent) / 2 <= d.high for d in draws])
    assert 0.92 <= held <= 0.99


def test_f1_over_groups():
    fires, named = RNG.random((2, 600)) < 0.3, RNG.random((2, 600)) < 0.3
    named[0] |= fires[0]
    group = np.repeat(np.arange(30), 20)
    tables = [marked(*np.nonzero(m), m.shape) for m in (fires, named)]
    found = counted(*tables, group, 30)
    hits, fired, said = (part.sum(1) for part in found)
    for feature in range(2):
        p, r = hits[feature] / said[feature], hits[feature] / fired[feature]
        assert f1(hits, fired, said)[feature] == pytest.approx(2 * p * r / (p + r))
        assert hits[feature] == (fires[feature] & named[feature]).sum()
    low, high = f1_limits(found, seed=0)
    value = f1(hits, fired, said)
    assert (low < value).all() and (value < high).all()
    drawn = []
    for _ in range(500):
        taken = RNG.integers(0, 30, 30)
        drawn.append(f1(*(part[:, taken].sum(1) for part in found)))
    expected = np.quantile(np.array(drawn), [0.025, 0.975], axis=0)
    np.testing.assert_allclose([low, high], expected, atol=0.03)
    assert np.isnan(f1_limits(counted(*tables, np.zeros(600, int), 1), seed=0)[0]).all()


def test_correlation_is_pearsons_and_a_judge_without_variation_knows_nothing():
    true = RNG.random(200)
    said = true + RNG.normal(0, 0.5, 200)
    context = np.repeat(np.arange(10), 20)
    found = correlation(said, true, context, seed=0)
    assert found.value == pytest.approx(stats.pearsonr(said, true).statistic)
    assert found.low < found.value < found.high and found.n == 10
    assert correlation(np.full(200, 3.0), true, context, seed=0).value == 0
    assert correlation(said, np.zeros(200), context, seed=0) is None


def test_mean_limits():
    values = RNG.normal(0.7, 0.1, 50)
    found = mean_limits(values, seed=0)
    assert found.value == pytest.approx(values.mean())
    half = 1.96 * values.std(ddof=1) / math.sqrt(50)
    assert found.low == pytest.approx(values.mean() - half, abs=0.01)
    assert mean_limits(values[:1], seed=0).low is None
    assert mean_limits(values[:0], seed=0) is None


def test_a_round_trip_keeps_vectors_or_shows_that_it_does_not():
    vectors = RNG.normal(size=(40, 16))
    same = round_trip(vectors, 3 * vectors)
    assert same.cosine == pytest.approx(1) and same.variance == pytest.approx(1) and same.p == pytest.approx(1 / 40)
    assert abs(same.shuffled_cosine) < 0.2 and same.shuffled_variance < 0.2
    other = round_trip(vectors, RNG.normal(size=(40, 16)))
    assert abs(other.cosine) < 0.2 and other.p > 0.01
    with pytest.raises(UserError, match="three vectors"):
        round_trip(vectors[:2], vectors[:2])
