"""Separation, thresholds, rates and bands against slow derivations, at their edges, and under repetition."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.stats import binom, norm

from radiograph.core import Refusal
from radiograph.numerics import probes
from radiograph.numerics.proportions import Interval, clopper_pearson
from radiograph.numerics.shifts import block_length


def delong(scores, positive):
    """By pairs, as the paper has it."""
    a, b = scores[positive], scores[~positive]
    wins = (a[:, None] > b) + 0.5 * (a[:, None] == b)
    variance = wins.mean(axis=1).var(ddof=1) / len(a) + wins.mean(axis=0).var(ddof=1) / len(b)
    return wins.mean(), math.sqrt(variance)


def scored(seed=0, n=120):
    rng = np.random.default_rng(seed)
    positive = rng.random(n) < 0.4
    return np.round(rng.standard_normal(n) + positive, 1), positive


def test_the_area_is_that_of_all_pairs_and_the_error_that_of_delong():
    scores, positive = scored(n=400)
    found = probes.separation(scores, positive, np.arange(400))
    area, error = delong(scores, positive)
    assert found.area == pytest.approx(area, abs=1e-12)
    assert (found.interval.high - found.interval.low) / 2 / 1.96 == pytest.approx(error, rel=0.02)


def test_pd_19_rows_repeated_inside_their_group_change_no_interval():
    scores, positive = scored()
    group = np.arange(len(scores)) // 3
    scores = scores + np.repeat(np.random.default_rng(9).standard_normal(40), 3)
    five = np.repeat(np.arange(len(scores)), 5)
    found = probes.separation(scores, positive, group)
    again = probes.separation(scores[five], positive[five], group[five])
    assert (again.area, *again.interval) == pytest.approx((found.area, *found.interval), rel=1e-12)
    rho = probes.correlation(scores, group, 1.0)
    rho5 = probes.correlation(scores[five], group[five], 1.0)
    flagged = int((scores > 1).sum())
    once = probes.rate(flagged, len(scores), 3, rho)
    more = probes.rate(5 * flagged, 5 * len(scores), 15, rho5)
    assert rho > 0.1
    assert once.interval == pytest.approx(more.interval)


def test_rows_of_a_group_that_agree_widen_the_interval():
    rng = np.random.default_rng(0)
    group = np.repeat(np.arange(60), 10)
    scores = np.repeat(rng.standard_normal(60), 10) + 0.01 * rng.standard_normal(600)
    rho = probes.correlation(scores, group, 1.0)
    assert rho > 0.9
    assert probes.rate(100, 600, 10, rho).effective < 70
    assert probes.correlation(rng.standard_normal(600), group, 1.0) < 0.1


def test_a_perfect_area_has_the_interval_of_no_mistake():
    scores = np.arange(40.0)
    found = probes.separation(scores, scores >= 20, np.arange(40))
    assert found.interval == Interval(0.025 ** (1 / 20), 1.0)


def test_one_mistake_is_not_surer_than_none():
    scores = np.arange(40.0)
    positive = scores >= 20
    for sign in (1.0, -1.0):
        none = probes.separation(sign * scores, positive, np.arange(40))
        scores[[19, 20]] = scores[[20, 19]]
        one = probes.separation(sign * scores, positive, np.arange(40))
        scores[[19, 20]] = scores[[20, 19]]
        assert one.area != none.area
        assert one.interval.low <= none.interval.low and one.interval.high >= none.interval.high


@pytest.mark.parametrize("sizes", [np.ones(20, int), np.ones(60, int), "uneven"], ids=["20", "60", "uneven"])
@pytest.mark.parametrize("true", [0.7, 0.9])
def test_the_interval_of_an_area_covers(sizes, true):
    if isinstance(sizes, str):
        sizes = np.clip(np.random.default_rng(3).lognormal(1, 1.2, 30).astype(int), 1, 60)
    group = np.repeat(np.arange(2 * len(sizes)), np.tile(sizes, 2))
    positive, apart = group < len(sizes), norm.ppf(true) * np.sqrt(2)
    below = above = 0
    for seed in range(400):
        rng = np.random.default_rng([2, seed])
        scores = rng.standard_normal(2 * len(sizes))[group] + rng.standard_normal(len(group))
        low, high = probes.separation(scores / np.sqrt(2) + apart * positive, positive, group).interval
        below, above = below + (low > true), above + (high < true)
    assert max(below, above) <= 400 * (0.025 + 3 * np.sqrt(0.025 * 0.975 / 400))


@pytest.mark.parametrize("alike", ["all", "inside pairs"])
def test_scores_that_do_not_vary_have_an_interval_with_a_width(alike):
    pairs = np.repeat(np.arange(40), 2)
    scores = np.zeros(80) if alike == "all" else pairs.astype(float)
    flat = probes.separation(scores, np.tile([True, False], 40), pairs)
    kept = 0.025 ** (1 / 20)
    assert (flat.area, flat.groups) == (0.5, (40, 40))
    assert flat.interval == pytest.approx((kept / 2, 1 - kept / 2))
    fewer = probes.separation(scores[:16], np.tile([True, False], 8), pairs[:16]).interval
    assert fewer.low < flat.interval.low and fewer.high > flat.interval.high


def test_a_kind_of_pair_that_no_sample_showed_is_inside_the_interval():
    rng, held = np.random.default_rng(0), []
    for share in (0.02, 0.05, 0.09):  # so many pairs are told apart, the others are constant
        for _ in range(200):
            told = rng.random(40) < share
            scores = np.stack([told.astype(float), np.zeros(40)], axis=1).ravel()
            if not told.any():
                ends = probes.separation(scores, np.tile([True, False], 40), np.repeat(np.arange(40), 2)).interval
                held.append(ends.low <= 0.5 + share / 2 <= ends.high)
    assert len(held) > 50 and all(held)


def test_the_difference_of_two_areas_is_paired():
    scores, positive = scored(n=300)
    group = np.arange(300)
    value, ends = probes.separation_difference(scores, scores, positive, group)
    assert (value, ends) == (0.0, Interval(0.0, 0.0))
    perfect = positive * 2.0
    value, ends = probes.separation_difference(perfect, perfect * (1 + group), positive, group)
    few = min(positive.sum(), (~positive).sum())
    assert value == 0 and ends == pytest.approx((0.025 ** (1 / few) - 1, 1 - 0.025 ** (1 / few)))
    other = scores + np.random.default_rng(1).standard_normal(300)
    value, ends = probes.separation_difference(scores, other, positive, group)
    assert value == pytest.approx(
        probes.areas(other[:, None], positive[:, None])[0] - probes.areas(scores[:, None], positive[:, None])[0]
    )
    assert ends.low < value < ends.high


def test_the_threshold_is_the_rank_that_the_rate_asks_for():
    negatives = np.random.default_rng(0).permutation(np.arange(1.0, 500.0))
    assert probes.threshold(negatives, 0.002) == 499.0
    assert probes.threshold(negatives, 0.01) == 495.0
    with pytest.raises(Refusal, match="needs more negatives") as caught:
        probes.threshold(negatives[:498], 0.002)
    assert (caught.value.code, caught.value.expected, caught.value.got) == ("too_few_negatives", "499 or more", "498")


def test_the_threshold_keeps_its_promise_on_fresh_negatives():
    rng = np.random.default_rng(0)
    over = [(rng.standard_normal(2000) > probes.threshold(rng.standard_normal(199), 0.01)).mean() for _ in range(300)]
    assert np.mean(over) == pytest.approx(0.01, abs=0.0015)


def test_no_flag_in_368_rows_is_at_most_one_percent():
    assert probes.rate(0, 368, 1, 0.0).interval.high <= 0.01 < probes.rate(0, 367, 1, 0.0).interval.high


@pytest.mark.parametrize(
    ("interval", "band"),
    [
        ((0.0, 0.01), "OK"),
        ((0.0, 0.010001), "MINOR"),
        ((0.02, 0.05), "MINOR"),
        ((0.02, 0.0501), "INCONCLUSIVE"),
        ((0.05, 0.5), "INCONCLUSIVE"),
        ((0.0501, 0.5), "MAJOR"),
    ],
)
def test_p8_6_the_band_is_that_of_the_interval_edges_included(interval, band):
    assert probes.band(Interval(*interval)) == band


@pytest.mark.parametrize(
    ("share", "band"), [(0.0, "OK"), (0.01, "OK"), (0.0101, "MINOR"), (0.05, "MINOR"), (0.0501, "MAJOR")]
)
def test_p8_6_the_point_band_has_exactly_one_and_five_percent_below(share, band):
    assert probes.point_band(share) == band


@pytest.mark.parametrize("share", [0.001, 0.02, 0.045, 0.08])
def test_the_rows_that_are_asked_for_decide(share):
    found = probes.rate(round(share * 100), 100, 1, 0.0)._replace(estimate=share)
    needed = probes.rows_needed(found)
    assert needed is not None
    assert probes.band(clopper_pearson(share * needed, needed)) != "INCONCLUSIVE"
    assert probes.band(clopper_pearson(share * needed * 0.98, needed * 0.98)) == "INCONCLUSIVE"


def test_nothing_decides_at_an_edge():
    assert probes.rows_needed(probes.rate(5, 100, 1, 0.0)) is None


def test_an_exact_interval_covers():
    n, share = 60, 0.04
    inside = [clopper_pearson(k, n) for k in range(n + 1)]
    held = sum(binom.pmf(k, n, share) for k, (low, high) in enumerate(inside) if low <= share <= high)
    assert held >= 0.95


def coverage(sizes, mean, rho, draws, kind=probes.group_size):
    """How often the interval holds the rate, and bands; groups have rates of their own."""
    rng = np.random.default_rng(0)
    group = np.repeat(np.arange(len(sizes)), sizes)
    size, bands, held = kind(group), [], 0
    for _ in range(draws):
        rates = rng.beta(mean * (1 / rho - 1), (1 - mean) * (1 / rho - 1), len(sizes))[group]
        scores = (rng.random(len(group)) < rates) + 0.5 * rng.random(len(group))
        found = probes.rate(int((scores > 0.9).sum()), len(group), size, probes.correlation(scores, group, 0.9))
        held += found.interval.low <= mean <= found.interval.high
        bands.append(probes.band(found.interval))
    return held / draws, bands


@pytest.mark.parametrize(("length", "mean", "rho"), [(400, 0.03, 0.1), (200, 0.02, 0.1), (32, 0.03, 0.1)])
def test_blocks_grow_to_what_documents_have_in_common(length, mean, rho):
    """Rows without ids: blocks of 32 of documents of 400 missed the rate in 60 % of draws."""
    draws, missed, rows = 100, {"grown": 0, "short": 0}, np.arange(20_000)
    for seed in range(draws):
        rng = np.random.default_rng([4, seed])
        rates = rng.beta(mean * (1 / rho - 1), (1 - mean) * (1 / rho - 1), 20_000 // length + 1)[rows // length]
        scores = (rng.random(20_000) < rates) + 0.5 * rng.random(20_000)
        for name, size in (("grown", block_length(probes.flags_of(scores, 0.9))), ("short", 32)):
            group = rows // size
            ends = probes.rate(
                int((scores > 0.9).sum()),
                len(rows),
                probes.group_size(group),
                probes.correlation(scores, group, 0.9),
            ).interval
            missed[name] += not ends.low <= mean <= ends.high
    assert missed["grown"] <= 0.15 * draws
    assert length == 32 or missed["short"] > 0.3 * draws


LOGNORMAL = np.clip(np.random.default_rng(1).lognormal(3, 1.6, 100).astype(int), 1, None)


def test_p8_6_the_interval_covers_where_groups_are_of_unequal_size():
    assert coverage(LOGNORMAL, 0.03, 0.1, 150)[0] >= 0.88
    plain, _ = coverage(LOGNORMAL, 0.03, 0.1, 150, lambda group: len(group) / (group[-1] + 1))
    assert plain < 0.75  # with the plain mean a few large groups pass for many


@pytest.mark.slow
@pytest.mark.parametrize("rho", [0.05, 0.2])
@pytest.mark.parametrize("mean", [0.005, 0.03, 0.1])
@pytest.mark.parametrize("sizes", [np.full(100, 50), np.full(30, 100), LOGNORMAL], ids=["100", "30", "lognormal"])
def test_p8_6_the_interval_covers_at_full_size(sizes, mean, rho, request):
    if (mean, rho) == (0.005, 0.2):
        reason = "a group in fifty holds nearly all flags: half of the draws of thirty groups never saw one like it"
        request.applymarker(pytest.mark.xfail(reason=reason, strict=True))
    assert coverage(sizes, mean, rho, 400)[0] >= 0.85


@pytest.mark.parametrize("sizes", [[5] * 200 + [3000] * 2, [5000] + [20] * 50, [800] * 3, [2500]])
def test_pd_5_a_few_documents_decide_nothing_however_long(sizes):
    for mean in (0.001, 0.03):
        assert set(coverage(np.array(sizes), mean, 0.2, 10)[1]) == {"INCONCLUSIVE"}
    silent = probes.rate(0, sum(sizes), probes.group_size(np.repeat(np.arange(len(sizes)), sizes)), 0.0)
    assert silent.rho == 1 and probes.band(silent.interval) == "INCONCLUSIVE"
    assert (probes.rows_needed(silent) or 0) > 30 * sum(sizes) / len(sizes)


def test_the_size_of_a_group_is_that_of_a_mean_row():
    group = np.repeat([4, 7, 2], [3, 1, 2])
    assert probes.group_size(group) == pytest.approx(np.mean([3, 3, 3, 1, 2, 2]))
    equal = np.arange(30) % 6
    assert probes.group_size(equal) == 5 and probes.rate(1, 30, 1, 0.5).effective == 30
