"""Rank statistics, sizes and intervals of sparse columns against SciPy and dense brute force."""

from __future__ import annotations

from itertools import combinations, permutations, product

import numpy as np
import pytest
from associations import labels, sparse, table
from scipy import stats

from radiograph.core import UserError
from radiograph.numerics.association import columns
from radiograph.numerics.association.estimates import _permutations as drawing
from radiograph.numerics.association.estimates import (
    area_limits,
    bootstrap_limits,
    correlation_limits,
    delong,
    exchanged,
    exchanges,
    firing,
    flipped,
    flips,
    intraclass,
    pairs,
    permuted,
    ranked,
    score,
    share_limits,
    signed_ranks,
    two_classes,
    two_sided,
)
from radiograph.numerics.multiplicity import q_values

GOLDEN = np.array([2.0, 1.5, 1.5, 0.7, 0.2, 0, 0, 0, 0.2, 1.0, 0, 0, 0, 0, 0, 0])
GOLDEN_Y = np.repeat([1.0, 0.0], 8)


def _one(units):
    return np.zeros(units, dtype=np.int64)


def _areas(held, y, stratum=None):
    stratum = _one(len(y)) if stratum is None else stratum
    law = exchanged(held, ranked(held, stratum).score, y, stratum)
    weight = sum(y[stratum == s].sum() * (1 - y[stratum == s]).sum() for s in np.unique(stratum))
    return 0.5 + (law.sum - law.mean) / weight, law


def test_x5_7_golden_numbers():
    held = sparse(GOLDEN[:, None])
    area, law = _areas(held, GOLDEN_Y)
    assert area[0] == pytest.approx(0.7266, abs=5e-5)
    assert area[0] * 64 == 46.5
    assert law.variance[0] == pytest.approx(74.4, abs=1e-9)
    assert law.z[0] == pytest.approx(1.681, abs=5e-4)
    assert two_sided(law.z)[0] == pytest.approx(0.0928, abs=5e-5)
    zero_rank = 0 + (9 + 1) / 2
    assert zero_rank == 5 and stats.rankdata(GOLDEN)[5] == 5
    assert delong(held, GOLDEN_Y, _one(16))[1][0] == pytest.approx(0.1210, abs=5e-5)
    found = two_classes(held, GOLDEN_Y.astype(int), _one(16))
    assert (found.r[0], found.g[0]) == pytest.approx((0.4467, 0.8831), abs=5e-5)
    assert firing(held, GOLDEN_Y.astype(int)).lift[0] == pytest.approx(1.43, abs=5e-3)
    present = GOLDEN != 0
    assert stats.pearsonr(GOLDEN[present], GOLDEN_Y[present])[0] == pytest.approx(0.4093, abs=5e-5)  # the fault


def test_x5_7_exact_permutation_p_of_the_golden_case():
    held = sparse(GOLDEN[:, None])
    scores = np.zeros(16)
    scores[held.unit] = ranked(held, _one(16)).score
    _, law = _areas(held, GOLDEN_Y)
    drawn = scores[np.array(list(combinations(range(16), 8)))].sum(axis=1)
    reached = np.abs(drawn - law.mean[0]) >= abs(law.sum[0] - law.mean[0]) - 1e-9
    assert (int(reached.sum()), len(drawn)) == (1362, 12870)


def test_x5_7_benjamini_hochberg_and_yekutieli():
    p = np.array([0.001, 0.008, 0.02, 0.04, 0.5])
    np.testing.assert_allclose(q_values(p), [0.005, 0.02, 0.1 / 3, 0.05, 0.5], atol=1e-12)
    expected = np.minimum(np.array([0.005, 0.02, 0.1 / 3, 0.05, 0.5]) * 2.283333333333333, 1)
    np.testing.assert_allclose(q_values(p, "by"), expected, atol=1e-12)


@pytest.mark.parametrize("seed", range(8))
def test_x5_7_two_hundred_sparse_cases_agree_with_scipy_and_brute_force(seed):
    rng = np.random.default_rng(seed)
    units = int(rng.integers(12, 60))
    dense, y = table(rng, units, 25), labels(rng, units)
    held, one = sparse(dense, shuffle=seed), _one(units)
    p, q = int(y.sum()), int(units - y.sum())
    area, law = _areas(held, y)
    theirs = stats.mannwhitneyu(dense[y == 1], dense[y == 0], method="asymptotic", use_continuity=False, axis=0)
    np.testing.assert_allclose(area * p * q, theirs.statistic, atol=1e-9)
    np.testing.assert_allclose(two_sided(law.z), theirs.pvalue, atol=1e-9)
    size = two_classes(held, y.astype(int), one)
    np.testing.assert_allclose(size.r, np.corrcoef(dense.T, y)[-1, :-1], atol=1e-9)
    np.testing.assert_allclose(score(held, y, one).r, size.r, atol=1e-9)
    apart = dense[y == 1].mean(0) - dense[y == 0].mean(0)
    pooled = np.sqrt((dense[y == 1].var(0, ddof=1) * (p - 1) + dense[y == 0].var(0, ddof=1) * (q - 1)) / (units - 2))
    np.testing.assert_allclose(size.g, apart / pooled * (1 - 3 / (4 * (units - 2) - 1)), atol=1e-9)
    wins = (dense[y == 1][:, None] > dense[y == 0]) + 0.5 * (dense[y == 1][:, None] == dense[y == 0])
    first, second = wins.mean(1), wins.mean(0)
    error = np.sqrt(first.var(0, ddof=1) / p + second.var(0, ddof=1) / q)
    ours = delong(held, y, one)
    np.testing.assert_allclose(ours[0], wins.mean((0, 1)), atol=1e-9)
    np.testing.assert_allclose(ours[1], error, atol=1e-9)
    scores = rng.normal(size=units).round(1)
    law = exchanged(held, ranked(held, one).score, stats.rankdata(scores), one)
    spread = np.square(stats.rankdata(scores) - (units + 1) / 2).sum()
    rho = (law.sum - law.mean) / np.sqrt(law.spread * spread)
    np.testing.assert_allclose(rho, [stats.spearmanr(dense[:, f], scores)[0] for f in range(25)], atol=1e-9)


def test_signed_ranks_are_those_of_pratt():
    rng = np.random.default_rng(3)
    for case in range(20):
        d = table(rng, 30, 1, density=0.6)
        held = sparse(d)
        law = flipped(held, signed_ranks(held).score)
        theirs = stats.wilcoxon(d[:, 0], zero_method="pratt", correction=False, method="approx")
        assert two_sided(law.z)[0] == pytest.approx(theirs.pvalue, abs=1e-9), case
        size, larger = pairs(held)
        assert larger[0] == pytest.approx((d > 0).mean() + 0.5 * (d == 0).mean(), abs=1e-12)
        assert size.g[0] == pytest.approx(d.mean() / d.std(ddof=1), abs=1e-9)
        assert size.r[0] == pytest.approx(d.sum() / np.sqrt(30 * np.square(d).sum()), abs=1e-9)


def test_strata_are_ranked_apart_and_weigh_their_pairs():
    rng = np.random.default_rng(4)
    units = 60
    dense, stratum = table(rng, units, 12), rng.integers(0, 3, units)
    y = np.zeros(units)
    for s in range(3):
        y[np.flatnonzero(stratum == s)[: 4 + s]] = 1
    held = sparse(dense + 100.0 * stratum[:, None] * (dense != 0))  # a shift between strata changes no rank inside them
    area, _ = _areas(held, y, stratum)
    wins, weights = np.zeros(12), 0.0
    for s in range(3):
        own = stratum == s
        a, b = dense[own & (y == 1)], dense[own & (y == 0)]
        shifted = (a + 100.0 * s * (a != 0), b + 100.0 * s * (b != 0))
        wins += ((shifted[0][:, None] > shifted[1]) + 0.5 * (shifted[0][:, None] == shifted[1])).sum((0, 1))
        weights += len(a) * len(b)
    np.testing.assert_allclose(area, wins / weights, atol=1e-9)
    np.testing.assert_allclose(delong(held, y, stratum)[0], area, atol=1e-9)
    centred = dense - np.array([dense[stratum == s].mean(0) for s in range(3)])[stratum]
    own_y = y - np.array([y[stratum == s].mean() for s in range(3)])[stratum]
    r = (centred * own_y[:, None]).sum(0) / np.sqrt(np.square(centred).sum(0) * np.square(own_y).sum())
    np.testing.assert_allclose(two_classes(sparse(dense), y.astype(int), stratum).r, r, atol=1e-9)
    np.testing.assert_allclose(score(sparse(dense), y, stratum).r, r, atol=1e-9)


def test_a_law_under_exchange_in_blocks_is_that_of_all_exchanges():
    rng = np.random.default_rng(5)
    dense, y = table(rng, 8, 6, density=0.7), np.array([1.0, 0, 1, 0, 1, 0, 0, 1])
    block = np.array([0, 0, 1, 1, 2, 2, 2, 2])
    held = sparse(dense)
    scores = ranked(held, _one(8)).score
    law = exchanged(held, scores, y, block)
    a = np.zeros((8, 6))
    a[held.unit, held.feature] = scores
    ways = [
        np.concatenate([first, second, third])
        for first in permutations(y[:2])
        for second in permutations(y[2:4])
        for third in permutations(y[4:])
    ]
    drawn = np.array(ways) @ a
    np.testing.assert_allclose(law.mean, drawn.mean(0), atol=1e-9)
    np.testing.assert_allclose(law.variance, drawn.var(0), atol=1e-9)


def test_features_that_were_not_measured_everywhere_are_judged_on_what_was():
    rng = np.random.default_rng(6)
    dense, y = table(rng, 40, 20), labels(rng, 40)
    dense[rng.random(dense.shape) < 0.4] = np.nan
    dense[:3], dense[3:6] = 0.5, -0.5
    y[:6] = [0, 1, 1, 0, 1, 0]
    held = sparse(dense, absent="missing")
    one = _one(40)
    law = exchanged(held, ranked(held, one).score, y, one)
    errors = delong(held, y, one)
    size, linear = two_classes(held, y.astype(int), one), score(held, y, one)
    for f in range(20):
        seen = ~np.isnan(dense[:, f])
        x, own = dense[seen, f], y[seen]
        theirs = stats.mannwhitneyu(x[own == 1], x[own == 0], method="asymptotic", use_continuity=False)
        assert two_sided(law.z)[f] == pytest.approx(theirs.pvalue, abs=1e-9)
        assert errors[0][f] == pytest.approx(theirs.statistic / own.sum() / (1 - own).sum(), abs=1e-9)
        assert size.r[f] == pytest.approx(np.corrcoef(x, own)[0, 1], abs=1e-9)
        assert linear.r[f] == pytest.approx(size.r[f], abs=1e-9)


def test_large_means_cancel_nothing():
    rng = np.random.default_rng(7)
    small, y = rng.normal(size=(50, 4)), labels(rng, 50)
    near = two_classes(sparse(small), y.astype(int), _one(50))
    far = two_classes(sparse(small + 1e7), y.astype(int), _one(50))
    np.testing.assert_allclose(far.r, near.r, atol=1e-8)
    np.testing.assert_allclose(far.g, near.g, atol=1e-7)


def test_permutation_p_is_the_share_of_draws_at_least_as_far():
    rng = np.random.default_rng(8)
    dense, y = table(rng, 30, 5), labels(rng, 30)
    held, one = sparse(dense), _one(30)
    scores = ranked(held, one).score
    law = exchanged(held, scores, y, one)
    members = np.array([0, 2, 4])
    found = permuted(held, scores, exchanges(y, one, 500, 1), law, [(members, law.z[members])])[0]
    a = np.zeros((30, 5))
    a[held.unit, held.feature] = scores
    drawn = np.concatenate(list(exchanges(y, one, 500, 1)), axis=1)
    assert (drawn.sum(axis=0) == y.sum()).all()
    z = np.abs((drawn.T @ a - law.mean) / np.sqrt(law.variance))[:, members]
    expected = (1 + (z >= np.abs(law.z[members]) - 1e-9).sum(0)) / 501
    np.testing.assert_allclose(found.p, expected)
    top = z.max(axis=1)
    np.testing.assert_allclose(found.family, [(1 + (top >= abs(o) - 1e-9).sum()) / 501 for o in law.z[members]])
    assert (found.family >= found.p).all()


def test_draws_keep_blocks_and_chunks_change_none(monkeypatch):
    y = np.array([1.0, 0, 1, 0, 1, 1, 0, 0, 0, 1, 5.5, 0.1])
    block = np.array([0, 0, 1, 1, 2, 2, 2, 2, 3, 3, 3, 4])
    whole = np.concatenate(list(exchanges(y, block, 300, 7)), axis=1)
    for b in range(5):
        np.testing.assert_allclose(np.sort(whole[block == b], axis=0), np.sort(y[block == b])[:, None] * np.ones(300))
    assert abs(whole[0].mean() - 0.5) < 0.1 and abs(whole[4].mean() - 0.5) < 0.1
    signs = np.concatenate(list(flips(6, 300, 7)), axis=1)
    monkeypatch.setattr(drawing, "_CHUNK", 100)
    np.testing.assert_array_equal(np.concatenate(list(exchanges(y, block, 300, 7)), axis=1), whole)
    np.testing.assert_array_equal(np.concatenate(list(flips(6, 300, 7)), axis=1), signs)


def test_every_order_of_labels_is_as_likely():
    y = np.array([1.0, 0, 0, 1, 0])
    drawn = np.concatenate(list(exchanges(y, _one(5), 20_000, 3)), axis=1).T @ (2 ** np.arange(5))
    counts = np.unique(drawn, return_counts=True)[1]
    assert len(counts) == 10
    assert stats.chisquare(counts).pvalue > 0.001


@pytest.mark.parametrize("absent", ["zero", "missing"])
def test_bootstrap_areas_are_those_of_repeated_units(absent):
    rng = np.random.default_rng(9)
    dense, y = table(rng, 24, 7), labels(rng, 24)
    if absent == "missing":
        dense[(rng.random(dense.shape) < 0.3) & (np.arange(24) >= 6)[:, None]] = np.nan
    group, stratum = np.arange(24) // 2, np.zeros(24, dtype=np.int64)
    held = sparse(dense, absent=absent)
    low, high = bootstrap_limits(held, y, group, stratum, draws=60, seed=2)
    from radiograph.numerics.association.estimates import _bootstrap as module

    kind = np.array([1 * (y[group == g] == 1).any() + 2 * (y[group == g] == 0).any() for g in range(12)])
    taken = module._draw(np.random.default_rng(2), kind, 60)[:, group]
    areas = np.full((60, 7), np.nan)
    for (d, counts), f in product(enumerate(taken.astype(int)), range(7)):
        x, own = np.repeat(dense[:, f], counts), np.repeat(y, counts)
        x, own = x[~np.isnan(x)], own[~np.isnan(x)]
        a, b = x[own == 1][:, None], x[own == 0]
        areas[d, f] = ((a > b) + 0.5 * (a == b)).mean() if a.size and b.size else np.nan
    np.testing.assert_allclose(low, np.quantile(areas, 0.025, axis=0), atol=1e-9)
    np.testing.assert_allclose(high, np.quantile(areas, 0.975, axis=0), atol=1e-9)


def test_bootstrap_of_pairs_and_its_strata():
    rng = np.random.default_rng(10)
    d = table(rng, 40, 3, density=0.8, negative=0.2)
    low, high = bootstrap_limits(sparse(d), np.ones(40), np.arange(40), _one(40), draws=400, seed=0, paired=True)
    larger = (d > 0).mean(0) + 0.5 * (d == 0).mean(0)
    assert ((low < larger) & (larger < high)).all()
    spread = np.sqrt(((np.sign(d) / 2) ** 2).mean(0) - (larger - 0.5) ** 2) / np.sqrt(40)
    np.testing.assert_allclose(high - low, 3.92 * spread, rtol=0.2)
    y, stratum = np.tile([0.0, 1.0], 20), np.repeat([0, 1], 20)
    held = sparse(table(rng, 40, 3))
    low, high = bootstrap_limits(held, y, np.arange(40), stratum, draws=200, seed=0)
    area = delong(held, y, stratum)[0]
    assert ((low < area) & (area < high)).all()


def test_no_interval_has_width_zero():
    x = np.concatenate([np.ones(12), np.zeros(12)])[:, None]
    y = np.repeat([1.0, 0.0], 12)
    area, error = delong(sparse(x), y, _one(24))
    low, high = area_limits(area, error, np.array([12]), np.array([12]))
    assert (area[0], error[0], high[0]) == (1, 0, 1)
    assert 0.7 < low[0] < 0.95
    low, high = area_limits(1 - area, error, np.array([12]), np.array([12]))
    assert low[0] == 0 and 0.05 < high[0] < 0.3
    low, high = share_limits(np.array([1.0]), np.array([12]), np.array([0.0]))
    assert high[0] == 1 and low[0] == pytest.approx(stats.binomtest(12, 12).proportion_ci(method="wilson").low)


def test_intervals_cover():
    rng = np.random.default_rng(11)
    held_area = hit_rho = 0
    shift = np.sqrt(2) * stats.norm.ppf(0.75)
    for _ in range(200):
        y = np.repeat([1.0, 0.0], 40)
        x = rng.normal(size=(80, 1)) + shift * y[:, None]
        low, high = area_limits(*delong(sparse(x), y, _one(80)), np.array([40]), np.array([40]))
        held_area += low[0] <= 0.75 <= high[0]
        a = rng.normal(size=60)
        b = 0.5 * a + np.sqrt(0.75) * rng.normal(size=60)
        truth = 6 / np.pi * np.arcsin(0.25)
        low, high = correlation_limits(np.array([stats.spearmanr(a, b)[0]]), np.array([60]))
        hit_rho += low[0] <= truth <= high[0]
    assert held_area >= 182 and hit_rho >= 182  # 0.95 · 200 less 2.6 standard errors


def test_intraclass_correlation_is_that_of_an_analysis_of_variance():
    rng = np.random.default_rng(12)
    cell = np.repeat(np.arange(12), rng.integers(1, 5, 12))
    dense = table(rng, len(cell), 6, density=0.6) + (rng.normal(size=12)[cell][:, None] * (np.arange(6) > 2)).round(1)
    size = np.bincount(cell)
    found = intraclass(sparse(dense), cell, size)
    for f in range(6):
        means = np.array([dense[cell == c, f].mean() for c in range(12)])
        between = (size * (means - dense[:, f].mean()) ** 2).sum() / 11
        inside = np.square(dense[:, f] - means[cell]).sum() / (len(cell) - 12)
        typical = (len(cell) - np.square(size).sum() / len(cell)) / 11
        assert found[f] == pytest.approx((between - inside) / (between + (typical - 1) * inside), abs=1e-9)
    assert np.isnan(intraclass(sparse(dense), np.arange(len(cell)), np.ones(len(cell), dtype=int))).all()


def test_columns_refuse_what_is_no_table():
    one = np.array([0, 1, 1])
    for value, code in (([1.0, np.nan, 2.0], "not_finite"), ([1.0, 2.0, 3.0], "duplicate")):
        with pytest.raises(UserError) as caught:
            columns(one, one, np.array(value), units=2, features=2)
        assert caught.value.code == code
    with pytest.raises(UserError, match="entry 1 names a feature that does not exist"):
        columns(np.array([0, 0]), np.array([0, 2]), np.ones(2), units=1, features=2)


def test_tables_of_parts_are_those_parts():
    rng = np.random.default_rng(13)
    dense = table(rng, 20, 9)
    held, chosen = sparse(dense), np.array([7, 0, 3])
    kept = rng.random(20) < 0.5
    for ours, theirs in ((held.of(chosen), dense[:, chosen]), (held.among(kept), dense[kept])):
        out = np.zeros(theirs.shape)
        out[ours.unit, ours.feature] = ours.value
        np.testing.assert_array_equal(out, theirs)
