"""Effects: against loops and SciPy, invariances, planted effects found, nulls silent at the rate that is promised."""

from __future__ import annotations

import sys
from collections import defaultdict
from itertools import product
from typing import Any

import numpy as np
import pytest
from scipy import stats

from radiograph.core import UserError
from radiograph.numerics.effects import effects, group_means


def rows(seed: int, *, features: int, groups: int, per: int, effect: float = 0.0, noise: float = 1.0):
    """Rows of a group share their luck."""
    rng = np.random.default_rng(seed)
    shared = rng.normal(size=(features, groups, 1))
    values = effect + noise * (shared + 0.5 * rng.normal(size=(features, groups, per)))
    feature, group, _ = np.indices(values.shape)
    return values.ravel(), feature.ravel(), group.ravel()


def test_effects_are_those_of_a_loop_and_of_scipy():
    rng = np.random.default_rng(0)
    n = 400
    values, feature, group = rng.normal(0.3, 1, n), rng.integers(0, 7, n), rng.integers(0, 9, n)
    feature[feature == 3], group[feature == 5] = 4, 2  # feature 3 has no row, feature 5 one group
    baseline = rng.normal(size=n)
    found = effects(values, feature, group, features=7, seed=1, baseline=baseline)
    for f in range(7):
        cells = defaultdict(list)
        for v, g in zip(values[feature == f], group[feature == f], strict=True):
            cells[g].append(v)
        means = np.array([np.mean(c) for c in cells.values()])
        assert found.groups[f] == len(means) and found.rows[f] == (feature == f).sum()
        if not len(means):
            assert np.isnan([found.estimate[f], found.low[f], found.p[f], found.q[f]]).all()
            continue
        assert found.estimate[f] == pytest.approx(means.mean())
        assert found.in_sd[f] == pytest.approx(means.mean() / baseline[feature == f].std(ddof=1))
        if len(means) == 1:
            assert np.isnan([found.low[f], found.high[f], found.p[f]]).all()  # never an interval of width 0
            continue
        test: Any = stats.ttest_1samp(means, 0.0)
        assert found.p[f] == pytest.approx(test.pvalue)
        assert (found.low[f], found.high[f]) == pytest.approx(tuple(test.confidence_interval(0.95)))
        turned = [abs((np.array(s) * means).mean()) for s in product((-1, 1), repeat=len(means))]
        assert found.p_signs[f] == pytest.approx(np.mean(np.array(turned) >= abs(means.mean()) - 1e-12))
    tested = ~np.isnan(found.p)
    assert found.q[tested] == pytest.approx(stats.false_discovery_control(found.p[tested]))


def test_twenty_groups_are_bootstrapped():
    values, feature, group = rows(2, features=3, groups=20, per=2)
    found = effects(values, feature, group, features=3, seed=5)
    means = values.reshape(3, 20, 2).mean(axis=2)
    rng = np.random.default_rng(0)
    slow = np.quantile(means[:, rng.integers(0, 20, (20_000, 20))].mean(axis=2), [0.025, 0.975], axis=1)
    assert np.allclose([found.low, found.high], slow, atol=0.04)
    again = effects(values, feature, group, features=3, seed=5)
    assert np.array_equal(found.low, again.low)


def test_orders_copies_and_names_change_nothing():
    values, feature, group = rows(3, features=6, groups=25, per=3, effect=0.2)
    found = effects(values, feature, group, features=6, seed=0)
    mixed = np.random.default_rng(1).permutation(len(values))
    same = effects(values[mixed], feature[mixed], group[mixed], features=6, seed=0)
    for name in ("estimate", "low", "high", "p", "p_signs", "q"):
        assert np.array_equal(getattr(found, name), getattr(same, name)), name
    five = effects(*(np.repeat(x, 5) for x in (values, feature, group)), features=6, seed=0)
    assert np.allclose(five.low, found.low) and np.allclose(five.p, found.p)
    scaled = effects(values * 1e6, feature, group * 7 - 3, features=6, seed=0)
    assert np.allclose(scaled.low, found.low * 1e6) and np.allclose(scaled.p, found.p)
    alone = effects(values[feature == 4], np.zeros(75, dtype=int), group[feature == 4], features=1, seed=0)
    assert alone.low[0] == pytest.approx(found.low[4])  # not a matter of what else was tested


def test_few_groups_have_an_interval_but_no_p():
    values, feature, group = rows(4, features=2, groups=5, per=4, effect=5.0)
    found = effects(values, feature, group, features=2, seed=0)
    assert np.isnan(found.p).all() and np.isnan(found.q).all() and (found.low > 0).all()


def test_groups_that_all_agree_have_the_p_of_signs():
    found = effects(np.full(8, 0.1), np.zeros(8, dtype=int), np.arange(8), features=1, seed=0)
    assert found.p[0] == found.p_signs[0] == pytest.approx(2 / 2**8)
    none = effects(np.zeros(8), np.zeros(8, dtype=int), np.arange(8), features=1, seed=0)
    assert none.p[0] == 1.0


def test_bad_rows_are_refused():
    with pytest.raises(UserError, match="not finite"):
        effects(np.array([1.0, np.nan]), np.zeros(2, dtype=int), np.arange(2), features=1, seed=0)
    with pytest.raises(UserError, match="outside the table"):
        group_means(np.ones(2), np.array([0, 3]), np.arange(2), 3)
    assert np.isnan(effects(np.empty(0), np.empty(0, int), np.empty(0, int), features=2, seed=0).q).all()


def called(seed: int) -> tuple[set[int], int]:
    """500 features × 8 ablations, 5 of which do something: what we call, and how many rows ± 1.96 s would."""
    rng = np.random.default_rng(seed)
    truth = np.zeros(500)
    truth[:5] = 0.2
    values = truth[:, None] + 0.02 * rng.normal(size=(500, 8))
    feature, group = (x.ravel() for x in np.indices(values.shape))
    found = effects(values.ravel(), feature, group, features=500, seed=0, signs=200)
    half = 1.96 * values.std(axis=1) / np.sqrt(8)
    return set(np.flatnonzero(found.q <= 0.05).tolist()), int((np.abs(values.mean(axis=1)) > half).sum())


def test_x5_5_five_of_five_hundred_and_hardly_more():
    totals = []
    for seed in range(4):
        ours, theirs = called(seed)
        assert set(range(5)) <= ours and len(ours) <= 10
        assert theirs > 40  # the interval that the yardstick uses, as the contrast
        totals.append(len(ours))
    assert np.mean(totals) < 7


@pytest.mark.parametrize("groups", [10, 30])
def test_intervals_cover_and_nulls_stay_silent(groups):
    values, feature, group = rows(6, features=600, groups=groups, per=3)
    found = effects(values, feature, group, features=600, seed=0, resamples=500, signs=500)
    assert ((found.low <= 0) & (found.high >= 0)).mean() >= 0.915
    for p in (found.p, found.p_signs):
        assert (p <= 0.05).mean() <= 0.05 + 2.5 * np.sqrt(0.05 * 0.95 / 600)
    by_row = 1.96 * values.reshape(600, -1).std(axis=1) / np.sqrt(groups * 3)
    assert (np.abs(found.estimate) > by_row).mean() > 0.15  # rows of a group are not independent


@pytest.mark.slow
def test_nulls_stay_silent_at_full_size():
    hits = {10: [], 30: []}
    for groups, share in hits.items():
        for seed in range(20):
            values, feature, group = rows(seed, features=500, groups=groups, per=3)
            found = effects(values, feature, group, features=500, seed=seed, signs=200)
            share.append(bool((found.q <= 0.05).any()))
    print({groups: sum(share) for groups, share in hits.items()})
    assert all(sum(share) <= 4 for share in hits.values())  # 5 % of 20 families, and what chance adds


def test_y3_15_the_work_per_row_is_array_work():
    """Twice the rows, the same number of Python calls."""

    def calls(per: int) -> int:
        values, feature, group = rows(7, features=50, groups=40, per=per)
        seen = 0

        def count(*_: object) -> None:
            nonlocal seen
            seen += 1

        sys.setprofile(count)
        try:
            effects(values, feature, group, features=50, seed=0, resamples=100, signs=100)
        finally:
            sys.setprofile(None)
        return seen

    calls(2)  # imports
    assert calls(20) <= 1.05 * calls(10)
