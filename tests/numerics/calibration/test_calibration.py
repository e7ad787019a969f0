"""A candidate among benign models: second derivations, invariances, planted truth, and the rate of false alarms."""

from __future__ import annotations

import math

import numpy as np
import pytest

from radiograph.core import UserError
from radiograph.numerics import combine, conformal_p
from radiograph.numerics.calibration import (
    PoolScores,
    families,
    judge,
    outlier_scores,
    strata,
    support,
)
from radiograph.numerics.conformal import fisher
from radiograph.numerics.traces import lens_scores


def slow_outliers(pool, k):
    """Each model against a fit on all others, feature by feature."""
    found = []
    for i in range(len(pool)):
        others = [pool[m] for m in range(len(pool)) if m != i]
        n, width = len(others), len(pool[i])
        mean = [sum(o[j] for o in others) / n for j in range(width)]
        variance = [sum((o[j] - mean[j]) ** 2 for o in others) / (n - 1) for j in range(width)]
        middle = float(np.median(variance))
        z = [
            (pool[i][j] - mean[j]) / math.sqrt(((n - 1) * variance[j] + 4 * middle) / (n - 1 + 4)) for j in range(width)
        ]
        found.append(sum(sorted((max(v, 0.0) for v in z), reverse=True)[:k]))
    return found


class TestOutliers:
    @pytest.mark.parametrize(("n", "width", "k"), [(4, 3, 2), (12, 30, 5), (9, 4, 50)])
    def test_a_slow_fit_on_all_others_gives_the_same(self, n, width, k):
        pool = np.random.default_rng(n).gamma(2.0, size=(n, width)) + 100.0
        assert outlier_scores(pool, k) == pytest.approx(slow_outliers(pool.tolist(), k), rel=1e-7)

    def test_scores_follow_the_models_and_ignore_the_order_of_features(self):
        rng = np.random.default_rng(1)
        pool = rng.gamma(2.0, size=(10, 20))
        order, columns = rng.permutation(10), rng.permutation(20)
        assert outlier_scores(pool[order][:, columns], 4) == pytest.approx(outlier_scores(pool, 4)[order])

    def test_d9_a_rescaled_feature_changes_nothing_beyond_the_shrinkage(self):
        pool = np.random.default_rng(2).gamma(2.0, size=(30, 9))
        loud = pool * np.where(np.arange(9) == 3, 1.0 + 1e-12, 1.0)
        assert outlier_scores(loud, 3) == pytest.approx(outlier_scores(pool, 3))

    def test_an_unmoved_model_scores_exactly_zero(self):
        pool = np.random.default_rng(3).gamma(2.0, size=(8, 12))
        pool[5] = 0.0
        assert outlier_scores(pool, 4)[5] == 0.0
        assert (outlier_scores(np.zeros((5, 3)), 2) == 0).all()

    def test_planted_features_stand_out(self):
        pool = np.random.default_rng(4).gamma(2.0, size=(40, 200))
        pool[7, [3, 90]] += 15
        assert outlier_scores(pool, 5).argmax() == 7

    def test_bad_pools(self):
        for bad in (np.zeros((2, 3)), np.zeros((5, 0)), np.full((5, 2), np.nan)):
            with pytest.raises(UserError):
                outlier_scores(bad, 3)


class TestFisher:
    def test_ranks_by_hand(self):
        benign = np.array([[1.0, 5.0], [2.0, 4.0], [3.0, 3.0]])
        found = fisher(np.array([4.0, 1.0]), benign)
        assert found.statistic == pytest.approx(-math.log(1 / 4) - math.log(4 / 4))
        assert found.benign == pytest.approx([-math.log(1.0 * 0.25), -math.log(0.75 * 0.5), -math.log(0.5 * 0.75)])
        assert found.p == 2 / 4 and found.leading == 0

    def test_equal_models_get_one(self):
        assert fisher(np.zeros(3), np.zeros((20, 3))).p == 1.0

    def test_any_monotone_scale_gives_the_same(self):
        rng = np.random.default_rng(0)
        benign, one = rng.normal(size=(30, 4)), rng.normal(size=4)
        assert fisher(np.exp(one), np.exp(benign)).p == fisher(one, benign).p

    def test_many_small_moves_against_one_large(self):
        rng = np.random.default_rng(5)
        wins = {"max": [0, 0], "fisher": [0, 0]}
        for _ in range(100):
            benign = rng.normal(size=(99, 5))
            for place, moved in enumerate((np.full(5, 1.6), np.array([6.0, 0, 0, 0, 0]))):
                one = rng.normal(size=5) + moved
                wins["max"][place] += combine(one, benign, np.full(5, 0.01)).p <= 0.05
                wins["fisher"][place] += fisher(one, benign).p <= 0.05
        assert wins["fisher"][0] > wins["max"][0] and wins["max"][1] > wins["fisher"][1]


class TestStrata:
    def test_thirds_and_ties(self):
        assert np.bincount(strata(np.arange(30.0))).tolist() == [10, 10, 10]
        assert set(strata(np.ones(12)).tolist()) == {0}

    def test_order_does_not_matter(self):
        rng = np.random.default_rng(0)
        values, order = rng.normal(size=40), rng.permutation(40)
        assert (strata(values[order]) == strata(values)[order]).all()


class TestSupport:
    NAMES = ("norm", "kl", "kind")

    def test_a_slow_nearest_neighbour_gives_the_same(self):
        pool = np.random.default_rng(0).normal(size=(30, 3))
        centre = np.median(pool, axis=0)
        scaled = (pool - centre) / (1.4826 * np.median(np.abs(pool - centre), axis=0))
        far = [sorted(math.dist(a, b) for j, b in enumerate(scaled) if j != i)[4] for i, a in enumerate(scaled)]
        found = support(pool, self.NAMES)
        assert found.distance == pytest.approx(far[-1])
        assert found.p == sum(d >= far[-1] for d in far) / 30

    def test_a_stranger_is_outside_and_its_coordinates_are_named(self):
        pool = np.random.default_rng(1).normal(size=(120, 3))
        pool[-1] = (0.1, 30.0, -20.0)
        found = support(pool, self.NAMES)
        assert not found.inside and found.deviant == ("kl", "kind")

    def test_a_constant_coordinate_divides_by_nothing(self):
        pool = np.random.default_rng(2).normal(size=(40, 3))
        pool[:, 2] = 1.0
        assert support(pool, self.NAMES).deviations[2] == 0.0
        pool[-1, 2] = 0.0  # the only full fine-tune among adapters
        assert support(pool, self.NAMES).deviant[0] == "kind"

    def test_benign_models_are_outside_seldom(self):
        rng = np.random.default_rng(3)
        outside = sum(not support(rng.standard_t(3, size=(100, 4)), tuple("abcd")).inside for _ in range(600))
        assert outside / 600 <= 0.01 + 2 * math.sqrt(0.01 * 0.99 / 600)

    def test_too_few(self):
        with pytest.raises(UserError):
            support(np.zeros((6, 2)), ("a", "b"))


class TestFamilies:
    def test_alike_families_count_as_few(self):
        rng = np.random.default_rng(0)
        names = [f"f{i // 10}" for i in range(100)]
        centre = np.repeat(rng.normal(size=10), 10)
        found = families(centre + 1e-3 * rng.normal(size=100), names)
        assert found.correlation > 0.99 and found.n_effective == pytest.approx(10, rel=0.02)
        assert (found.n, found.families) == (100, 10)

    def test_strangers_count_in_full(self):
        rng = np.random.default_rng(1)
        found = families(rng.normal(size=400), [f"f{i % 8}" for i in range(400)])
        assert found.correlation < 0.03

    def test_known_correlation_is_found(self):
        rng = np.random.default_rng(2)
        names, rho = [f"f{i // 5}" for i in range(2000)], 0.4
        values = math.sqrt(rho) * np.repeat(rng.normal(size=400), 5) + math.sqrt(1 - rho) * rng.normal(size=2000)
        assert families(values, names).correlation == pytest.approx(rho, abs=0.06)

    def test_one_family_says_nothing_of_how_alike_its_models_are(self):
        found = families(np.random.default_rng(0).normal(size=19), ["made"] * 19)
        assert (found.n, found.families, found.correlation, found.n_effective) == (19, 1, None, None)

    def test_models_without_a_family_are_their_own(self):
        found = families(np.arange(9.0), [""] * 9)
        assert (found.families, found.correlation, found.n_effective) == (0, 0.0, 9.0)


def pool_of(values, *, scale="linear", floor=0.01, frozen=True):
    return {
        f"d{i}": PoolScores(column[:-1], float(column[-1]), scale, floor, frozen) for i, column in enumerate(values.T)
    }


class TestJudge:
    def test_equal_models_get_one_everywhere(self):
        values = np.vstack([np.abs(np.random.default_rng(0).normal(size=(30, 3))), np.zeros(3)])
        found = judge(pool_of(values), np.append(np.arange(30.0), -20.0), None, ())
        assert {rank.p for rank in found.detectors.values()} == {1.0} and found.combined.p == 1.0

    def test_a_missing_frozen_detector_leaves_no_combined_p(self):
        pool = pool_of(np.random.default_rng(0).normal(size=(20, 2)))
        pool["d1"] = PoolScores(pool["d1"].benign, None, "linear", 0.01, True)
        found = judge(pool, None, None, ())
        assert found.combined is None and set(found.detectors) == {"d0"} and found.supported is None

    def test_what_is_not_frozen_has_a_p_and_no_say(self):
        values = np.random.default_rng(0).normal(size=(40, 2))
        values[-1] = (0.0, 99.0)
        pool = pool_of(values)
        pool["d1"] = PoolScores(pool["d1"].benign, 99.0, "linear", 0.01, False)
        found = judge(pool, None, None, ())
        assert found.detectors["d1"].p == 1 / 40 and found.combined.p > 0.1

    def test_a_stratum_has_its_own_n_and_floor(self):
        rng = np.random.default_rng(0)
        values, drift = rng.normal(size=(31, 2)), np.append(np.arange(30.0), 29.5)
        found = judge(pool_of(values), drift, None, ()).stratum
        assert (found.index, found.n) == (2, 9) and found.floor == 1 / 10
        member = drift[:-1] > 20
        combined = combine(values[-1], values[:-1], np.full(2, 0.01))
        assert found.p == conformal_p(combined.statistic, combined.benign[member])

    @pytest.mark.parametrize("scale", ["linear", "log"])
    def test_a_heavy_tail_hides_no_factor_elsewhere(self, scale):
        rng, hits = np.random.default_rng(1), 0
        for _ in range(100):
            values = np.exp(rng.normal(size=(100, 4)) * np.array([1.5, 0.2, 0.2, 0.2]))
            values[-1, 1] *= 4
            hits += judge(pool_of(values, scale=scale), None, None, ()).combined.p <= 0.05
        assert hits > 90

    def test_a_detector_that_most_models_score_nothing_in_hides_none(self):
        rng = np.random.default_rng(2)
        values = rng.normal(size=(200, 4))
        values[:, 0] = np.where(np.arange(200) % 3 == 0, 10.0 + rng.normal(size=200), 0.0)
        values[-1] = 0.0, 0.0, 7.0, 0.0
        found = judge(pool_of(values, scale="linear"), None, None, ())
        assert found.combined.p == 1 / 200


RULES = ("single", "fitted", "benign_z", "max", "fisher", "stratified")


def draw(rng, n):
    """One exchangeable pool: heavy tails, ties, correlated detectors, a drift that scores depend on."""
    drift = rng.normal(size=n + 1)
    scores = np.exp(0.7 * drift[:, None] + rng.standard_t(4, size=(n + 1, 5)))
    scores[:, 4] = np.round(scores[:, 4])
    return drift, scores


def p_values(rng, n):
    drift, scores = draw(rng, n)
    pool = pool_of(scores, scale="log", floor=1e-3)
    fitted = lens_scores(rng.normal(size=(n + 1, 2, 6)))
    moved = outlier_scores(rng.gamma(2.0, size=(n + 1, 12)), 3)
    by_max = judge(pool, drift, None, ())
    return {
        "single": by_max.detectors["d0"].p,
        "fitted": conformal_p(fitted[-1], fitted[:-1]),
        "benign_z": conformal_p(moved[-1], moved[:-1]),
        "max": by_max.combined.p,
        "fisher": judge(pool, None, None, (), "fisher").combined.p,
        "stratified": by_max.stratum.p,
    }


@pytest.mark.parametrize(
    ("n", "draws"),
    [(39, 400), pytest.param(39, 2000, marks=pytest.mark.slow), pytest.param(199, 2000, marks=pytest.mark.slow)],
)
def test_a13_d21_no_p_is_too_small_too_often(n, draws):
    rng = np.random.default_rng(n)
    found = {name: np.empty(draws) for name in RULES}
    for i in range(draws):
        for name, p in p_values(rng, n).items():
            found[name][i] = p
    # Two standard errors are passed by chance at one place in forty; three at none that is asked about.
    over: list[tuple[str, float, float]] = []
    for name, p in found.items():
        for alpha in (0.01, 0.05, 0.1, 0.25):
            rate, error = float((p <= alpha).mean()), math.sqrt(alpha * (1 - alpha) / draws)
            assert rate <= alpha + 3 * error, (name, alpha, rate)
            over += [(name, alpha, rate)] * (rate > alpha + 2 * error)
        if name != "stratified":  # its floor lies above .05 at n 39
            assert (p <= 0.25).mean() > 0.15, name
    assert len(over) <= 2, over


def test_a13_one_detector_of_five_is_enough():
    rng, hits, ranks = np.random.default_rng(0), 0, 0
    for _ in range(300):
        values = rng.normal(size=(40, 5))
        values[-1, rng.integers(5)] += 6
        hits += judge(pool_of(values), None, None, ()).combined.p <= 0.05
        order = values.argsort(0).argsort(0).max(1)
        ranks += (order >= order[-1]).mean() <= 0.05
    assert hits / 300 > 0.9 and ranks == 0
