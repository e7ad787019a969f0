"""Rates, ROC and uniformity: each against a slower second derivation, on planted separation, and on silent nulls."""

from __future__ import annotations

from math import erf, sqrt

import numpy as np
import pytest
from scipy import stats

from radiograph.core import Refusal, UserError
from radiograph.numerics import conformal_p
from radiograph.numerics.benchmark import (
    auroc,
    auroc_gap,
    histogram,
    ks_distance,
    randomised_p,
    rate,
    roc_curve,
    shuffled_auroc,
    split_p,
    threshold_at,
    uniformity,
)


def test_no_models_give_no_rate() -> None:
    assert rate([]) is None
    found = rate([True] * 48 + [False] * 12)
    assert found is not None and (found.hits, found.n) == (48, 60)
    assert (round(found.low, 2), round(found.high, 2)) == (0.68, 0.89)
    none = rate([False] * 100)
    assert none is not None and none.value == 0 and 0.035 < none.high < 0.0363


@pytest.mark.parametrize("n", [9, 19, 39, 99, 199])
@pytest.mark.parametrize("alpha", [0.01, 0.05, 0.1])
def test_a_threshold_says_what_the_p_says(n: int, alpha: float) -> None:
    rng = np.random.default_rng(n)
    benign = np.round(rng.normal(size=n), 1)  # ties
    cut = threshold_at(benign, alpha)
    for score in [*benign, *(benign + 1e-6), *rng.normal(size=50) * 3, 100.0]:
        small = conformal_p(float(score), benign) <= alpha + 1e-12
        assert small == (cut is not None and score > cut)
    assert (cut is None) == (alpha < 1 / (n + 1) - 1e-12)


def test_a_threshold_needs_a_rate_and_numbers() -> None:
    with pytest.raises(UserError, match="false positive rate"):
        threshold_at(np.arange(9.0), 1.0)
    with pytest.raises(UserError, match="not finite"):
        threshold_at(np.array([1.0, np.nan]), 0.05)


def test_auroc_is_the_share_of_pairs_and_the_area_under_the_curve() -> None:
    rng = np.random.default_rng(0)
    for _ in range(30):
        planted = np.round(rng.normal(0.7, 1, rng.integers(1, 12)), 1)
        harmless = np.round(rng.normal(0, 1, rng.integers(1, 12)), 1)
        pairs = [float(a > b) + 0.5 * float(a == b) for a in planted for b in harmless]
        curve = roc_curve(planted, harmless)
        assert auroc(planted, harmless) == pytest.approx(sum(pairs) / len(pairs))
        assert float(np.trapezoid(curve[:, 1], curve[:, 0])) == pytest.approx(auroc(planted, harmless))
        assert curve[0].tolist() == [0, 0] and curve[-1].tolist() == [1, 1]


def test_auroc_is_invariant_and_antisymmetric() -> None:
    rng = np.random.default_rng(1)
    a, b = rng.normal(1, 1, 40), rng.normal(0, 1, 30)
    assert auroc(np.exp(a), np.exp(b)) == auroc(a, b)
    assert auroc(b, a) == pytest.approx(1 - auroc(a, b))
    with pytest.raises(UserError, match="both classes"):
        auroc(a, np.array([]))


def test_known_separation_gives_the_known_auroc_and_tpr() -> None:
    rng, shift = np.random.default_rng(2), 2.0
    a, b = rng.normal(shift, 1, 4000), rng.normal(0, 1, 4000)
    assert auroc(a, b) == pytest.approx(0.5 * (1 + erf(shift / 2)), abs=0.01)
    cut = threshold_at(b, 0.05)
    assert cut is not None
    expected = float(stats.norm.sf(stats.norm.isf(0.05) - shift))
    assert (a > cut).mean() == pytest.approx(expected, abs=4 * sqrt(expected * (1 - expected) / 4000) + 0.02)


def test_the_gap_is_paired_and_covers_the_truth() -> None:
    """Two scores of equal worth: 95 % intervals of their difference hold 0 about 95 times in 100."""
    rng, held = np.random.default_rng(3), 0
    for seed in range(120):
        common = rng.normal(size=60)
        planted = np.stack([common[:30] + 1 + 0.4 * rng.normal(size=30) for _ in range(2)])
        harmless = np.stack([common[30:] + 0.4 * rng.normal(size=30) for _ in range(2)])
        gap = auroc_gap(planted, harmless, seed=seed, resamples=400)
        assert gap.value == pytest.approx(auroc(planted[0], harmless[0]) - auroc(planted[1], harmless[1]))
        held += gap.low <= 0 <= gap.high
    assert held >= 107  # P(Bin(120, .95) < 107) < .01


def test_the_gap_matches_a_slow_bootstrap() -> None:
    rng = np.random.default_rng(4)
    planted, harmless = rng.normal(0.8, 1, (2, 12)), rng.normal(0, 1, (2, 15))
    found = auroc_gap(planted, harmless, seed=7, resamples=300)
    luck, gaps = np.random.default_rng(7), []
    up, down = luck.integers(0, 12, (300, 12)), luck.integers(0, 15, (300, 15))
    for i, j in zip(up, down, strict=True):
        gaps.append(auroc(planted[0][i], harmless[0][j]) - auroc(planted[1][i], harmless[1][j]))
    assert [found.low, found.high] == pytest.approx(np.quantile(gaps, [0.025, 0.975]).tolist())
    same = auroc_gap(planted[[0, 0]], harmless[[0, 0]], seed=0)
    assert (same.value, same.low, same.high, same.share_above) == (0, 0, 0, 0.5)


def test_shuffled_labels_give_one_half() -> None:
    rng = np.random.default_rng(5)
    mean, low, high = shuffled_auroc(rng.normal(4, 1, 20), rng.normal(0, 1, 20), seed=0)
    assert mean == pytest.approx(0.5, abs=0.01) and low < 0.5 < high
    assert not low < auroc(rng.normal(4, 1, 20), rng.normal(0, 1, 20)) < high


def test_randomised_p_agrees_with_counting_and_is_uniform_with_ties() -> None:
    rng = np.random.default_rng(6)
    benign = rng.integers(0, 4, 19).astype(float)
    for value in map(float, range(-1, 6)):
        larger, equal = sum(b > value for b in benign), sum(b == value for b in benign)
        assert randomised_p(value, benign, 0.25) == pytest.approx((larger + 0.25 * (equal + 1)) / 20)
        assert split_p(benign, np.array([value]), np.array([0.25]))[0] == randomised_p(value, benign, 0.25)
    drawn = []
    for _ in range(4000):
        pool = rng.integers(0, 4, 20).astype(float)
        drawn.append(randomised_p(pool[-1], pool[:-1], rng.random()))
    assert stats.kstest(drawn, "uniform").pvalue > 0.01
    assert histogram(np.array([0.0, 0.05, 0.1, 0.999, 1.0])).tolist() == [2, 1, 0, 0, 0, 0, 0, 0, 0, 2]


def test_ks_distance_is_that_of_scipy() -> None:
    rng = np.random.default_rng(7)
    for n in (1, 2, 7, 100):
        p = rng.random(n)
        assert ks_distance(p) == pytest.approx(float(stats.kstest(p, "uniform").statistic))


def test_a13_the_ks_null_of_resplits_is_silent_where_tables_are_not() -> None:
    """One calibration of 39 for 60 test models: our null keeps its level, the table for independent p does not."""
    rng, ours, tables, false, models = np.random.default_rng(8), 0, 0, 0, 0
    runs = 60
    for seed in range(runs):
        scores = rng.normal(size=99)
        calibration, test = scores[:39], scores[39:]
        p = split_p(calibration, test, rng.random(60))
        found = uniformity(p, calibration, test, seed=seed, resplits=199)
        ours += found.p <= 0.05
        tables += stats.kstest(p, "uniform").pvalue <= 0.05
        false += int((p <= 0.05).sum())
        models += 60
    assert ours / runs <= 0.05 + 2.6 * sqrt(0.05 * 0.95 / runs)
    assert tables / runs > 0.12
    assert abs(false / models - 0.05) < 0.012


def test_uniformity_sees_p_values_that_are_too_small() -> None:
    rng = np.random.default_rng(9)
    calibration, test = rng.normal(size=99), rng.normal(1.0, 1, 60)
    p = split_p(calibration, test, rng.random(60))
    found = uniformity(p, calibration, test, seed=0)
    assert found.p < 0.01 and found.distance > found.null_q95 and sum(found.counts) == 60
    assert uniformity(p, calibration, test, seed=0) == found
    with pytest.raises(Refusal, match="1 harmless"):
        uniformity(p[:1], calibration, test[:1], seed=0)
