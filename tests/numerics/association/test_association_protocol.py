"""Discover, confirm, grade: planted features found, noise silent, and nothing moved by how rows are written."""

from __future__ import annotations

from dataclasses import fields, replace

import numpy as np
import pytest
from associations import detectors, entries, halves, noise, sparse

from radiograph.core import Refusal, UserError
from radiograph.numerics.association import (
    CODES,
    Facts,
    Settings,
    associate,
    at_least,
    chosen_p,
    codes,
    columns,
    conclude,
    family_q,
    grades,
    joined,
    named,
    screen,
    select,
    study,
)
from radiograph.numerics.association._stability import stability

QUICK = Settings(permutations=200, bootstrap=50, candidates=10, q=0.1)
BARE = Settings(permutations=0, bootstrap=0)


def _study(seed=0, units=240, features=40, planted=3, groups=1):
    """Dense rows with planted detectors in the last features; `groups` rows a group."""
    rng = np.random.default_rng(seed)
    label = np.repeat(np.tile([0, 1], units // 2), groups)
    dense = noise(rng, units * groups, features, low=0.1)
    fires = rng.random((len(label), planted)) < np.where(label[:, None] == 1, 0.8, 0.1)
    dense[:, features - planted :] = np.where(fires, rng.uniform(1, 2, fires.shape), 0).astype(np.float32)
    group = np.repeat(np.arange(units), groups)
    discover = np.repeat(halves(np.tile([0, 1], units // 2), seed), groups)
    return dense, group, label, discover


def _same(one, two, *, but=()):
    for part in ("candidates", "screen"):
        a, b = getattr(one, part), getattr(two, part)
        for name in (f.name for f in fields(a) if f.name not in but):
            np.testing.assert_array_equal(getattr(a, name), getattr(b, name), err_msg=name)
    np.testing.assert_array_equal(one.grade, two.grade)
    np.testing.assert_array_equal(one.codes, two.codes)
    assert (one.sham, one.rank_stability, one.outcome) == (two.sham, two.rank_stability, two.outcome)


def _check_detectors(found, features, allowance=0.01):
    made = found.candidates
    assert set(made.feature[:5]) == set(range(features - 5, features))
    assert (found.grade[features - 5 :] == "confirmed").all()
    assert not np.isin(found.grade[: features - 5], ("confirmed", "specific", "robust")).any()
    np.testing.assert_allclose(made.estimate[:5], 0.94, atol=allowance)
    assert ((made.low[:5] < made.estimate[:5]) & (made.estimate[:5] < made.high[:5])).all()
    assert (found.outcome, found.sham) == ("found", 0)


def test_x5_1_sparse_detectors_are_first_small():
    held, label = detectors(2000, 400)
    found = associate(held, np.arange(2000), label, halves(label), settings=BARE)
    _check_detectors(found, 400, 0.025)
    quick = associate(held, np.arange(2000), label, halves(label), settings=QUICK)
    assert (quick.candidates.p_permutation[:5] == 1 / 201).all()
    assert quick.candidates.resampled[:5].all()


@pytest.mark.slow
def test_x5_1_sparse_detectors_are_first():
    held, label = detectors(20_000, 5000)
    found = associate(held, np.arange(20_000), label, halves(label))
    _check_detectors(found, 5000)
    assert found.rank_stability is not None and found.candidates.selection[:5].min() == 1


def _false_sets(sets, paraphrases=1, units=400, features=1000, *, by_group=True):
    """How many sets of pure noise have a confirmed feature."""
    wrong = 0
    for seed in range(sets):
        rng = np.random.default_rng(seed)
        label = np.tile([0, 1], units // 2)
        dense = noise(rng, units, features)
        if paraphrases > 1:
            shared = np.repeat(dense, paraphrases, axis=0)
            own = noise(rng, len(shared), features)
            dense = np.where(rng.random(shared.shape) < 0.8, shared, own)
        rows = np.repeat(np.arange(units), paraphrases)
        discover = halves(label, seed)[rows]
        group = rows if by_group else np.arange(len(rows))
        if not by_group:
            discover = halves(label[rows], seed)
        settings = Settings(bootstrap=0, seed=seed, permutations=2000 if by_group else 0)
        wrong += associate(sparse(dense), group, label[rows], discover, settings=settings).outcome == "found"
    return wrong


def test_x5_2_noise_is_silent_small():
    assert _false_sets(5, units=160, features=200) <= 1
    assert _false_sets(3, paraphrases=3, units=160, features=200) <= 1


@pytest.mark.slow
def test_x5_2_noise_is_silent():
    assert _false_sets(200) <= 20


@pytest.mark.slow
def test_x5_2_noise_with_paraphrases_is_silent_and_rows_as_units_are_not():
    assert _false_sets(200, paraphrases=5) <= 20
    assert _false_sets(20, paraphrases=5, by_group=False) >= 18


def _mixture(seeds, units=400, features=1000):
    """Share of false findings, recall, and how often intervals hold the planted area."""
    shares, recalls, held = [], [], []
    for seed in range(seeds):
        rng = np.random.default_rng(seed)
        label = np.tile([0, 1], units // 2)
        dense = noise(rng, units, features)
        shift = np.sqrt(2) * 0.6744897501960817  # AUROC 0.75 of two normal laws
        dense[:, :5] = rng.normal(size=(units, 5)) + shift * label[:, None]
        settings = Settings(permutations=0, bootstrap=0, seed=seed)
        made = associate(sparse(dense), np.arange(units), label, halves(label, seed), settings=settings).candidates
        hits = made.feature[made.confirmed]
        shares.append((hits >= 5).sum() / max(len(hits), 1))
        recalls.append((hits < 5).sum() / 5)
        planted = made.feature < 5
        held += list((made.low[planted] <= 0.75) & (made.high[planted] >= 0.75))
    return np.array(shares), np.array(recalls), np.array(held)


def test_x5_3_mixtures_keep_their_rate_small():
    shares, recalls, held = _mixture(6, features=200)
    assert shares.mean() <= 0.15 and recalls.mean() >= 0.9 and held.mean() >= 0.8


@pytest.mark.slow
def test_x5_3_mixtures_keep_their_rate():
    shares, recalls, held = _mixture(100)
    assert shares.mean() <= 0.05 + 2 * shares.std(ddof=1) / 10
    assert recalls.mean() >= 0.95
    assert held.mean() >= 0.92


def _trap(seed=0, units=300):
    """Feature 0 fires on a template word of positives and near misses, feature 1 on positives alone."""
    rng = np.random.default_rng(seed)
    kind = np.tile([0, 1, 2], units // 3)  # positive, near miss, plain negative
    dense = noise(rng, units, 30, low=0.1)
    for f, p in ((0, (0.9, 0.9, 0.02)), (1, (0.9, 0.05, 0.05))):
        dense[:, f] = np.where(rng.random(units) < np.array(p)[kind], rng.uniform(1, 2, units), 0)
    return dense, kind


@pytest.mark.parametrize("paired", [False, True])
def test_x5_4_a_surface_trap_is_never_specific(paired):
    dense, kind = _trap()
    label = (kind == 0).astype(int)
    group = np.arange(300) // 3 if paired else np.arange(300)
    discover = np.isin(group, np.unique(group)[halves(np.unique(group) % 3 if not paired else np.zeros(100))])
    found = associate(sparse(dense), group, label, discover, near_miss=kind == 1, settings=QUICK)
    assert found.design == ("within" if paired else "between")
    assert found.grade[0] == "confirmed" and "surface_cue" in named(found.codes[0])
    assert found.grade[1] == "robust" and named(found.codes[1]) == ()
    bare = associate(sparse(dense), group, label, discover, settings=QUICK)
    assert bare.grade[1] == "confirmed" and named(bare.codes[1]) == ("no_near_miss",)


def test_y3_1_zeros_omitted_or_written_are_the_same_table():
    dense, group, label, discover = _study()
    dense[:, -1] = np.where(label == 1, 1.5, 0.0)
    unit, feature = np.divmod(np.arange(dense.size), dense.shape[1])
    every = columns(unit, feature, dense.ravel(), units=len(dense), features=dense.shape[1])
    some = np.flatnonzero((dense.ravel() != 0) | (np.random.default_rng(0).random(dense.size) < 0.5))
    half = columns(unit[some], feature[some], dense.ravel()[some], units=len(dense), features=dense.shape[1])
    results = [associate(t, group, label, discover, settings=QUICK) for t in (sparse(dense), every, half)]
    _same(results[0], results[1])
    _same(results[0], results[2])
    first = results[0].candidates
    assert (first.feature[0], first.estimate[0], first.r[0]) == (dense.shape[1] - 1, 1.0, pytest.approx(1.0))


def test_y3_2_the_order_of_features_changes_no_statistic():
    dense, group, label, discover = _study(1)
    order = np.random.default_rng(5).permutation(dense.shape[1])
    one = associate(sparse(dense), group, label, discover, settings=QUICK)
    two = associate(sparse(dense[:, order]), group, label, discover, settings=QUICK)
    np.testing.assert_array_equal(order[two.candidates.feature], one.candidates.feature)
    np.testing.assert_array_equal(two.grade, one.grade[order])
    for name in ("estimate", "z", "low", "p", "p_family", "q", "r", "g", "selection"):
        np.testing.assert_allclose(getattr(two.candidates, name), getattr(one.candidates, name), rtol=1e-12)


def test_y3_4_nothing_of_confirm_chooses():
    dense, group, label, discover = _study(2)
    poisoned = np.where(discover[:, None], dense, np.random.default_rng(9).normal(100, 30, dense.shape).round(2))
    one, two = (
        select(given, screen(given, sparse(table)))
        for table in (dense, poisoned)
        for given in [study(group, label, discover, features=dense.shape[1], settings=QUICK)]
    )
    np.testing.assert_array_equal(one[0], two[0])
    np.testing.assert_array_equal(one[1], two[1])


def test_y3_4_preselected_records_stop_at_candidate():
    dense, group, label, discover = _study(2)
    found = associate(sparse(dense), group, label, discover, settings=replace(QUICK, preselected=True))
    assert set(found.grade) == {"none", "candidate"}
    assert found.codes[:, CODES.index("preselected")].all()
    assert found.outcome == "none_inconclusive" and not found.candidates.confirmed.any()


def test_y3_5_repeated_rows_change_nothing():
    dense, group, label, discover = _study(3, groups=2)
    one = associate(sparse(dense), group, label, discover, settings=QUICK)
    many = np.repeat(np.arange(len(dense)), 5)
    five = associate(sparse(dense[many]), group[many], label[many], discover[many], settings=QUICK)
    _same(one, five, but=("intraclass",))
    assert one.candidates.confirmed.sum() >= 3


def test_y3_6_shuffled_rows_and_parts_give_the_same_bytes():
    dense, group, label, discover = _study(4, groups=3)
    one = associate(sparse(dense), group, label, discover, settings=QUICK)
    order = np.random.default_rng(1).permutation(len(dense))
    shuffled = sparse(dense[order], shuffle=3)
    two = associate(shuffled, group[order], label[order], discover[order], settings=QUICK)
    _same(one, two, but=("intraclass",))
    np.testing.assert_allclose(two.candidates.intraclass, one.candidates.intraclass, atol=1e-12)
    given = study(group, label, discover, features=dense.shape[1], settings=QUICK)
    held = sparse(dense)
    parts = [np.flatnonzero(np.arange(dense.shape[1]) % 3 == k) for k in (2, 0, 1)]
    screened = joined([screen(given, held.of(own), own) for own in parts])
    real, sham = select(given, screened)
    _same(one, conclude(given, screened, real, sham, held.of(np.union1d(real, sham))))


def test_y3_6_a_million_times_the_activation_keeps_ranks_and_grades():
    dense, group, label, discover = _study(5, groups=2)
    one = associate(sparse(dense), group, label, discover, settings=QUICK)
    two = associate(sparse(dense * 1e6), group, label, discover, settings=QUICK)
    np.testing.assert_array_equal(one.candidates.feature, two.candidates.feature)
    np.testing.assert_array_equal(one.grade, two.grade)
    np.testing.assert_array_equal(one.codes, two.codes)
    np.testing.assert_allclose(one.candidates.g, two.candidates.g, rtol=1e-9)


def test_y3_7_two_groups_are_refused_with_counts():
    dense, _, label, discover = _study(6)
    one = np.where(discover, 0, 1)
    with pytest.raises(Refusal, match="2 groups") as caught:
        associate(sparse(dense), one, label, discover, settings=QUICK)
    assert caught.value.code == "few_units"


def _robust_sets(seeds, settings=BARE, features=300):
    wrong = 0
    for seed in range(seeds):
        dense, group, label, _ = _study(seed, units=160, features=features)
        rng = np.random.default_rng(1000 + seed)
        shuffled = rng.permutation(label)
        near = (shuffled == 0) & (rng.random(len(label)) < 0.5)
        own = halves(shuffled, seed)
        found = associate(sparse(dense), group, shuffled, own, near_miss=near, settings=replace(settings, seed=seed))
        wrong += (found.grade == "robust").any()
    return wrong


def test_y3_19_labels_of_noise_are_never_robust_small():
    assert _robust_sets(5, features=100) == 0


@pytest.mark.slow
def test_y3_19_labels_of_noise_are_never_robust():
    assert _robust_sets(100) <= 5


def test_pairs_are_tested_inside_their_groups():
    rng = np.random.default_rng(0)
    group, label = np.repeat(np.arange(120), 2), np.tile([1, 0], 120)
    level = rng.normal(0, 5, 120)[group]
    dense = np.stack([level + 1.0 * label + rng.normal(size=240), *(level + rng.normal(size=(6, 240)))], axis=1)
    found = associate(sparse(dense), group, label, np.arange(240) % 4 < 2, settings=QUICK)
    made = found.candidates
    assert (found.design, found.units, found.groups, found.dropped) == ("within", (60, 60), (60, 60), 0)
    assert made.feature[0] == 0 and made.confirmed.tolist()[0] and not made.confirmed[1:].any()
    d = (dense[::2, 0] - dense[1::2, 0])[1::2]
    assert made.estimate[0] == pytest.approx((d > 0).mean())
    assert made.g[0] == pytest.approx(d.mean() / d.std(ddof=1))
    assert made.p_permutation[0] == pytest.approx(made.p_analytic[0], abs=0.02)


def test_mixed_designs_go_by_permutation_alone():
    rng = np.random.default_rng(1)
    group = np.concatenate([np.repeat(np.arange(80), 2), 100 + np.arange(80)])
    label = np.concatenate([np.tile([1, 0], 80), np.arange(80) % 2])
    dense = np.abs(rng.normal(size=(240, 8)))
    dense[:, 2] += 0.8 * label
    discover = group % 4 < 2
    found = associate(sparse(dense), group, label, discover, settings=QUICK)
    assert found.design == "mixed"
    np.testing.assert_array_equal(found.candidates.p, found.candidates.p_permutation)
    assert found.candidates.feature[found.candidates.confirmed].tolist() == [2]
    assert found.candidates.resampled.all()
    near = associate(sparse(dense), group, label, discover, near_miss=label == 0, settings=QUICK)
    assert near.near == (int((label[~discover] == 1).sum()), int((label[~discover] == 0).sum()))
    assert near.grade[2] in ("specific", "robust")
    with pytest.raises(UserError, match="mixed design"):
        associate(sparse(dense), group, label, discover, settings=BARE)


def test_a_condition_removes_what_it_explains():
    rng = np.random.default_rng(2)
    stratum = np.repeat([0, 1], 200)
    label = (rng.random(400) < np.where(stratum == 1, 0.8, 0.2)).astype(int)
    dense = np.abs(rng.normal(size=(400, 6)))
    dense[:, 0] += 2.0 * stratum  # goes with the label through the stratum alone
    dense[:, 1] += 1.0 * label
    discover = rng.random(400) < 0.5
    plain = associate(sparse(dense), np.arange(400), label, discover, settings=QUICK)
    within = associate(sparse(dense), np.arange(400), label, discover, stratum=stratum, settings=QUICK)
    assert set(plain.candidates.feature[plain.candidates.confirmed]) == {0, 1}
    assert within.candidates.feature[within.candidates.confirmed].tolist() == [1]


def test_a_score_is_found_by_its_ranks():
    rng = np.random.default_rng(3)
    value = rng.exponential(size=300)
    dense = noise(rng, 300, 20, low=0.1)
    dense[:, 7] = np.where(rng.random(300) < 0.8, value + 0.1 * rng.random(300), 0)
    discover = rng.random(300) < 0.5
    found = associate(sparse(dense), np.arange(300), value, discover, continuous=True, settings=QUICK)
    made = found.candidates
    assert (found.design, found.null, made.feature[0], made.confirmed.sum()) == ("continuous", 0.0, 7, 1)
    assert made.low[0] < made.estimate[0] < made.high[0]
    assert made.p_permutation[0] == 1 / 201


def test_not_measured_rows_stay_out_and_are_said():
    dense, group, label, discover = _study(7)
    rng = np.random.default_rng(0)
    dense[rng.random(dense.shape) < 0.3] = np.nan
    dense[:, 0] = np.nan
    found = associate(sparse(dense, absent="missing"), group, label, discover, settings=QUICK)
    assert (found.grade[-3:] == "confirmed").all()
    assert found.grade[0] == "not_measured"
    assert found.codes[1:, CODES.index("partial_rows")].all()
    assert (found.screen.stored[1:] < 200).all()
    assert (found.candidates.p_permutation[:3] == 1 / 201).all()


def test_no_finding_is_a_result_with_its_power():
    rng = np.random.default_rng(4)
    for units, outcome in ((400, "none_adequate"), (80, "none_inconclusive")):
        label = np.tile([0, 1], units // 2)
        dense = noise(rng, units, 30, low=0.3)
        found = associate(sparse(dense), np.arange(units), label, halves(label), settings=Settings(bootstrap=0))
        assert found.outcome == outcome
        assert (found.needed <= units // 2) == (outcome == "none_adequate")
    with pytest.raises(Refusal, match="few_active"):
        associate(sparse(dense * (rng.random(dense.shape) < 0.1)), np.arange(80), label, halves(label))


def test_candidates_without_p_are_no_absence_and_make_no_family_smaller():
    rng = np.random.default_rng(2)
    label = np.tile([0, 1], 200)
    dense = noise(rng, 400, 12, low=0.3)
    dense[:, 4:] *= rng.random((400, 8)) < 0.3
    found = associate(
        sparse(dense), np.arange(400), label, halves(label), settings=Settings(permutations=0, bootstrap=0)
    )
    blind = np.isnan(found.candidates.p)
    assert blind.any() and not blind.all() and found.outcome == "none_inconclusive"
    coded = found.codes[found.candidates.feature, CODES.index("few_groups")]
    np.testing.assert_array_equal(coded, blind)
    smallest = np.nanargmin(found.candidates.p)
    assert found.candidates.q[smallest] <= len(blind) * found.candidates.p[smallest]
    np.testing.assert_array_equal(family_q(np.array([0.01, np.nan, np.nan, 0.5]), "bh"), [0.04, np.nan, np.nan, 1.0])


def test_selection_says_nothing_where_there_is_nothing_to_choose():
    halves_of = np.random.default_rng(0).uniform(-1, 1, (4, 40)).astype(np.float32)
    assert stability(halves_of, 50).selection.sum() == pytest.approx(2)
    assert np.isnan(stability(halves_of[:1], 50).selection).all()


def test_the_smallest_studies_run():
    label = np.tile([0, 1], 20)
    discover = halves(label)
    dense = np.where(label == 1, 1.0, 0.0)[:, None] * np.array([1.0, 0.0])
    one = associate(sparse(dense[:, :1]), np.arange(40), label, discover, settings=QUICK)
    assert (one.grade[0], one.candidates.estimate[0], one.rank_stability) == ("confirmed", 1.0, None)
    assert one.candidates.low[0] < one.candidates.high[0] == 1.0 and not one.candidates.resampled[0]
    bare = associate(sparse(dense), np.arange(40), label, discover, settings=replace(QUICK, cards=0, bootstrap=0))
    assert bare.grade.tolist() == ["confirmed", "none"] and "few_active" in named(bare.codes[1])
    dense[~discover] = 0  # silent on confirm
    quiet = associate(sparse(dense), np.arange(40), label, discover, settings=QUICK)
    made = quiet.candidates
    assert (quiet.grade[0], made.estimate[0], made.p[0], made.q[0]) == ("candidate", 0.5, 1.0, 1.0)
    assert made.low[0] < 0.5 < made.high[0] and np.isnan(made.needed[0]) and np.isnan(made.lift[0])


def test_grades_and_codes_follow_from_stored_facts():
    dense, group, label, discover = _study(9)
    found = associate(sparse(dense), group, label, discover, settings=QUICK)
    assert found.grade.tolist() == grades(found.facts).tolist()
    one = {"measured": True, "eligible": True, "candidate": True, "p_disagreement": False, "partial": False}
    one |= {"discover_sign": 1.0, "sign": 1.0, "q": 0.01, "low": 0.6, "detectable": 0.1}
    one |= {"near_low": 0.6, "near_high": 0.9, "selection": 0.9, "agreement": 1.0}

    def judged(level=0.05, preselected=False, **changed):
        arrays = {name: np.array([value]) for name, value in (one | changed).items()}
        facts = Facts(**arrays, level=level, preselected=preselected)
        return grades(facts)[0], named(codes(facts)[0])

    nan = float("nan")
    assert judged() == ("robust", ())
    assert judged(selection=0.7) == ("specific", ("unstable",))
    assert judged(agreement=0.9) == ("specific", ("unstable",))
    assert judged(near_low=0.4) == ("confirmed", ("surface_cue",))
    assert judged(near_low=0.1, near_high=0.4) == ("confirmed", ("surface_cue",))  # the other side
    assert judged(near_low=0.1, near_high=0.4, sign=-1.0, discover_sign=-1.0) == ("robust", ())
    assert judged(near_low=nan, near_high=nan) == ("confirmed", ("no_near_miss",))
    assert judged(q=0.06) == ("candidate", ("not_confirmed",))
    assert judged(q=nan, detectable=0.3) == ("candidate", ("few_groups", "underpowered", "not_confirmed"))
    assert judged(selection=nan) == ("specific", ())
    assert judged(discover_sign=-1.0) == ("candidate", ("not_confirmed", "sign_flip"))
    assert judged(preselected=True) == ("candidate", ("preselected",))
    assert judged(low=nan) == ("robust", ("few_groups",))
    assert judged(candidate=False, eligible=False, q=nan) == ("none", ("few_active",))
    assert judged(measured=False, candidate=False) == ("not_measured", ())


def test_which_p_is_used():
    analytic = np.array([1e-9, 0.01, 0.04, 0.5, 1e-9, 0.2])
    permutation = np.array([1 / 2001, 0.011, 0.2, 0.02, 0.003, 0.3])
    loose = np.array([100, 100, 100, 10, 100, 29])
    p, apart = chosen_p(analytic, permutation, loose, 2000)
    np.testing.assert_array_equal(p, [1e-9, 0.01, 0.2, 0.5, 0.003, 0.3])
    np.testing.assert_array_equal(apart, [False, False, True, True, True, False])
    p, _ = chosen_p(analytic, permutation, loose, 2000, mixed=True)
    np.testing.assert_array_equal(p, permutation)
    p, _ = chosen_p(analytic, permutation, loose, 0)
    np.testing.assert_array_equal(p, [1e-9, 0.01, 0.04, np.nan, 1e-9, np.nan])


def test_a_draw_that_should_not_have_come_makes_p_that_of_the_draws():
    analytic, permutation = np.array([1e-8, 1e-8, 4e-4]), np.array([3, 1, 2]) / 2001
    p, apart = chosen_p(analytic, permutation, np.array([100, 100, 100]), 2000)
    np.testing.assert_array_equal(apart, [True, False, False])
    np.testing.assert_array_equal(p, [3 / 2001, 1e-8, 4e-4])


def test_grades_are_ordered_and_settings_checked():
    assert at_least("specific", "confirmed") and not at_least("candidate", "confirmed")
    with pytest.raises(UserError, match="not a correlational grade"):
        at_least("certain", "none")
    for wrong in ({"candidates": 0}, {"q": 1.0}, {"smallest_effect": 0.5}, {"permutations": -1}):
        with pytest.raises(UserError, match="out of range"):
            Settings(**wrong)


def test_permutations_are_raised_where_the_family_asks_for_it():
    dense, group, label, discover = _study(8)
    found = associate(sparse(dense), group, label, discover, settings=Settings(permutations=10, bootstrap=0, q=0.2))
    assert found.permutations == 2 * 40 / 0.2
    held = sparse(dense)
    assert len(entries(held)[0]) == (dense != 0).sum()
