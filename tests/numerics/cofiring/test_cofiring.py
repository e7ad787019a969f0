"""Sums, samples, pairs, ratios: each against a slow and obvious second derivation, and whatever the order."""

import math

import numpy as np
import pytest

from radiograph.core import UserError
from radiograph.numerics.cofiring import (
    PairCounts,
    added,
    as_fixed,
    as_real,
    extremes,
    fired_pairs,
    joined,
    keys,
    ratios,
    smallest,
    text_keys,
)


def test_fixed_sums_do_not_depend_on_the_order_of_their_terms():
    rng = np.random.default_rng(0)
    terms = rng.normal(size=(200, 5)) * 10.0 ** rng.integers(-6, 6, (200, 1))
    fixed = as_fixed(terms, 24, "h")
    ways = []
    for _ in range(5):
        total = np.zeros(5, np.int64)
        for part in np.array_split(rng.permutation(200), 7):
            total = added(total, fixed[part].sum(axis=0), "h")
        ways.append(total)
    assert all(np.array_equal(ways[0], way) for way in ways)
    assert np.allclose(as_real(ways[0], 24), terms.sum(axis=0), atol=200 * 2.0**-25)


def test_a_sum_that_does_not_fit_is_an_error_and_names_its_place():
    with pytest.raises(UserError) as problem:
        as_fixed(np.array([1.0, 2.0**39]), 24, "h")
    assert problem.value.code == "overflow" and problem.value.where == "h[1]"
    with pytest.raises(UserError) as problem:
        as_fixed(np.array([[0.0, np.nan]]), 24, "h")
    assert problem.value.code == "not_finite"
    large = np.array([2**62, 5], np.int64)
    with pytest.raises(UserError) as problem:
        added(large, large, "firings")
    assert problem.value.code == "overflow" and problem.value.where == "firings[0]"


def _items(seed=0, n=4000, owners=13):
    rng = np.random.default_rng(seed)
    owner = rng.integers(0, owners, n)
    text, place = rng.integers(0, 300, n), rng.integers(0, 64, n)
    who = text_keys(7, "who", [str(i) for i in range(owners)])
    where = text_keys(7, "where", [str(i) for i in range(300)])
    return owner, keys(who[owner], where[text], place)


def test_a_keyed_sample_is_the_union_of_the_samples_of_any_parts():
    owner, key = _items()
    whole = smallest(owner, key, 40)
    expected = {(int(o), int(k)) for o in range(13) for k in sorted(key[owner == o])[:40]}
    assert {(int(owner[i]), int(key[i])) for i in whole} == expected
    rng = np.random.default_rng(3)
    for parts in (2, 7):
        kept = []
        for part in np.array_split(rng.permutation(len(owner)), parts):
            kept.append(part[smallest(owner[part], key[part], 40)])
        at = np.concatenate(kept)
        again = at[smallest(owner[at], key[at], 40)]
        assert np.array_equal(key[again], key[whole])


def test_d10_10_examples_are_uniform_over_firings():
    """χ² of 10⁴ firings in 20 classes by place of arrival, over 30 seeds: p-values are not piled up at 0."""
    from scipy.stats import chisquare, kstest

    found = []
    who = text_keys(0, "who", ["c"])[0]
    place = np.arange(10_000) % 100
    for seed in range(30):
        where = text_keys(seed, "where", [str(i) for i in range(100)])
        key = keys(np.broadcast_to(who, 10_000), where[np.arange(10_000) // 100], place)
        chosen = smallest(np.zeros(10_000, np.int64), key, 1000)
        found.append(chisquare(np.bincount(chosen // 500, minlength=20)).pvalue)
    # Without replacement the spread is smaller than χ² expects (factor 1 − 1/10): p leans up, never down.
    assert np.mean(np.array(found) < 0.05) <= 0.1
    assert kstest(found, "uniform").statistic < 0.3


def test_keys_tell_owner_text_and_place_apart():
    a, b = text_keys(1, "who", ["a", "b"])
    x, y = text_keys(1, "where", ["x", "y"])
    combos = {
        int(keys(np.array([w]), np.array([t]), np.array([p]))[0]) for w in (a, b) for t in (x, y) for p in (0, 1, 2)
    }
    assert len(combos) == 12


def test_equal_keys_keep_the_order_that_they_came_in_and_close_ones_their_own():
    owner = np.array([1, 0, 1, 0, 1, 1])
    key = np.array([2**63 + 1, 7, 2**63, 7, 2**63, 5], np.uint64)
    assert smallest(owner, key, 9).tolist() == [1, 3, 5, 2, 4, 0]
    assert smallest(owner, key, 2).tolist() == [1, 3, 5, 2]
    assert smallest(owner[:0], key[:0], 3).tolist() == []


@pytest.mark.parametrize("rate", [0.02, 0.6])
def test_d10_10_pairs_over_batches_equal_pairs_of_all_rows(rate):
    rng = np.random.default_rng(4)
    fires = rng.random((300, 17)) < np.where(np.arange(300)[:, None] < 150, rate, 0.01)
    pairs = PairCounts(17)
    assert pairs.counts().nnz == 0
    for part in np.array_split(fires, 5):
        pairs.add(part)
    whole = fired_pairs(fires)
    assert (pairs.counts() != whole).nnz == 0 and pairs.counts().nnz == whole.nnz
    assert np.array_equal(pairs.counts().indices, whole.indices)


@pytest.mark.parametrize("rate", [0.02, 0.6])
def test_d10_10_pairs_equal_a_plain_recount(rate):
    rng = np.random.default_rng(1)
    fires = rng.random((300, 17)) < rate
    found = fired_pairs(fires).toarray()
    for i in range(17):
        for j in range(17):
            assert found[i, j] == (sum(bool(r[i]) and bool(r[j]) for r in fires) if i < j else 0)
    halves = joined(fired_pairs(fires[:120]), fired_pairs(fires[120:]))
    assert np.array_equal(halves.toarray(), found) and halves.nnz == np.count_nonzero(found)


def test_d10_10_ratios_equal_their_definitions():
    rng = np.random.default_rng(2)
    x, y = rng.random(400) < 0.3, rng.random(400) < 0.2
    both = int((x & y).sum())
    found = ratios(np.array([both]), int(x.sum()), np.array([int(y.sum())]), 400)
    assert found.precision[0] == pytest.approx(y[x].mean())
    assert found.recall[0] == pytest.approx(x[y].mean())
    assert found.jaccard[0] == pytest.approx((x & y).sum() / (x | y).sum())
    assert found.lift[0] == pytest.approx((x & y).mean() / (x.mean() * y.mean()))
    assert found.pmi[0] == pytest.approx(math.log(found.lift[0]))
    never = ratios(np.array([0, 0]), 5, np.array([3, 0]), 10)
    assert never.pmi[0] == -np.inf and np.isnan(never.pmi[1])


def test_extremes_are_apart_and_leave_out_what_was_hardly_seen():
    values = np.array([3.0, -np.inf, 1.0, 9.0, 2.0, np.nan])
    top, bottom = extremes(values, np.array([True, True, True, False, True, True]), 2)
    assert top.tolist() == [0, 4] and bottom.tolist() == [1, 2]
