"""Agreement and transfer: planted truth is found, shuffled and random controls fail, verdicts follow the rule."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from radiograph.core import UserError
from radiograph.numerics import Interval
from radiograph.numerics.matching import (
    area_interval,
    areas,
    causal_agreement,
    fit_threshold,
    quantile_map,
    readout_transfer,
    ridge_map,
    verdict,
)


@pytest.mark.parametrize(
    ("left", "right", "said"),
    [
        ((1.0, 0.05), (1.3, 0.05), "agrees"),
        ((-1.0, 0.05), (-0.6, 0.05), "agrees"),
        ((1.0, 0.05), (0.2, 0.02), "same_sign"),
        ((1.0, 0.05), (5.0, 0.05), "same_sign"),
        ((1.0, 0.05), (-1.0, 0.05), "disagrees"),
        ((1.0, 0.05), (0.0, 0.05), "disagrees"),
        ((1.0, 0.05), (0.5, 0.6), "untested"),
        ((0.0, 0.1), (0.02, 0.1), "untested"),
        (None, (1.0, 0.1), "untested"),
    ],
)
def test_causal_agreement(left, right, said):
    rng = np.random.default_rng(0)
    one, two = (None if side is None else rng.normal(side[0], side[1], 2000) for side in (left, right))
    assert causal_agreement(one, two) == causal_agreement(two, one) == said


def test_a_threshold_has_the_largest_balanced_accuracy():
    rng = np.random.default_rng(1)
    for seed in range(20):
        labels = np.arange(30) % 3 == 0
        values = np.round(rng.normal(size=30) + (2 if seed % 2 else -2) * labels, 1)
        found = fit_threshold(values, labels)
        cuts = (np.unique(values)[1:] + np.unique(values)[:-1]) / 2
        best = max(
            0.5 * ((s * values[labels] > s * c).mean() + (s * values[~labels] <= s * c).mean())
            for c in cuts
            for s in (1, -1)
        )
        assert found.accuracy == pytest.approx(best)
        own = found.sign * values > found.sign * found.value
        assert 0.5 * (own[labels].mean() + (~own[~labels]).mean()) == pytest.approx(best)
    assert fit_threshold(np.ones(4), np.array([True, False, True, False])).accuracy == 0.5
    with pytest.raises(UserError, match="both labels"):
        fit_threshold(np.ones(3), np.ones(3, dtype=bool))


def test_quantiles_carry_a_threshold_through_any_rising_map():
    rng = np.random.default_rng(2)
    left = rng.normal(size=101)
    for cut in (-9.0, -0.5, 0.3, 9.0):
        mapped = quantile_map(cut, left, np.exp(3 * left))
        assert np.array_equal(np.exp(3 * left) > mapped, left > cut)


def test_areas_are_those_of_scipy():
    rng = np.random.default_rng(3)
    values, labels = np.round(rng.normal(size=(40, 5)), 1), np.arange(40) < 13
    u = [stats.mannwhitneyu(values[labels, f], values[~labels, f]).statistic for f in range(5)]
    assert areas(values, labels) == pytest.approx(np.array(u) / (13 * 27))


def readout(effect: float, sign: int = 1):
    rng = np.random.default_rng(4)
    labels = np.arange(240) % 2 == 0
    left = sign * (rng.normal(size=240) + 2 * labels)
    right = sign * np.exp(rng.normal(size=240) + effect * labels)
    random = areas(rng.normal(size=(120, 200)), labels[120:])
    fitted = fit_threshold(left[:120], labels[:120])
    groups = np.arange(120) // 3
    return readout_transfer(fitted, (left[:120], right[:120]), right[120:], labels[120:], random, groups, seed=0)


@pytest.mark.parametrize("sign", [1, -1])
def test_a_readout_transfers_where_the_feature_does(sign):
    good, none = readout(2.0, sign), readout(0.0, sign)
    assert good.auroc > 0.85 and good.accuracy > 0.75 and good.p == pytest.approx(1 / 201)
    assert good.interval.low < good.auroc < good.interval.high
    shifted = Interval(good.interval.low - 0.5, good.interval.high - 0.5)
    assert verdict(good.effect, shifted, 0.42, good.p) == "transfers"
    assert none.p > 0.05 and none.interval.low < 0.5 < none.interval.high


@pytest.mark.parametrize("value", [0.0, 1.0])
def test_a_readout_that_does_not_vary_has_an_interval_with_a_width(value):
    labels, groups = np.arange(60) % 2 == 0, np.arange(60) // 2
    ends = area_interval(value * labels, labels, groups, seed=0)
    kept = 0.025 ** (1 / 15)
    assert ends == pytest.approx((kept, 1.0) if value else (kept / 2, 1 - kept / 2))


def test_a_map_is_that_of_the_normal_equations_and_finds_a_planted_one():
    rng = np.random.default_rng(5)
    truth = rng.normal(size=(6, 9)) / 2
    left = rng.normal(size=(80, 6)) + 3
    right = left @ truth + 0.1 * rng.normal(size=(80, 9)) - 1
    found = ridge_map(left, right, penalty=0.3)
    x, y = left - left.mean(axis=0), right - right.mean(axis=0)
    scale = np.square(np.linalg.svd(x, compute_uv=False)).mean()
    assert found.matrix == pytest.approx(np.linalg.solve(x.T @ x + 0.3 * scale * np.eye(6), x.T @ y))
    chosen = ridge_map(left[:60], right[:60])
    assert chosen.explained(left[60:], right[60:]) > 0.95
    push = rng.normal(size=6)
    assert chosen.direction(push) @ (push @ truth) / np.linalg.norm(push @ truth) > 0.99
    shuffled = ridge_map(left[:60], right[rng.permutation(60)])
    assert shuffled.explained(left[60:], right[60:]) < 0.2 and shuffled.penalty > chosen.penalty
    with pytest.raises(UserError, match="two or more rows"):
        ridge_map(left[:1], right[:1])


def test_more_dimensions_than_rows_still_predict():
    rng = np.random.default_rng(6)
    core = rng.normal(size=(90, 3))
    left = core @ rng.normal(size=(3, 128)) + 0.3 * rng.normal(size=(90, 128))
    right = core @ rng.normal(size=(3, 64)) + 0.3 * rng.normal(size=(90, 64))
    assert ridge_map(left[:60], right[:60]).explained(left[60:], right[60:]) > 0.7


@pytest.mark.parametrize(
    ("effect", "interval", "own", "p", "said"),
    [
        (0.4, Interval(0.3, 0.5), 0.5, 0.01, "transfers"),
        (-0.4, Interval(-0.5, -0.3), -0.5, 0.01, "transfers"),
        (0.2, Interval(0.1, 0.3), 0.5, 0.01, "partial"),
        (0.4, Interval(-0.1, 0.9), 0.5, 0.01, "fails"),
        (0.4, Interval(0.3, 0.5), 0.5, 0.2, "fails"),
        (-0.4, Interval(-0.5, -0.3), 0.5, 0.01, "fails"),
        (None, None, 0.5, 0.01, "not_measured"),
        (0.4, Interval(0.3, 0.5), None, 0.01, "not_measured"),
    ],
)
def test_the_word_for_a_transfer(effect, interval, own, p, said):
    assert verdict(effect, interval, own, p) == said
    if said in ("transfers", "partial"):  # a map of shuffled rows that does as much takes it back
        assert verdict(effect, interval, own, p, effect) == "fails"
        assert verdict(effect, interval, own, p, -effect) == said
