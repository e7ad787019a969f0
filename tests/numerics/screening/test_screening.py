"""Screens: p uniform where directions mean nothing, planted units found, sums of squares and pushes a second way."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from scipy.stats import kstest

from radiograph.core import UserError
from radiograph.numerics.screening import (
    above_others,
    agreement,
    displaced,
    divergence,
    ensemble,
    factorial,
    partial_eta_squared,
    pooled_p,
    pushed,
)


def effects(generator, units=40, draws=20):
    """Effects that grow with the strength of each unit; directions mean nothing."""
    strength = np.exp(generator.normal(0, 2, units))
    return strength * np.exp(generator.normal(0, 0.5, (1 + draws, units)))


@pytest.mark.parametrize("test", [lambda e: pooled_p(e[0], e[1:])[0], lambda e: above_others(e[0], e[1:])])
def test_r12_p_is_uniform_where_directions_mean_nothing(test):
    p = np.concatenate([test(effects(np.random.default_rng(seed))) for seed in range(100)])
    assert 0.03 <= (p < 0.05).mean() <= 0.07
    rows = [test(effects(np.random.default_rng(seed)))[seed % 40] for seed in range(400)]
    assert kstest(rows, "uniform").pvalue > 0.001


def test_a_strong_unit_is_loud_and_a_special_one_special():
    found = effects(np.random.default_rng(0))
    found[:, 3] *= 1e6  # pushes harder: so do its own draws
    assert above_others(found[0], found[1:])[3] < 0.002
    assert pooled_p(found[0], found[1:])[0][3] > 0.02
    found[0, 5] = 50 * found[1:, 5].max()
    assert pooled_p(found[0], found[1:])[0][5] == 1 / (1 + 20 * 40)


def test_standardising_is_that_of_the_others():
    found = effects(np.random.default_rng(1), units=3, draws=5)
    _, t = pooled_p(found[0], found[1:])
    logs = np.log(found + 1e-30)
    np.testing.assert_allclose(t, (logs[0] - logs[1:].mean(0)) / logs[1:].std(0), rtol=1e-9)


@pytest.mark.parametrize("bad", [np.ones((2, 3)), np.full((5, 3), np.nan)])
def test_pooled_refuses(bad):
    with pytest.raises(UserError):
        pooled_p(np.ones(3), bad)


def sum_of_squares(values, *columns):
    """Explained by the columns' dummies, by least squares."""
    design = np.concatenate([np.equal.outer(c, np.unique(c)).astype(float) for c in columns], axis=1)
    fitted = design @ np.linalg.lstsq(design, values, rcond=None)[0]
    return float(fitted @ fitted)


def crossed(repeats=3):
    rows = np.array(list(itertools.product(range(4), range(2), range(3), range(repeats))))
    return rows[:, 0], rows[:, 1], rows[:, 2]


def test_partial_shares_equal_those_of_a_regression():
    core, a, b = crossed()
    values = np.random.default_rng(2).normal(size=len(core)) + a + 0.3 * a * b
    centred = values - np.array([values[core == c].mean() for c in core])
    one, two, cells = sum_of_squares(centred, a), sum_of_squares(centred, b), sum_of_squares(centred, a * 3 + b)
    error = float(centred @ centred) - cells
    parts = np.array([one, two, cells - one - two])
    np.testing.assert_allclose(partial_eta_squared(centred, a, b), parts / (parts + error), rtol=1e-9)


def test_factorial_finds_the_planted_term_alone():
    core, a, b = crossed(6)
    generator = np.random.default_rng(3)
    values = generator.normal(size=len(core)) + 3.0 * core + 1.5 * (a == 1)
    found = factorial(values, a.tolist(), b.tolist(), core.tolist(), seed=0, permutations=199)
    assert found.p[0] == found.smallest and min(found.p[1:]) > 0.05 and found.balanced


def test_factorial_is_silent_where_nothing_is_planted():
    core, a, b = crossed()
    low = np.zeros(3)
    for seed in range(200):
        values = np.random.default_rng(seed).normal(size=len(core)) + core
        found = factorial(values, a.tolist(), b.tolist(), core.tolist(), seed=seed, permutations=39)
        low += np.array(found.p) <= 0.05
    assert (low / 200 <= 0.09).all(), low / 200


def test_factorial_refuses_what_it_cannot_split():
    with pytest.raises(UserError):
        factorial(np.arange(4.0), [0, 0, 1, 1], [0, 1, 0, 1], ["k"] * 4, seed=0)


def test_agreement_is_bounded_and_needs_no_common_zero():
    generator = np.random.default_rng(4)
    x = generator.normal(size=(2, 30))
    assert agreement(x, x) == pytest.approx(1) and agreement(x, -3 * x) == pytest.approx(-1)
    angles = generator.uniform(0, 2 * np.pi, 30)
    turn = np.stack([[np.cos(angles), -np.sin(angles)], [np.sin(angles), np.cos(angles)]])
    y = generator.normal(size=(2, 30))
    turned = [np.einsum("ijp,jp->ip", turn, own) for own in (x, y)]
    assert agreement(*turned) == pytest.approx(agreement(x, y))


def test_flips_and_outliers_are_those_that_were_planted():
    x = np.tile([[1.0], [0.0]], (1, 20))
    y = x * (1 + 0.01 * np.random.default_rng(5).normal(size=20))
    y[:, 7] *= -1
    outside = np.ones(20, dtype=bool)
    found = ensemble(x, y, outside)
    assert found.flips.tolist() == [7] and 7 in found.outliers.tolist()
    assert found.without[7] == pytest.approx(1)
    outside[7] = False
    assert not len(ensemble(x, y, outside).flips)


def test_pushes_by_hand():
    generator = np.random.default_rng(6)
    rows, directions = generator.normal(size=(3, 5)), generator.normal(size=(4, 5))
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    pushes, head = generator.normal(size=(3, 4)), generator.normal(size=(5, 7))
    plane = np.linalg.qr(generator.normal(size=(5, 2)))[0].T
    centre = generator.normal(size=5)

    def tail(x):
        return np.tanh(x) @ head

    kl = pushed(rows, pushes, directions, tail)
    moved = displaced(rows, pushes, directions, centre, plane)
    for i, j in itertools.product(range(3), range(4)):
        after = rows[i] + pushes[i, j] * directions[j]
        p, q = (np.exp(v) / np.exp(v).sum() for v in (tail(rows[i]), tail(after)))
        assert kl[i, j] == pytest.approx((p * np.log(p / q)).sum(), rel=1e-9)
        z = [(v - centre) @ plane.T / np.linalg.norm(v - centre) for v in (rows[i], after)]
        np.testing.assert_allclose(moved[i, j], z[1] - z[0], atol=1e-12)


def test_divergence_of_equal_logits_is_zero_and_huge_ones_stay_finite():
    logits = np.array([[1e4, 0.0, -1e4], [0.0, 0.0, 0.0]])
    assert divergence(logits, logits + 7).tolist() == [0.0, 0.0]
    assert np.isfinite(divergence(logits, -logits)).all()
