"""Intervals over units: they cover, they agree with the bootstrap over rows, and dead features keep their bound."""

import numpy as np
import pytest

from radiograph.numerics import bootstrap, weighted_mean
from radiograph.numerics.dictionaries.units import draws, firing_intervals, quantile_intervals, ratio_interval


def test_every_draw_takes_as_many_units_as_there_are_and_the_seed_decides_which():
    taken = draws(50, seed=3)
    assert taken.shape == (1000, 50)
    assert (taken.sum(axis=1) == 50).all()
    assert np.array_equal(taken, draws(50, seed=3)) and not np.array_equal(taken, draws(50, seed=4))


def test_a_ratio_has_the_interval_of_the_bootstrap_over_its_rows():
    rng = np.random.default_rng(0)
    units = np.repeat(np.arange(80), rng.integers(1, 30, 80))
    effect = rng.normal(size=80)[units]
    above, below = 2 + effect + rng.normal(size=len(units)), rng.uniform(1, 2, len(units))
    found = ratio_interval(np.bincount(units, above), np.bincount(units, below), draws(80, seed=1))
    slow = bootstrap(weighted_mean(above / below, below), len(units), seed=2, clusters=units).interval()
    assert (found.low, found.high) == pytest.approx((slow.low, slow.high), abs=0.04)


def test_quantiles_are_those_of_the_rows_drawn():
    rng = np.random.default_rng(1)
    values, units = rng.integers(0, 9, 400), np.repeat(np.arange(20), 20)
    histogram = np.zeros((20, 10), dtype=np.int64)
    np.add.at(histogram, (units, values), 1)
    taken = draws(20, seed=0, resamples=200)
    slow = []
    for counts in taken.astype(int):
        rows = np.sort(np.concatenate([np.repeat(values[units == u], counts[u]) for u in range(20)]))
        slow.append(rows[int(np.ceil(0.5 * len(rows))) - 1])
    (found,) = quantile_intervals(histogram, (0.5,), taken)
    assert (found.low, found.high) == tuple(np.quantile(slow, [0.025, 0.975]))


def test_dead_features_have_an_upper_bound_that_was_seen():
    rng = np.random.default_rng(2)
    density = np.concatenate([np.zeros(10), np.full(20, 1 / 300), np.full(30, 0.05), np.full(5, 0.3)])
    rows = np.full(60, 10)
    fired = rng.binomial(10, density, size=(60, 65))
    dead, dense = firing_intervals(fired, rows, draws(60, seed=0))
    silent = int((fired.sum(axis=0) == 0).sum())
    assert dead.high == silent
    assert dead.low <= 10 <= dead.high
    assert dense.low <= 5 <= dense.high


def test_one_unit_has_no_interval():
    taken = draws(1, seed=0)
    assert ratio_interval(np.ones(1), np.ones(1), taken) is None
    assert firing_intervals(np.ones((1, 3), dtype=int), np.ones(1, dtype=int), taken) == (None, None)
    assert quantile_intervals(np.ones((1, 3), dtype=int), (0.5, 0.9), taken) == (None, None)
