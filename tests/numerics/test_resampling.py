"""The bootstrap: determinism, honest widths, clusters as units, and chunks that change nothing."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from radiograph.core import Refusal, UserError
from radiograph.numerics import bootstrap, resampling, weighted_mean


def test_same_seed_same_samples_another_seed_others():
    values = np.random.default_rng(0).normal(size=40)
    one, again, other = (bootstrap(weighted_mean(values), 40, seed=s, resamples=200) for s in (1, 1, 2))
    assert np.array_equal(one.samples, again.samples)
    assert not np.array_equal(one.samples, other.samples)
    assert one.estimate == pytest.approx(values.mean(), abs=1e-12)


def test_mean_interval_agrees_with_scipy():
    values = np.random.default_rng(1).exponential(size=200)
    ours = bootstrap(weighted_mean(values), 200, seed=0, resamples=4000).interval(0.9)
    theirs = stats.bootstrap(
        (values,), np.mean, confidence_level=0.9, n_resamples=4000, method="percentile", rng=np.random.default_rng(3)
    ).confidence_interval
    assert ours == pytest.approx((theirs.low, theirs.high), abs=0.015)


def test_counts_draw_n_rows_each_time():
    def checked(counts):
        assert (counts.sum(axis=1) == 17).all()
        return counts[:, 0]

    drawn = bootstrap(checked, 17, seed=0, resamples=3000)
    assert drawn.samples.mean() == pytest.approx(1.0, abs=0.08)


def test_chunks_change_no_number(monkeypatch):
    values = np.random.default_rng(2).normal(size=30)
    whole = bootstrap(weighted_mean(values), 30, seed=5, resamples=100)
    monkeypatch.setattr(resampling, "_CHUNK", 70)
    pieces = bootstrap(weighted_mean(values), 30, seed=5, resamples=100)
    np.testing.assert_allclose(pieces.samples, whole.samples, rtol=0, atol=1e-14)


def test_repeating_every_row_narrows_nothing_when_clustered():
    rng = np.random.default_rng(3)
    values = rng.normal(size=25)
    once = bootstrap(weighted_mean(values), 25, seed=7)
    ten_times = bootstrap(weighted_mean(np.repeat(values, 10)), 250, seed=7, clusters=np.repeat(np.arange(25), 10))
    assert ten_times.n == once.n == 25
    np.testing.assert_allclose(ten_times.samples, once.samples, atol=1e-12)


def test_interval_covers_at_its_level():
    rng = np.random.default_rng(4)
    hits = 0
    for seed in range(300):
        values = rng.normal(size=60)
        low, high = bootstrap(weighted_mean(values), 60, seed=seed, resamples=400).interval(0.9)
        hits += low <= 0 <= high
    assert 0.84 <= hits / 300 <= 0.95


def test_one_unit_is_refused_and_nan_is_an_error():
    with pytest.raises(Refusal, match="too_few_units"):
        bootstrap(weighted_mean(np.ones(5)), 5, seed=0, clusters=np.zeros(5))
    with pytest.raises(UserError, match="not finite"):
        bootstrap(weighted_mean(np.array([1.0, np.nan])), 2, seed=0)


@pytest.mark.parametrize("units", [2, 5, 12])
def test_widened_percentiles_of_few_units_keep_the_level(units):
    plain = wide = 0
    for seed in range(400):
        values = np.random.default_rng([seed, units]).standard_normal(units)
        found = bootstrap(weighted_mean(values), units, seed=seed, resamples=400)
        ends = found.interval()
        plain += not ends.low <= 0 <= ends.high
        low, high = resampling.widened(found.estimate, ends, units)
        wide += not low <= 0 <= high
    assert wide <= 400 * (0.05 + 3 * np.sqrt(0.05 * 0.95 / 400)) < plain
