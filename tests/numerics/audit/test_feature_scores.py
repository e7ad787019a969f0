"""Feature scores against an independent reference, by hand, and the properties each drift must have."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from jaxtyping import TypeCheckError

from radiograph.core import Refusal, UserError
from radiograph.numerics import NeutralDrift, reference_units, score_features, top_by_magnitude

METHODS = ("abs_diff_topk", "abs_diff_topk_drift_corrected", "neutral_drift", "leave_group_out")


def reference_scores(ref, cand, method, k, groups, mu):
    """The formulas in plain Python: one prompt, one feature at a time."""
    prompts, features = len(ref), len(ref[0])
    d = [[float(cand[p][j]) - float(ref[p][j]) for j in range(features)] for p in range(prompts)]
    scores, tops = [], []
    for p in range(prompts):
        c = []
        for j in range(features):
            if method == "abs_diff_topk":
                drift = 0.0
            elif method == "abs_diff_topk_drift_corrected":
                drift = sum(d[q][j] for q in range(prompts)) / prompts
            elif method == "neutral_drift":
                drift = mu[j]
            else:
                others = [d[q][j] for q in range(prompts) if groups[q] != groups[p]]
                drift = sum(others) / len(others)
            c.append(d[p][j] - drift)
        ranked = sorted(range(features), key=lambda j: (-abs(c[j]), j))[:k]
        tops.append(ranked)
        scores.append(sum(abs(c[j]) for j in ranked))
    return scores, tops


@pytest.mark.parametrize("case", range(50))
def test_fifty_random_cases_agree_with_the_reference(case):
    rng = np.random.default_rng(case)
    prompts, features = int(rng.integers(4, 9)), int(rng.integers(1, 12))
    k = int(rng.integers(1, 15))  # also above F
    # Sixteenths add up without rounding and tie often; the differences take both signs.
    ref, cand = rng.integers(0, 4, (2, prompts, features)) / 16.0
    groups = ["a", "a", "b", "b", *rng.choice(["a", "b", "c"], prompts - 4)]
    neutral = NeutralDrift(rng.integers(-2, 3, features) / 16.0, 64)
    for method in METHODS:
        for aggregate, reduce in (("mean", np.mean), ("max", np.max)):
            found = score_features(ref, cand, method=method, k=k, aggregate=aggregate, groups=groups, neutral=neutral)
            scores, tops = reference_scores(ref, cand, method, k, groups, neutral.mean)
            np.testing.assert_allclose(found.prompt_scores, scores, atol=1e-6)
            assert found.score == pytest.approx(reduce(scores), abs=1e-6)
            assert found.k == min(k, features)
            assert found.requested == found.executed == method
            if method in ("abs_diff_topk", "neutral_drift"):
                assert found.top.tolist() == tops


REF = np.array([[1.0, 0.0, 2.0, 0.0], [0.0, 1.0, 2.0, 0.0]])
CAND = np.array([[4.0, 0.0, 0.0, 1.0], [1.0, 1.0, 5.0, 0.0]])


def test_abs_diff_by_hand_keeps_the_maximum_apart_from_the_mean():
    # d = [3, 0, −2, 1] and [1, 0, 3, 0]; two largest: 3 + 2 and 3 + 1.
    mean = score_features(REF, CAND, k=2)
    assert mean.prompt_scores.tolist() == [5.0, 4.0] and mean.score == 4.5
    assert mean.top.tolist() == [[0, 2], [2, 0]]
    assert score_features(REF, CAND, k=2, aggregate="max").score == 5.0


def test_drift_corrected_by_hand_reports_raw_and_corrected():
    # d̄ = [2, 0, .5, .5]; c = ±[1, 0, −2.5, .5]; two largest: 2.5 + 1.
    found = score_features(REF, CAND, method="abs_diff_topk_drift_corrected", k=2)
    assert found.prompt_scores.tolist() == [3.5, 3.5] and found.score == 3.5
    assert found.differences.tolist() == [[3, 0, -2, 1], [1, 0, 3, 0]]
    assert found.corrected.tolist() == [[1, 0, -2.5, 0.5], [-1, 0, 2.5, -0.5]]
    assert found.warnings == ("drift_from_few_prompts",)


def test_neutral_and_group_drift_by_hand():
    neutral = NeutralDrift(np.array([1.0, 0.0, 0.0, 1.0]), 64)
    # c = [2, 0, −2, 0] and [0, 0, 3, −1]
    assert score_features(REF, CAND, method="neutral_drift", k=3, neutral=neutral).prompt_scores.tolist() == [4, 4]
    cand = np.array([[3.0], [5.0], [1.0], [1.0]])
    found = score_features(np.zeros((4, 1)), cand, method="leave_group_out", groups=["a", "a", "b", "b"])
    # outside a: 1; outside b: 4
    assert found.prompt_scores.tolist() == [2, 4, 3, 3]


def test_one_spike_among_five_prompts_stays_whole_only_under_neutral_drift():
    ref, cand = np.zeros((5, 20)), np.zeros((5, 20))
    cand[2, 7] = 10.0
    neutral = NeutralDrift(np.zeros(20), 64)
    whole = score_features(ref, cand, method="neutral_drift", neutral=neutral)
    assert whole.prompt_scores.tolist() == [0, 0, 10, 0, 0]
    spread = score_features(ref, cand, method="abs_diff_topk_drift_corrected")
    np.testing.assert_allclose(spread.prompt_scores, [2, 2, 8, 2, 2])


@given(
    shifts=hnp.arrays(np.float64, (6, 5), elements=st.integers(-8, 8).map(float)),
    drift=hnp.arrays(np.float64, 5, elements=st.integers(-8, 8).map(float)),
)
def test_a_drift_common_to_all_prompts_leaves_corrected_scores_alone(shifts, drift):
    groups = ["a", "a", "b", "b", "c", "c"]
    for method in METHODS[1:]:
        plain = score_features(
            np.zeros((6, 5)), shifts, method=method, k=3, groups=groups, neutral=NeutralDrift(np.zeros(5), 64)
        )
        moved = score_features(
            np.zeros((6, 5)), shifts + drift, method=method, k=3, groups=groups, neutral=NeutralDrift(drift, 64)
        )
        np.testing.assert_allclose(moved.prompt_scores, plain.prompt_scores, atol=1e-9)


@given(permutation=st.permutations(range(6)), seed=st.integers(0, 99))
def test_order_of_prompts_does_not_matter(permutation, seed):
    rng = np.random.default_rng(seed)
    ref, cand = rng.random((2, 6, 8))
    groups = np.array(list("aabbcc"))
    for method in METHODS:
        neutral = NeutralDrift(np.full(8, 0.1), 64)
        one = score_features(ref, cand, method=method, k=3, groups=list(groups), neutral=neutral)
        other = score_features(
            ref[permutation], cand[permutation], method=method, k=3, groups=list(groups[permutation]), neutral=neutral
        )
        np.testing.assert_allclose(other.prompt_scores, one.prompt_scores[permutation], atol=1e-12)


@given(k=st.integers(1, 12), seed=st.integers(0, 99))
def test_scores_grow_with_k_and_never_beyond_the_whole_norm(k, seed):
    ref, cand = np.random.default_rng(seed).random((2, 4, 9))
    small, large = (score_features(ref, cand, k=i).prompt_scores for i in (k, k + 1))
    assert (large >= small).all()
    assert (large <= np.abs(cand - ref).sum(axis=1) + 1e-12).all()


def test_equal_models_score_exactly_zero():
    ref = np.random.default_rng(0).random((6, 40)).astype(np.float32)
    for method in METHODS:
        found = score_features(
            ref, ref.copy(), method=method, groups=list("aabbcc"), neutral=NeutralDrift(np.zeros(40), 96)
        )
        assert found.score == 0.0 and not found.prompt_scores.any()


@given(values=hnp.arrays(np.float64, (3, 9), elements=st.integers(-3, 3).map(float)), k=st.integers(1, 12))
def test_top_by_magnitude_is_a_stable_sort(values, k):
    expected = [sorted(range(9), key=lambda j: (-abs(row[j]), j))[:k] for row in values]
    assert top_by_magnitude(values, k).tolist() == expected


@pytest.mark.parametrize(
    ("keywords", "code"),
    [
        ({"method": "abs_diff_topk_drift_corrected", "prompts": 1}, "one_prompt"),
        ({"method": "neutral_drift"}, "no_neutral_bank"),
        ({"method": "neutral_drift", "neutral": NeutralDrift(np.zeros(3), 63)}, "small_neutral_bank"),
        ({"method": "leave_group_out"}, "no_groups"),
        ({"method": "leave_group_out", "groups": ["a", "b", "c", "d"]}, "no_groups"),
        ({"method": "leave_group_out", "groups": ["a", "a", "a", "b"]}, "no_groups"),
        ({"prompts": 0}, "no_prompts"),
    ],
)
def test_what_cannot_run_is_not_measured_and_falls_back_on_nothing(keywords, code):
    prompts = keywords.pop("prompts", 4)
    found = score_features(np.zeros((prompts, 3)), np.ones((prompts, 3)), **keywords)
    assert isinstance(found, Refusal) and found.code == code


def test_one_prompt_is_fine_without_drift():
    assert score_features(np.zeros((1, 3)), np.ones((1, 3))).score == 3.0


@pytest.mark.parametrize(
    ("keywords", "match"),
    [
        ({"method": "abs_diff_topq"}, "abs_diff_topk, abs_diff_topk_drift_corrected, neutral_drift, leave_group_out"),
        ({"aggregate": "median"}, "mean, max"),
        ({"k": 0}, "k ≥ 1"),
        ({"candidate": np.full((4, 3), np.nan)}, r"candidate features\[0, 0\]"),
        ({"method": "neutral_drift", "neutral": NeutralDrift(np.zeros(2), 64)}, "number of features"),
        ({"method": "leave_group_out", "groups": ["a"]}, "one group per prompt"),
    ],
)
def test_bad_requests_are_errors_that_name_what_is_known(keywords, match):
    candidate = keywords.pop("candidate", np.ones((4, 3)))
    with pytest.raises(UserError, match=match):
        score_features(np.zeros((4, 3)), candidate, **keywords)


def test_models_of_another_shape_are_errors():
    # The annotation catches it in tests, the function itself elsewhere.
    with pytest.raises((UserError, TypeCheckError)):
        score_features(np.zeros((4, 3)), np.ones((4, 2)))


def test_rescaling_a_live_feature_changes_no_rank_in_reference_units():
    rng = np.random.default_rng(1)
    ref, cand, sd = rng.random((5, 30)), rng.random((5, 30)), rng.uniform(0.5, 2, 30)
    sd[3] = 0.0
    scale = np.ones(30)
    scale[11] = 1000.0
    plain = reference_units(cand - ref, sd)
    scaled = reference_units((cand - ref) * scale, sd * scale)
    live = np.arange(30) != 3
    np.testing.assert_allclose(scaled[:, live], plain[:, live], rtol=1e-12)
    assert np.array_equal(top_by_magnitude(scaled[:, live], 10), top_by_magnitude(plain[:, live], 10))
    np.testing.assert_allclose(plain[:, 3], (cand - ref)[:, 3] / np.median(sd[live]))
    assert reference_units(ref, np.zeros(30)).code == "no_live_feature"
