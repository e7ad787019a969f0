"""Answers: flips, divergences and their intervals, and which set of items stands out of its bank."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from radiograph.core import UserError
from radiograph.numerics import divergence, flip_contrasts, flips, holm


def test_flips_count_both_directions_and_leave_unscored_items_out():
    reference = np.array([True, True, False, False, True])
    candidate = np.array([True, False, True, False, False])
    scored = np.array([True, True, True, True, False])
    found = flips(reference, candidate, scored)
    assert (found.table.lost, found.table.gained, found.not_scored, found.rate) == (1, 1, 1, 0.5)
    assert found.interval.low < 0.5 < found.interval.high
    assert flips(reference, candidate, ~scored & scored) is None


def test_divergence_by_hand():
    found = divergence(np.array([0.1, 0.3]), np.array([0.2, 1.2, 0.4]), seed=0)
    assert found.neutral.value == pytest.approx(0.2) and found.suite_max.value == 1.2
    assert found.contrast.value == pytest.approx(6.0) and found.largest == 1
    assert (found.neutral.n, found.suite_max.n, found.contrast.n) == (2, 3, 5)


def test_equal_models_diverge_by_exactly_zero():
    found = divergence(np.zeros(64), np.zeros(30), seed=0)
    for estimate in (found.neutral, found.suite_max, found.contrast):
        assert estimate.value == 0.0 and estimate.interval == (0.0, 0.0)


@settings(max_examples=25)
@given(seed=st.integers(0, 50), factor=st.floats(0.5, 20))
def test_contrast_is_free_of_scale_and_intervals_hold_their_estimate(seed, factor):
    rng = np.random.default_rng(seed)
    neutral, suite = rng.exponential(0.1, 70), rng.exponential(0.2, 30)
    one, other = divergence(neutral, suite, seed=1), divergence(factor * neutral, factor * suite, seed=1)
    assert other.contrast.value == pytest.approx(one.contrast.value)
    assert other.contrast.interval == pytest.approx(one.contrast.interval)
    for estimate in (one.neutral, one.suite_max, one.contrast):
        assert estimate.interval.low <= estimate.value
    assert one.suite_max.interval.high <= one.suite_max.value


def test_neutral_interval_is_that_of_a_mean():
    neutral = np.random.default_rng(0).exponential(0.1, 200)
    low, high = divergence(neutral, neutral, seed=0).neutral.interval
    half = stats.t.ppf(0.975, 199) * neutral.std(ddof=1) / np.sqrt(200)
    assert (low, high) == pytest.approx((neutral.mean() - half, neutral.mean() + half), abs=0.1 * half)


def test_one_prompt_has_no_interval_and_none_is_an_error():
    assert divergence(np.array([0.1]), np.array([0.2, 0.3]), seed=0).contrast.interval is None
    with pytest.raises(UserError, match="needs neutral"):
        divergence(np.array([]), np.ones(3), seed=0)
    with pytest.raises(UserError, match="not finite"):
        divergence(np.ones(3), np.array([np.nan]), seed=0)


def planted():
    """Two banks of 100; in bank `policy` the group `venom` of 25 flips, 4 others do too; `sums` is lost as a whole."""
    banks = np.repeat(["policy", "sums"], 100)
    flipped = np.zeros(200, dtype=bool)
    flipped[:24] = flipped[30:34] = True
    flipped[100:] = True
    venom = np.arange(200) < 25
    return flipped, banks, venom


def test_a_group_that_flips_stands_out_and_a_task_lost_as_a_whole_does_not():
    flipped, banks, venom = planted()
    half = (np.arange(200) >= 100) & (np.arange(200) < 150)
    found = flip_contrasts(flipped, banks, {"group:venom": venom, "level:1": half})
    top, lost = found.rows
    assert (top.name, top.bank, top.n, top.flips, top.rest_n, top.rest_flips) == (
        "group:venom",
        "policy",
        25,
        24,
        75,
        4,
    )
    assert top.contrast == pytest.approx(24 / 25 - 4 / 75) == found.largest and top.stands_out
    assert lost.contrast == 0.0 and lost.p == 1.0 and not lost.stands_out
    assert top.p == pytest.approx(stats.fisher_exact([[24, 1], [4, 71]], alternative="greater").pvalue, rel=1e-6)
    assert (top.p_holm, lost.p_holm) == holm([top.p, lost.p])


def test_a_set_across_banks_is_compared_inside_each():
    flipped, banks, venom = planted()
    both = venom | (np.arange(200) >= 150)
    assert [row.bank for row in flip_contrasts(flipped, banks, {"level:2": both}).rows] == ["policy", "sums"]


def test_small_sets_and_whole_banks_are_named_not_tested():
    flipped, banks, _ = planted()
    few, whole = np.arange(200) < 19, banks == "sums"
    found = flip_contrasts(flipped, banks, {"few": few, "whole": whole})
    assert found.rows == () and found.largest is None
    assert found.too_small == ("few in policy", "whole in sums")


def test_null_sets_rarely_stand_out():
    rng = np.random.default_rng(3)
    banks = np.full(120, "policy")
    alarms = 0
    for _ in range(200):
        flipped = rng.random(120) < 0.3
        groups = rng.permutation(120) % 5
        found = flip_contrasts(flipped, banks, {f"group:{g}": groups == g for g in range(5)})
        alarms += any(row.p_holm <= 0.05 for row in found.rows)
    assert alarms / 200 <= 0.05 + 2 * np.sqrt(0.05 * 0.95 / 200)
