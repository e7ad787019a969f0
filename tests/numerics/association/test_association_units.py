"""Units, designs, folds and power: what labels alone decide."""

from __future__ import annotations

import numpy as np
import pytest
from associations import sparse, table
from scipy import stats

from radiograph.core import Refusal, UserError
from radiograph.numerics.association import check_sizes, dense_mde, limits, measured, needed_z, sizes, units_of
from radiograph.numerics.association._power import eligible, ranks_of, reachable_z, units_needed
from radiograph.numerics.association._stability import (
    folds,
    half_contrasts,
    half_correlations,
    split_halves,
    stability,
)

NAMES = np.array(["b", "a", "b", "c", "a", "d", "c", "d"])
LABEL = np.array([1, 0, 1, 0, 0, 1, 0, 1])


def _all(n):
    return np.ones(n, dtype=bool)


def test_a_unit_is_the_mean_of_its_cell_and_groups_follow_their_names():
    units = units_of(NAMES, LABEL, _all(8))
    np.testing.assert_array_equal(units.label, [0, 1, 0, 1])  # a, b, c, d
    np.testing.assert_array_equal(units.rows, [2, 2, 2, 2])
    dense = np.array(
        [[1.0, 0], [4.0, 2.0], [0, 0], [0, 5.0], [2.0, np.nan], [0, -1.0], [0, 7.0], [np.nan, -3.0]],
    )
    zeros, present = sparse(np.nan_to_num(dense)), sparse(dense, absent="missing")
    for held, last in ((zeros, 1.0), (present, 2.0)):
        cells = units.pooled(held)
        out = np.zeros((4, 2))
        out[cells.unit, cells.feature] = cells.value
        np.testing.assert_array_equal(out, [[3.0, last], [0.5, 0.0], [0.0, 6.0], [0.0, -2.0]])


def test_cells_that_are_compared_have_equally_many_rows():
    group, label = np.repeat(np.arange(10), 4), np.tile([1, 0, 0, 0], 10)
    names = np.array([f"p{i:02}" for i in range(40)])
    pairs = units_of(group, label, _all(40), name=names)
    assert pairs.design == "within" and set(pairs.rows) == {1} and pairs.left == 20 and pairs.dropped == 0
    order = np.random.default_rng(0).permutation(40)
    shuffled = units_of(group[order], label[order], _all(40), name=names[order])
    np.testing.assert_array_equal(shuffled.cell, pairs.cell[order])
    other = units_of(group, label, _all(40), name=names, seed=1)
    assert (other.cell != pairs.cell).any()
    sizes = np.where(np.arange(40) % 2 == 0, 6, 2)  # positives have six rows, negatives two
    sizes[:2] = 1
    group, label = np.repeat(np.arange(40), sizes), np.repeat(np.arange(40) % 2 == 0, sizes)
    between = units_of(group, label, _all(len(group)))
    assert between.design == "between" and set(between.rows) == {2} and between.dropped == 2 and len(between) == 38
    assert between.left == sizes.sum() - 76


def test_rows_of_one_name_are_one_row():
    group, label = np.repeat(np.arange(4), 2), np.tile([1, 0], 4)
    once = units_of(group, label, _all(8), name=np.arange(8))
    many = np.repeat(np.arange(8), [1, 5, 1, 1, 2, 1, 1, 3])
    again = units_of(group[many], label[many], _all(len(many)), name=many)
    np.testing.assert_array_equal(again.rows, once.rows)
    np.testing.assert_array_equal(again.label, once.label)


def test_designs_follow_from_the_labels_of_groups():
    def design(two, one):
        group = np.concatenate([np.repeat(np.arange(two), 2), 1000 + np.arange(one)])
        label = np.concatenate([np.tile([0, 1], two), np.arange(one) % 2])
        return units_of(group, label, _all(len(group)))

    assert design(0, 20).design == "between" == design(4, 16).design
    assert design(10, 10).design == "mixed" == design(5, 15).design
    assert design(20, 0).design == "within"
    found = design(16, 4)
    assert (found.design, found.dropped, found.blocks, len(found)) == ("within", 4, 16, 32)
    mixed = design(10, 10)
    sizes_of = np.bincount(mixed.block)
    assert sorted(sizes_of) == [2] * 10 + [10]


def test_a_condition_is_one_of_whole_groups():
    between = units_of(np.arange(40), np.tile([0, 1, 0, 1], 10), _all(40), stratum=np.repeat(["x", "y"], 20))
    assert (between.design, between.blocks) == ("between", 2)
    group, label = np.repeat(np.arange(10), 4), np.tile([0, 1, 0, 1], 10)
    with pytest.raises(UserError, match="one level in a group"):  # its cells are no independent units
        units_of(group, label, _all(40), stratum=np.tile(["x", "x", "y", "y"], 10))


def test_differences_of_pairs_need_both_sides():
    group, label = np.repeat(np.arange(3), 2), np.tile([1, 0], 3)
    units = units_of(group, label, _all(6))
    dense = np.array([[3.0, np.nan], [1.0, 2.0], [2.0, 1.0], [2.0, 4.0], [0.0, 1.0], [5.0, np.nan]])
    zero = units.differences(units.pooled(sparse(np.nan_to_num(dense))))
    out = np.zeros((3, 2))
    out[zero.unit, zero.feature] = zero.value
    np.testing.assert_array_equal(out, [[2, -2], [0, -3], [-5, 1]])
    missing = units.differences(units.pooled(sparse(dense, absent="missing")))
    np.testing.assert_array_equal(missing.stored, [3, 1])
    np.testing.assert_array_equal(missing.value, [2, 0, -5, -3])


@pytest.mark.parametrize("wrong", ["halves", "label"])
def test_rows_that_are_no_study(wrong):
    group, label, discover = np.arange(4) // 2, np.array([0, 1, 0, 1]), np.array([True, True, False, False])
    if wrong == "halves":
        discover = np.array([True, False, False, False])
    if wrong == "label":
        label = np.array([0, 1, 2, 1])
    with pytest.raises(UserError, match={"halves": "both halves", "label": "0 or 1"}[wrong]):
        units_of(group, label, discover)


def test_fewer_than_eight_units_of_a_class_in_a_half_are_refused():
    def units(positives, negatives):
        label = np.concatenate([np.ones(2 * positives), np.zeros(2 * negatives)])
        return units_of(np.arange(len(label)), label, np.arange(len(label)) % 2 == 0)

    check_sizes(units(8, 8))
    for few, code in ((units(8, 7), "few_units"), (units(7, 9), "few_units"), (units(0, 20), "one_class")):
        with pytest.raises(Refusal) as caught:
            check_sizes(few)
        assert caught.value.code == code
        assert caught.value.got is not None and "confirm" in caught.value.got
        assert caught.value.exit_code == 4
    with pytest.raises(Refusal, match="all scores are equal"):
        check_sizes(units_of(np.arange(40), np.ones(40), np.arange(40) % 2 == 0, continuous=True))


def test_y3_7_one_group_gives_an_estimate_and_no_interval():
    dense = np.array([[2.0], [1.5], [0.0], [0.5]])
    units = units_of(np.zeros(4), np.array([1, 1, 0, 0]), _all(4))
    found = measured(units, units.pooled(sparse(dense)))
    assert found.estimate[0] == 1.0
    low, high = limits(units, found)
    assert np.isnan(low[0]) and np.isnan(high[0])
    with pytest.raises(Refusal, match="few_units"):
        check_sizes(units)


def test_mixed_law_uses_groups_and_its_estimate_all_units():
    rng = np.random.default_rng(0)
    group = np.concatenate([np.repeat(np.arange(10), 2), 100 + np.arange(16)])
    label = np.concatenate([np.tile([0, 1], 10), np.arange(16) % 2])
    dense = table(rng, 36, 5)
    units = units_of(group, label, _all(36))
    found = measured(units, units.pooled(sparse(dense)))
    # Groups are in the order of their names, and so are rows here.
    theirs = stats.mannwhitneyu(dense[label == 1], dense[label == 0], axis=0).statistic / 18**2
    np.testing.assert_allclose(found.estimate, theirs, atol=1e-9)
    a = np.zeros((36, 5))
    a[found.table.unit, found.table.feature] = found.score
    draws = []
    for _ in range(20_000):
        y = label.astype(float)
        turned = rng.random(10) < 0.5
        y[:20] = np.stack([turned, ~turned], axis=1).ravel()
        y[20:] = rng.permutation(y[20:])
        draws.append(y)
    drawn = np.array(draws) @ a
    np.testing.assert_allclose(found.law.mean, drawn.mean(0), atol=5 * drawn.std(0).max() / np.sqrt(20_000))
    np.testing.assert_allclose(found.law.variance, drawn.var(0), rtol=0.06)


def test_scores_are_correlated_by_group():
    rng = np.random.default_rng(1)
    dense, value = table(rng, 60, 6), rng.normal(size=60).round(1)
    units = units_of(np.repeat(np.arange(30), 2), value, _all(60), continuous=True)
    found = measured(units, units.pooled(sparse(dense)))
    means, scores = dense.reshape(30, 2, 6).mean(1), value.reshape(30, 2).mean(1)
    np.testing.assert_allclose(found.estimate, [stats.spearmanr(means[:, f], scores)[0] for f in range(6)], atol=1e-9)
    np.testing.assert_allclose(
        sizes(units, found).r, [stats.pearsonr(means[:, f], scores)[0] for f in range(6)], atol=1e-9
    )
    np.testing.assert_allclose(found.detectable, 1 / np.sqrt(29), atol=1e-12)
    np.testing.assert_allclose(ranks_of(units), stats.rankdata(scores))


def test_seventy_two_units_a_class_detect_an_area_of_seventy_percent():
    label = np.tile([0, 1], 72)
    units = units_of(np.arange(144), label, _all(144))
    assert dense_mde(units, 0.05, 50) == pytest.approx(0.1995, abs=5e-4)
    assert dense_mde(units_of(np.arange(140), label[:140], _all(140)), 0.05, 50) > 0.2
    assert needed_z(0.05, 50) == pytest.approx(3.2905 + 0.8416, abs=1e-4)
    needed = units_needed(144, np.array([0.1995, 0.1]), np.array([-0.3, 0.0]))
    assert needed[0] == np.ceil(144 * (0.1995 / 0.3) ** 2) and np.isnan(needed[1])


def test_a_dense_feature_has_the_detectable_effect_of_the_formula():
    rng = np.random.default_rng(2)
    label = np.tile([0, 1, 1], 40)
    for stratum in (None, np.repeat([0, 1], 60)):
        units = units_of(np.arange(120), label, _all(120), stratum=stratum)
        found = measured(units, units.pooled(sparse(rng.normal(size=(120, 1)))))
        expected = dense_mde(units, 0.05, 50)
        assert needed_z(0.05, 50) * found.detectable[0] == pytest.approx(expected, rel=1e-9)
    units = units_of(np.repeat(np.arange(60), 2), np.tile([0, 1], 60), _all(120))
    found = measured(units, units.pooled(sparse(rng.normal(size=(120, 1)))))
    assert needed_z(0.05, 50) * found.detectable[0] == pytest.approx(dense_mde(units, 0.05, 50))


def test_eligible_is_decided_by_firing_as_the_formula_says():
    label = np.concatenate([np.ones(30), np.zeros(70)])
    dense = np.zeros((100, 40))
    for f in range(40):
        dense[np.random.default_rng(f).permutation(100)[: f + 1], f] = np.arange(f + 1) + 1.0
    units = units_of(np.arange(100), label, _all(100))
    found = measured(units, units.pooled(sparse(dense)))
    reach = reachable_z(found.table, units, found.law.variance)
    active = np.arange(40) + 1
    mde = needed_z(0.05, 40) * np.sqrt(found.law.variance) / (30 * 70)
    expected = (active >= 10) & (active / (2 * 30) >= mde)
    np.testing.assert_array_equal(eligible(found.table.active, reach, 0.05, 40), expected)
    assert 0 < expected.sum() < 40
    swapped = units_of(np.arange(100), np.random.default_rng(0).permutation(label), _all(100))
    again = measured(swapped, swapped.pooled(sparse(dense)))
    np.testing.assert_allclose(reachable_z(again.table, swapped, again.law.variance), reach, rtol=1e-12)


@pytest.mark.parametrize("absent", ["zero", "missing"])
def test_correlations_of_halves_are_those_of_their_rows(absent):
    rng = np.random.default_rng(3)
    dense = table(rng, 200, 4, density=0.6) + 1e3 * (np.arange(4) == 3)
    if absent == "missing":
        dense[rng.random(dense.shape) < 0.3] = np.nan
    label, stratum = (rng.random(200) < 0.4).astype(float), rng.integers(0, 2, 200)
    fold = folds(np.arange(200), label, continuous=False, seed=5)
    assert np.ptp(np.bincount(fold[label == 1])) <= 1 and np.ptp(np.bincount(fold)) <= 2
    halves = split_halves(5)
    assert (halves.sum(0) == 5).all()
    found = half_correlations(sparse(dense, absent=absent), label, stratum, fold, halves)
    for split in (0, 7, 19):
        for side, column in ((1, split), (0, 20 + split)):
            rows = halves[fold, split] == side
            for f in range(4):
                x, y, s = (v[rows & ~np.isnan(dense[:, f])] for v in (dense[:, f], label, stratum))
                for k in range(2):
                    x = np.where(s == k, x - x[s == k].mean(), x)
                    y = np.where(s == k, y - y[s == k].mean(), y)
                expected = (x @ y) / np.sqrt((x @ x) * (y @ y))
                assert found[f, column] == pytest.approx(expected, abs=1e-5)
    d = table(rng, 60, 3, density=0.7)
    pairs = half_contrasts(sparse(d), fold[:60] % 10, halves)
    rows = halves[fold[:60] % 10, 4] == 1
    expected = d[rows].sum(0) / np.sqrt(rows.sum() * np.square(d[rows]).sum(0))
    np.testing.assert_allclose(pairs[:, 4], expected, atol=1e-6)


def test_stability_counts_halves_and_signs():
    halves = np.zeros((4, 40), dtype=np.float32)
    halves[0] = 0.9
    halves[1] = np.where(np.arange(40) % 2 == 0, 0.5, 0.01)
    halves[2] = np.where(np.arange(40) < 20, 0.2, -0.2)
    halves[3] = np.nan
    found = stability(halves, 2)
    np.testing.assert_allclose(found.selection, [1, 0.5, 0.5, 0])
    np.testing.assert_allclose(found.sign, [1, 1, 0, 0])
    assert found.rank is not None and found.rank > 0.5


def test_the_stated_power_is_met():
    rng = np.random.default_rng(4)
    label = np.tile([0, 1], 72)
    shift = np.sqrt(2) * stats.norm.ppf(0.70)
    units = units_of(np.arange(144), label, _all(144))
    found = measured(units, units.pooled(sparse(rng.normal(size=(144, 2000)) + shift * label[:, None])))
    bar = stats.norm.ppf(1 - 0.05 / 100)
    assert (np.abs(found.law.z) >= bar).mean() == pytest.approx(0.8, abs=0.04)


@pytest.mark.parametrize("design", ["between", "within"])
def test_p_is_uniform_where_nothing_is_associated(design):
    rng = np.random.default_rng(5)
    dense = table(rng, 240, 3000, density=0.2)
    group = np.arange(240) if design == "between" else np.repeat(np.arange(120), 2)
    units = units_of(group, np.tile([0, 1], 120), _all(240))
    found = measured(units, units.pooled(sparse(dense)))
    assert units.design == design and (found.loose >= 30).mean() > 0.9
    z = found.law.z[found.loose >= 30]
    for level in (0.05, 0.01):
        share = (np.abs(z) >= stats.norm.ppf(1 - level / 2)).mean()
        assert share == pytest.approx(level, abs=3.5 * np.sqrt(level / len(z)))
