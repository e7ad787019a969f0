"""Matching: each step against a slower derivation, invariances, planted pairs found, a null that stays silent."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats
from scipy.optimize import linear_sum_assignment

from radiograph.core import Refusal, UserError
from radiograph.numerics.matching import Activations, Matches, Similarity, block_orders, match, search
from radiograph.numerics.matching import _similarity as similarity_module


def sparse_table(rng: np.random.Generator, units: int, features: int, density: float) -> np.ndarray:
    on = rng.random((units, features)) < density
    return np.where(on, rng.exponential(size=on.shape) + 0.01, 0.0)


def planted(
    seed: int, *, features: int, units: int, pairs: int, density: float = 0.08, noise: float = 0.2
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Two sides; left feature i < pairs is right feature truth[i] but for `noise` of the units."""
    rng = np.random.default_rng(seed)
    left, right = (sparse_table(rng, units, features, density) for _ in range(2))
    kept = rng.random((units, pairs)) >= noise
    right[:, :pairs] = np.where(kept, left[:, :pairs] * rng.uniform(0.8, 1.2, (units, pairs)), right[:, :pairs])
    order = rng.permutation(features)
    return left, right[:, order], np.argsort(order)[:pairs]


def matched(left: np.ndarray, right: np.ndarray, groups: np.ndarray | None = None, **options: object) -> Matches:
    names = np.arange(len(left)) if groups is None else groups
    return match(Activations.of_dense(left), Activations.of_dense(right), names, seed=0, **options)  # type: ignore[arg-type]


def pairs_of(found: Matches) -> list[tuple[int, int]]:
    return list(zip(found.matches.left.tolist(), found.matches.right.tolist(), strict=True))


def table_of(similarity: Similarity) -> np.ndarray:
    whole = np.full((similarity.left.table.features, similarity.right.table.features), np.nan)
    for part in similarity.blocks():
        rows, columns = part.values.shape
        whole[part.left : part.left + rows, part.right : part.right + columns] = part.values
    return whole


@pytest.mark.parametrize("density", [0.03, 0.5])
@pytest.mark.parametrize("kind", ["pearson", "spearman", "jaccard"])
@pytest.mark.parametrize("kept", [0, 1 << 20])
def test_similarities_are_those_of_scipy(kind, density, kept, monkeypatch):
    monkeypatch.setattr(similarity_module, "BLOCK", 4)
    monkeypatch.setattr(similarity_module, "_UNITS", 17)
    monkeypatch.setattr(similarity_module, "_KEPT", kept)
    rng = np.random.default_rng(1)
    left, right = (sparse_table(rng, 60, n, density) * rng.choice([-1, 1, 1, 1], (60, n)) for n in (9, 7))
    left[:, 3] = 0.0  # constant
    left[:, 4], right[:, 2] = 5.0, np.round(right[:, 2], 1)
    left[0, 4] = 5.0 if kind == "jaccard" else 4.0
    found = Similarity.of(Activations.of_dense(left), Activations.of_dense(right), kind)
    table = table_of(found)
    draws = np.stack([rng.permutation(60) for _ in range(5)])
    best = found.best_of_draws(draws)
    for draw, values in zip(draws, best, strict=True):
        other = Similarity.of(Activations.of_dense(left[draw]), Activations.of_dense(right), kind)
        assert values == pytest.approx(table_of(other).max(axis=1), abs=2e-6)
    for i in range(9):
        for j in range(7):
            x, y = left[:, i], right[:, j]
            if kind == "jaccard":
                either = ((x != 0) | (y != 0)).sum()
                expected = ((x != 0) & (y != 0)).sum() / either if either else 0.0
            elif np.ptp(x) == 0 or np.ptp(y) == 0:
                expected = 0.0
            else:
                expected = (stats.pearsonr if kind == "pearson" else stats.spearmanr)(x, y)[0]
            assert table[i, j] == pytest.approx(expected, abs=1e-6)
            assert found.exact(np.array([i]), np.array([j]))[0] == pytest.approx(expected, abs=1e-12)


def test_the_search_finds_what_the_whole_table_says(monkeypatch):
    monkeypatch.setattr(similarity_module, "BLOCK", 7)
    rng = np.random.default_rng(2)
    left, right = sparse_table(rng, 80, 23, 0.3), sparse_table(rng, 80, 19, 0.3)
    similarity = Similarity.of(Activations.of_dense(left), Activations.of_dense(right))
    table = table_of(similarity)
    for whole in (50, 5):  # the exact pairing, and that of candidates
        found = search(similarity, exact=whole, candidates=19)
        for best, values in ((found.left, table), (found.right, table.T)):
            order = np.argsort(-values, axis=1)[:, :2]
            assert np.array_equal(best.places, order)
            assert np.allclose(best.scores, np.take_along_axis(values, order, 1))
        rows, columns = linear_sum_assignment(table, maximize=True)
        kept = found.assigned >= 0
        assert table[np.flatnonzero(kept), found.assigned[kept]].sum() == pytest.approx(table[rows, columns].sum())
    few = search(similarity, exact=5, candidates=3)
    kept = few.assigned >= 0
    assert len(set(few.assigned[kept].tolist())) == kept.sum()
    assert table[np.flatnonzero(kept), few.assigned[kept]].sum() > 0.9 * table[rows, columns].sum()


def test_one_partner_has_no_runner_up():
    rng = np.random.default_rng(3)
    left = sparse_table(rng, 60, 1, 0.5)
    found = matched(left, left.copy())
    assert np.isnan(found.margin[0]) and not found.ambiguous[0]
    assert found.score[0] == pytest.approx(1.0)


def test_groups_move_whole_and_in_their_order():
    rng = np.random.default_rng(0)
    groups = np.repeat(np.arange(8), [3, 3, 3, 1, 6, 4, 2, 5])[rng.permutation(27)]
    (sources,) = block_orders(groups, 50, 1)
    for draw in sources:
        partners = [set(groups[draw[groups == g]].tolist()) for g in range(8)]
        assert all(len(p) == 1 for p in partners) and set.union(*partners) == set(range(8))
        for g in range(8):
            taken = draw[groups == g]
            here, there = len(taken), (groups == groups[taken[0]]).sum()
            members = np.flatnonzero(groups == groups[taken[0]])
            assert taken.tolist() == [members[int((i + 0.5) * there / here)] for i in range(here)]
    assert len({tuple(draw) for draw in sources}) == 50
    with pytest.raises(Refusal, match="few_groups"):
        next(block_orders(np.repeat(np.arange(5), 9), 3, 1))


def test_partners_are_of_like_length():
    sizes = np.array([1] * 12 + [2] * 4 + [3] * 7 + [8] * 3)[np.random.default_rng(3).permutation(26)]
    groups = np.repeat(np.arange(26), sizes)
    (sources,) = block_orders(groups, 40, 1)
    kinds = np.array([0 if size == 1 else 1 for size in sizes])
    for draw in sources:
        assert np.array_equal(kinds[groups[draw]], kinds[groups])
        assert len(set(groups[draw].tolist())) == 26
    assert len({tuple(draw) for draw in sources}) == 40


@pytest.mark.parametrize("kept", [0, 1 << 20])
def test_a_draw_of_stretched_groups_has_moments_of_its_own(kept, monkeypatch):
    monkeypatch.setattr(similarity_module, "_KEPT", kept)
    rng = np.random.default_rng(1)
    left, right = sparse_table(rng, 60, 5, 0.5), sparse_table(rng, 60, 4, 0.5)
    groups = np.sort(rng.integers(0, 12, 60))
    (sources,) = block_orders(groups, 6, 2)
    found = Similarity.of(Activations.of_dense(left), Activations.of_dense(right)).best_of_draws(sources)
    for draw, values in zip(sources, found, strict=True):
        slow = [max(np.corrcoef(left[draw, i], right[:, j])[0, 1] for j in range(4)) for i in range(5)]
        assert values == pytest.approx(slow, abs=2e-6)


def test_p_is_that_of_a_loop_over_draws_and_features():
    left, right, _ = planted(4, features=12, units=90, pairs=3, density=0.4)
    groups = np.repeat(np.arange(30), 3)
    found = matched(left, right, groups, level=1.0)  # level 1: no second draws
    from radiograph.core import derive

    null = []
    for sources in block_orders(groups, 20, derive(0, "null")):
        for draw in sources:
            moved = left[draw]
            null.append([max(np.corrcoef(moved[:, i], right[:, j])[0, 1] for j in range(12)) for i in range(12)])
    active = (left != 0).sum(axis=0)
    edges = np.quantile(active, np.arange(1, 10) / 10)
    decile = np.array([sum(a > e for e in edges) for a in active])
    table = np.array(null)
    for i in range(12):
        pool = table[:, decile == decile[i]].ravel()
        assert found.p[i] == pytest.approx((1 + (pool >= found.score[i] - 1e-5).sum()) / (1 + len(pool)))


def test_y3_13_the_planted_pair_is_first_and_noise_is_absent():
    left, right, truth = planted(5, features=150, units=300, pairs=1, density=0.15)
    found = matched(left, right)
    assert pairs_of(found) == [(0, int(truth[0]))]
    assert found.q[0] <= 0.05 and found.margin[0] > 0.2 and not found.ambiguous[0]
    assert found.low[0] < found.score[0] < found.high[0]
    assert len(found.left_only) == len(found.right_only) == 149
    assert len(found.best) == 150  # all features, whatever is shown of them
    only = found.assigned_only
    assert len(only) == 149 and (0, int(truth[0])) not in set(zip(only.left.tolist(), only.right.tolist(), strict=True))


def test_twins_are_ambiguous():
    left, right, truth = planted(6, features=40, units=300, pairs=2, density=0.2, noise=0.05)
    right[:, [truth[1]]] = right[:, [truth[0]]] * np.random.default_rng(0).uniform(0.95, 1.05, (300, 1))
    found = matched(left, right)
    row = int(np.flatnonzero(found.left == 0)[0])
    assert found.matched[row] and found.ambiguous[row] and abs(found.margin[row]) < 0.05


def test_a_rival_is_on_either_side():
    left, right, _ = planted(7, features=12, units=200, pairs=4, density=0.3)
    found = matched(left, right)
    table = table_of(Similarity.of(Activations.of_dense(left), Activations.of_dense(right)))
    for i, j in enumerate(found.best):
        others = np.concatenate([np.delete(table[i], j), np.delete(table[:, j], i)])
        assert found.margin[i] == pytest.approx(table[i, j] - others.max(), abs=1e-5)


def test_y3_12_orders_of_units_features_and_sides_change_nothing():
    left, right, _ = planted(8, features=60, units=160, pairs=15, density=0.2)
    groups = np.repeat(np.arange(40), 4)
    found = matched(left, right, groups)
    # Units come sorted by their ids, so a file's order cannot matter; entries in any order give the same table.
    unit, feature = np.nonzero(left)
    mixed = np.random.default_rng(0).permutation(len(unit))
    again = Activations.of(feature[mixed], unit[mixed], left[unit, feature][mixed], features=60, units=160)
    same = match(again, Activations.of_dense(right), groups, seed=0)
    assert np.array_equal(same.p, found.p) and np.array_equal(same.low, found.low, equal_nan=True)
    order, other = np.random.default_rng(1).permutation(60), np.random.default_rng(2).permutation(60)
    moved = matched(left[:, order] * 1e6, right[:, other] * 1e-3, groups)
    assert sorted((int(order[a]), int(other[b])) for a, b in pairs_of(moved)) == sorted(pairs_of(found))
    assert np.allclose(moved.p, found.p[order])
    back = matched(right, left, groups)
    mutual = {(int(j), int(i)) for i, j in zip(back.left[back.mutual], back.best[back.mutual], strict=True)}
    assert mutual == {(int(i), int(j)) for i, j in zip(found.left[found.mutual], found.best[found.mutual], strict=True)}


@pytest.mark.parametrize("kind", ["pearson", "spearman", "jaccard"])
def test_intervals_are_those_of_a_bootstrap_by_hand(kind):
    left, right, _ = planted(9, features=20, units=120, pairs=6, density=0.3)
    groups = np.repeat(np.arange(24), 5)
    found = matched(left, right, groups, similarity=kind, resamples=300)
    similarity = Similarity.of(Activations.of_dense(left), Activations.of_dense(right), kind)
    from radiograph.core import derive
    from radiograph.numerics.resampling import draws_of

    counts = np.concatenate(list(draws_of(24, 24, 300, derive(0, "interval"))))
    row = int(np.flatnonzero(found.matched)[0])
    x = similarity.left.table.dense(np.array([row]))[:, 0]
    y = similarity.right.table.dense(np.array([found.best[row]]))[:, 0]
    values = []
    for draw in counts:
        taken = np.repeat(np.arange(120), draw[groups].astype(int))
        if kind == "jaccard":
            values.append(((x[taken] != 0) & (y[taken] != 0)).sum() / ((x[taken] != 0) | (y[taken] != 0)).sum())
        else:
            values.append(np.corrcoef(x[taken], y[taken])[0, 1])
    assert (found.low[row], found.high[row]) == pytest.approx(tuple(np.quantile(values, [0.025, 0.975])))


def test_repeated_rows_inside_their_groups_change_no_interval():
    left, right, _ = planted(10, features=20, units=60, pairs=5, density=0.4)
    once = matched(left, right, resamples=200)
    five = matched(np.repeat(left, 5, axis=0), np.repeat(right, 5, axis=0), np.repeat(np.arange(60), 5), resamples=200)
    assert np.array_equal(once.matched, five.matched)
    assert np.allclose(once.low, five.low, equal_nan=True) and np.allclose(once.p, five.p)


def test_few_active_features_are_left_out_and_counted():
    left, right, _ = planted(11, features=30, units=200, pairs=3, density=0.2)
    left[:, 7] = 0
    left[:9, 7] = 1.0
    found = matched(left, right)
    assert found.few_active == (1, 0) and 7 not in found.left
    with pytest.raises(Refusal, match="few_active"):
        matched(left[:20] * (np.arange(20) < 5)[:, None], right[:20])
    with pytest.raises(Refusal, match="no_shared_units"):
        matched(left[:0], right[:0])
    with pytest.raises(UserError, match="same shared units"):
        matched(left, right[:-1])


def test_small_samples_of_sparse_features_cannot_be_matched():
    """128 units at 2.5 % firing: chance finds perfect partners."""
    rng = np.random.default_rng(12)
    left, right = ((rng.random((128, 600)) < 0.025).astype(float) for _ in range(2))
    with pytest.raises(Refusal, match="few_active"):
        matched(left[:, :50], right)
    assert matched(left, right, least=1, resamples=10).q95 == pytest.approx(1.0)


@pytest.mark.parametrize("dense", [False, True])
def test_y3_12_unrelated_features_have_honest_p(dense):
    density = 0.9 if dense else 0.2
    small = [matched(*planted(s, features=100, units=80, pairs=0, density=density)[:2]) for s in range(6)]
    p = np.concatenate([found.p for found in small])
    assert (p <= 0.05).mean() <= 0.07 + 2 * np.sqrt(0.05 / len(p))
    assert sum(found.matched.any() for found in small) <= 2


def firing_in_groups(rng: np.random.Generator, sizes: np.ndarray, features: int) -> np.ndarray:
    """Features whose units share 80 % of their firing within groups of these sizes."""
    rate = 10 ** rng.uniform(-1.3, -0.3, features)
    core = np.repeat(rng.random((len(sizes), features)) < rate, sizes, axis=0)
    on = np.where(rng.random(core.shape) < 0.8, core, rng.random(core.shape) < rate)
    return np.where(on, rng.exponential(size=on.shape), 0.0)


def test_y3_12_groups_of_unlike_size_have_honest_p():
    sizes = np.random.default_rng(0).integers(1, 8, 60)
    shares = []
    for seed in range(4):
        rng = np.random.default_rng(seed)
        left, right = (firing_in_groups(rng, sizes, 120) for _ in range(2))
        shares.append((matched(left, right, np.repeat(np.arange(60), sizes)).p <= 0.05).mean())
    assert np.mean(shares) <= 0.07


@pytest.mark.slow
@pytest.mark.parametrize("sizes", [[1], [5], [1, 2, 3, 9]])
def test_y3_12_at_full_size(sizes):
    """Rows of a group are not independent, groups are."""
    shares, matches = [], 0
    units = np.tile(sizes, 120 // len(sizes))
    for seed in range(20):
        rng = np.random.default_rng(seed)
        left, right = (firing_in_groups(rng, units, 400) for _ in range(2))
        found = matched(left, right, np.repeat(np.arange(120), units), resamples=50)
        shares.append((found.p <= 0.05).mean())
        matches += found.matched.any()
    print(sizes, np.mean(shares), matches)
    assert np.mean(shares) <= 0.07, np.mean(shares)
    assert matches <= 3, matches


@pytest.mark.slow
def test_x5_6_planted_pairs_at_full_size():
    found_pairs, false_share, silent = [], [], 0
    for seed in range(12):
        left, right, truth = planted(seed, features=1000, units=600, pairs=100)
        pairs = pairs_of(matched(left, right))
        right_ones = sum(i < 100 and truth[i] == j for i, j in pairs)
        found_pairs.append(right_ones)
        false_share.append(1 - right_ones / max(len(pairs), 1))
    for seed in range(20):
        silent += bool(pairs_of(matched(*planted(100 + seed, features=1000, units=600, pairs=0)[:2])))
    print(np.mean(found_pairs), np.mean(false_share), silent)
    assert np.mean(found_pairs) >= 85
    assert np.mean(false_share) <= 0.05
    assert silent <= 3


def test_x5_6_small():
    left, right, truth = planted(1, features=200, units=300, pairs=20, density=0.12)
    pairs = pairs_of(matched(left, right))
    good = sum(i < 20 and truth[i] == j for i, j in pairs)
    assert good >= 17 and len(pairs) - good <= 3


def test_bad_entries_are_named():
    ones = np.ones(2)
    with pytest.raises(UserError, match="two values for one feature and unit"):
        Activations.of(np.array([1, 1]), np.array([3, 3]), ones, features=2, units=4)
    with pytest.raises(UserError, match="a unit lies outside the table"):
        Activations.of(np.array([1, 1]), np.array([3, 4]), ones, features=2, units=4)
    with pytest.raises(UserError, match="not finite"):
        Activations.of(np.array([1, 1]), np.array([2, 3]), np.array([1, np.nan]), features=2, units=4)
