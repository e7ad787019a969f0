"""Scores, bands, merges and overlaps: each a second time by hand, or as PEFT does it."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
import torch
from peft.utils import merge_utils
from scipy import stats

from radiograph.core import Refusal, UserError
from radiograph.numerics.interference import (
    Change,
    Factors,
    Shift,
    band_of,
    difference_interval,
    gain,
    merged,
    overlap,
    paired_scores,
    ratio_interval,
    shared_shift,
)
from radiograph.numerics.proportions import Interval


def pair(seed=0, ranks=(4, 4), rows=20, columns=30, scales=(2.0, 0.7)):
    rng = np.random.default_rng(seed)
    return [
        Factors(
            rng.standard_normal((rows, r)).astype(np.float32), rng.standard_normal((r, columns)).astype(np.float32), s
        )
        for r, s in zip(ranks, scales, strict=True)
    ]


def dense(factors):
    return factors.scale * factors.b.astype(np.float64) @ factors.a.astype(np.float64)


@pytest.mark.parametrize(
    ("score", "interval", "band"),
    [
        (0.0499, None, "OK"),
        (0.05, None, "MINOR"),
        (0.1999, None, "MINOR"),
        ((0.96 - 0.80) / 0.80, None, "MAJOR"),
        (5.0, None, "MAJOR"),
        (-0.05, None, "HELPS"),
        (-0.9, None, "HELPS"),
        (-0.0499, None, "OK"),
        (0.3, (0.2, 0.4), "MAJOR"),
        (0.3, (0.19, 0.4), "INCONCLUSIVE"),
        (0.1, (0.05, 0.2), "INCONCLUSIVE"),
        (0.1, (0.01, 0.19), "MINOR"),
        (0.01, (-0.3, 0.1), "OK"),
        (-0.3, (-0.5, -0.01), "HELPS"),
        (-0.3, (-0.6, 0.01), "OK"),
        (-0.3, (-0.9, 0.3), "INCONCLUSIVE"),
    ],
)
def test_bands(score, interval, band):
    assert band_of(score, None if interval is None else Interval(*interval)) == band


def losses(seed=0, rows=90, groups=30, conditions=3, repeats=1):
    rng = np.random.default_rng(seed)
    alone = rng.gamma(2.0, 1.0, rows)
    both = alone * np.linspace(0.9, 1.3, conditions)[:, None, None] * rng.uniform(0.8, 1.2, (conditions, repeats, rows))
    return alone, both, rng.permutation(np.arange(rows) % groups)


def test_scores_and_intervals_a_second_time():
    alone, both, groups = losses(repeats=3)
    found = paired_scores(alone, both, groups, seed=5, resamples=4000)
    rng = np.random.default_rng(99)
    names = np.unique(groups)
    draws = []
    for _ in range(1500):
        rows = np.concatenate([np.flatnonzero(groups == g) for g in rng.choice(names, len(names))])
        draws.append(both[1].mean(0)[rows].sum() / alone[rows].sum() - 1)
    assert found.score[1] == pytest.approx(both[1].mean(0).sum() / alone.sum() - 1)
    assert found.repeats[1] == pytest.approx([one.sum() / alone.sum() - 1 for one in both[1]])
    spread, score = np.std(draws), found.score[1]
    few = stats.t.ppf(0.975, 29) / stats.norm.ppf(0.975) * np.sqrt(30 / 29)
    seeds = stats.t.ppf(0.975, 2) * np.std(found.repeats[1], ddof=1) / np.sqrt(3)
    for end, quantile in ((found.low[1], 0.025), (found.high[1], 0.975)):
        off = np.hypot(few * (np.quantile(draws, quantile) - score), seeds)
        assert abs(end - score) == pytest.approx(off, abs=0.2 * spread)


def test_pd_19_repeated_rows_and_another_order_change_no_interval():
    alone, both, groups = losses()
    plain = paired_scores(alone, both, groups, seed=1)
    order = np.random.default_rng(0).permutation(len(alone))
    for rows in (order, np.tile(np.arange(len(alone)), 5)):
        again = paired_scores(alone[rows], both[:, :, rows], groups[rows], seed=1)
        assert np.allclose([plain.low, plain.high, plain.score], [again.low, again.high, again.score], atol=1e-12)


def test_conditions_share_their_draws():
    alone, both, groups = losses()
    whole, one = (paired_scores(alone, b, groups, seed=3) for b in (both, both[1:2]))
    assert (whole.low[1], whole.high[1]) == pytest.approx((one.low[0], one.high[0]))


def test_p8_8_intervals_cover_a_larger_evaluation():
    """Of 20 evaluations of 60 rows, how many intervals hold what ten times the rows say."""
    covered = 0
    for seed in range(20):
        rng = np.random.default_rng([seed, 7])
        alone, change = rng.gamma(1.5, 1.0, 660), rng.gamma(8.0, 0.16, 660)
        both = (alone * change)[None, None]
        found = paired_scores(alone[:60], both[:, :, :60], np.arange(60), seed=seed)
        larger = both[0, 0, 60:].sum() / alone[60:].sum() - 1
        covered += bool(found.low[0] <= larger <= found.high[0])
    assert covered >= 18


@pytest.mark.parametrize(("groups", "repeats", "apart"), [(12, 1, 0.0), (100, 2, 0.1), (100, 5, 0.1)])
def test_few_groups_and_few_seeds_keep_the_level(groups, repeats, apart):
    """Losses that change by 20 % on the whole are MAJOR, or shown to be less, in a twentieth of evaluations at most."""
    missed, draws = 0, 300
    for seed in range(draws):
        rng = np.random.default_rng([seed, 11])
        alone = rng.gamma(2.0, 0.5, groups)
        change = (1.2 + 0.3 * rng.standard_normal(groups)) * (1 + apart * rng.standard_normal((1, repeats, 1)))
        found = paired_scores(alone, alone * change, np.arange(groups), seed=seed, resamples=400)
        missed += not found.low[0] <= 0.2 <= found.high[0]
    assert missed <= draws * (0.05 + 2 * np.sqrt(0.05 * 0.95 / draws))


def test_no_loss_and_one_group_are_refused():
    alone, both, groups = losses()
    with pytest.raises(Refusal, match="two groups"):
        paired_scores(alone, both, np.zeros_like(groups), seed=0)
    one = paired_scores(np.where(groups == 3, 0.0, alone), both, groups, seed=0)
    assert np.isfinite([one.low, one.high]).all(), "one row learnt by heart is no gap: sums are compared"
    for few in (0, 1):
        with pytest.raises(Refusal, match="loss to change") as caught:
            paired_scores(np.where(groups < few, alone, 0.0), both, groups, seed=0)
        assert caught.value.code == "no_loss"
    with pytest.raises(UserError, match="finite"):
        paired_scores(np.where(groups == 3, np.nan, alone), both, groups, seed=0)


def test_many_groups_need_no_square_of_them():
    rng = np.random.default_rng(0)
    rows = 30_000
    alone = rng.gamma(2.0, 1.0, rows)
    tracemalloc.start()
    found = paired_scores(alone, 1.1 * alone[None, None], np.arange(rows), seed=0, resamples=40)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert found.score[0] == pytest.approx(0.1)
    assert peak < 300 * 2**20, "a matrix of groups by rows would be 6.7 GiB"


def test_gain_is_a_difference_of_means_over_tokens():
    alone, both, groups = losses()
    tokens = np.ones(len(alone)) * 2
    won, interval = gain(both[2, 0], alone, tokens, groups, seed=0)
    assert won == pytest.approx((both[2, 0] - alone).mean() / 2)
    assert interval.low < won < interval.high


def test_ratio_of_means_covers_at_its_level():
    rng = np.random.default_rng(0)
    n, inside = 40, 0
    for _ in range(400):
        x, y = rng.normal(1.0, 0.4, n), rng.normal(1.2, 0.5, n)
        found = ratio_interval((x.mean(), x.std(ddof=1), n), (y.mean(), y.std(ddof=1), n))
        inside += found is not None and found.low <= 0.2 <= found.high
    assert 0.92 <= inside / 400 <= 0.985
    assert ratio_interval((0.1, 5.0, 10), (1.0, 0.1, 10)) is None
    assert ratio_interval((0.1, 5.0, 1), (1.0, 0.1, 10)) is None
    low, high = difference_interval((1.0, 1.0, 101), (0.5, 0.0, 101))
    assert (low + high) / 2 == pytest.approx(0.5)
    assert high - low == pytest.approx(2 * 1.984 / np.sqrt(101), rel=1e-3)


@pytest.mark.parametrize("how", ["linear", "ties"])
def test_merges_are_those_of_peft(how):
    parts = pair()
    found = merged(parts, how, density=0.4)
    weights = torch.tensor([np.sqrt(p.scale) for p in parts])
    for side in ("a", "b"):
        stack = [torch.tensor(getattr(p, side)).double() for p in parts]
        theirs = (
            merge_utils.task_arithmetic(stack, weights)
            if how == "linear"
            else merge_utils.ties(stack, weights, density=0.4)
        )
        assert getattr(found, side) == pytest.approx(theirs.numpy(), abs=1e-6)


def test_random_pruning_keeps_the_mean_and_elects_signs():
    parts = pair()
    same = merged(parts, "dare_ties", density=1.0, generator=np.random.default_rng(0))
    weights = [np.sqrt(p.scale) for p in parts]
    for i, j in np.ndindex(same.a.shape):
        own = [p.a[i, j] for p in parts]
        sign = 1 if sum(own) >= 0 else -1
        kept = [w * v for w, v in zip(weights, own, strict=True) if v * sign > 0]
        assert same.a[i, j] == pytest.approx(sum(kept) / len(kept), rel=1e-5)
    one = [merged(parts[:1], "dare_ties", density=0.5, generator=np.random.default_rng(s)).a for s in range(400)]
    assert np.mean(one, axis=0) == pytest.approx(parts[0].a * weights[0], abs=0.9)
    again = merged(parts[:1], "dare_ties", density=0.5, generator=np.random.default_rng(0)).a
    assert np.array_equal(one[0], again)


def test_svd_is_the_best_of_its_rank():
    parts = pair(ranks=(4, 3))
    u, s, v = np.linalg.svd(dense(parts[0]) + dense(parts[1]))
    assert dense(merged(parts, "svd")) == pytest.approx((u[:, :4] * s[:4]) @ v[:4], abs=1e-9)


def test_ranks_that_differ_are_refused():
    with pytest.raises(UserError, match="other ranks"):
        merged(pair(ranks=(4, 3)), "linear")


def test_overlap_equals_that_of_dense_matrices():
    one, two = pair(ranks=(4, 3))
    found = overlap(Change.of(one), Change.of(two))
    w, x = dense(one), dense(two)
    assert found.cosine == pytest.approx((w * x).sum() / np.linalg.norm(w) / np.linalg.norm(x))
    (u, _, p), (v, _, q) = np.linalg.svd(w), np.linalg.svd(x)
    assert found.columns == pytest.approx(np.square(u[:, :4].T @ v[:, :3]).sum() / 3)
    assert found.rows == pytest.approx(np.square(p[:4] @ q[:3].T).sum() / 3)
    assert (found.columns_chance, found.rows_chance) == (4 / 20, 4 / 30)
    large = (abs(w) >= np.quantile(abs(w), 0.8)) & (abs(x) >= np.quantile(abs(x), 0.8))
    assert (found.large, found.conflicts) == (large.sum(), ((w * x < 0) & large).sum())


def test_overlap_of_one_with_itself_its_opposite_and_nothing():
    one, _ = pair()
    negative, nothing = Factors(-one.b, one.a, one.scale), Factors(0 * one.b, one.a)
    same, against, none = (overlap(Change.of(one), Change.of(other)) for other in (one, negative, nothing))
    assert (same.cosine, same.columns, same.conflicts) == (pytest.approx(1), pytest.approx(1), 0)
    assert against.cosine == pytest.approx(-1)
    assert against.conflicts == against.large
    assert (none.cosine, none.columns, none.columns_chance, none.large) == (None, None, None, 0)


def test_chance_of_random_subspaces():
    found = [overlap(*map(Change.of, pair(seed=s, ranks=(5, 3)))) for s in range(60)]
    assert np.mean([o.columns for o in found]) == pytest.approx(5 / 20, abs=0.02)
    assert np.mean([o.conflicts / o.large for o in found]) == pytest.approx(0.5, abs=0.06)


def test_shifts_of_activations():
    rng = np.random.default_rng(0)
    base = rng.standard_normal((50, 12))
    a, b = rng.standard_normal((2, 50, 3))
    directions = np.linalg.qr(rng.standard_normal((12, 6)))[0].T
    one, two = base + a @ directions[:3], base + b @ directions[3:]
    found = shared_shift(Shift.of(base, one), Shift.of(base, two))
    assert found.subspace == pytest.approx(0, abs=1e-9)
    assert found.chance == 3 / 12
    same = shared_shift(Shift.of(base, one), Shift.of(base, base + 2 * (one - base)))
    assert (same.cosine, same.subspace, same.tokens) == (pytest.approx(1), pytest.approx(1), 50)
    none = shared_shift(Shift.of(base, one), Shift.of(base, base))
    assert (none.cosine, none.subspace, none.chance) == (None, None, None)
