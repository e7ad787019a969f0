"""Spread of a shift: what one drift, one spiking prompt, unrelated prompts and a blind dictionary must give."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from radiograph.numerics import effective_rank, gini, share_outside, specificity


def test_one_drift_for_all_prompts():
    shift = np.tile(np.random.default_rng(0).normal(size=50), (12, 1))
    found = specificity(shift, shift)
    assert found.invariant_share == pytest.approx(1) and found.gini == pytest.approx(0)
    assert found.effective_rank == pytest.approx(1, rel=1e-6)


def test_one_prompt_that_bears_it_all():
    shift = np.zeros((12, 50))
    shift[4, 9] = 3.0
    found = specificity(shift, shift)
    assert (found.invariant_share, found.effective_rank) == pytest.approx((0, 1), abs=1e-9)
    assert found.gini == pytest.approx(11 / 12)


def test_unrelated_prompts_share_nothing_after_debiasing():
    shares = []
    for seed in range(200):
        shift = np.random.default_rng(seed).normal(size=(5, 400))
        shares.append(specificity(shift, shift).invariant_share)
    assert np.mean(shares) < 0.03
    assert specificity(shift, shift).effective_rank > 4.5


def test_effective_rank_of_the_gram_equals_that_of_the_singular_values():
    corrected = np.random.default_rng(1).normal(size=(8, 30))
    energy = np.linalg.svd(corrected, compute_uv=False) ** 2
    assert specificity(corrected, corrected).effective_rank == pytest.approx(effective_rank(energy), rel=1e-9)


def test_silence_is_refused_not_zero():
    zero, one = np.zeros((3, 4)), np.ones((1, 4))
    assert specificity(zero, zero).code == "no_shift"
    assert specificity(one, one).code == "one_prompt"
    assert share_outside([]).code == share_outside([(zero, zero)]).code == "no_shift"


@given(amounts=hnp.arrays(np.float64, st.integers(1, 20), elements=st.integers(0, 50).map(float)))
def test_gini_is_the_mean_difference_of_pairs(amounts):
    n = len(amounts)
    pairs = np.abs(amounts[:, None] - amounts[None]).sum()
    expected = pairs / (2 * n * amounts.sum()) if amounts.sum() else 0.0
    assert gini(amounts) == pytest.approx(expected, abs=1e-12)
    assert -1e-12 <= gini(amounts) <= 1 - 1 / n + 1e-12


def test_share_outside_is_one_in_the_null_space_and_ignores_chunks():
    rng = np.random.default_rng(2)
    shift = rng.normal(size=(40, 16))
    inside = np.zeros(16)
    inside[:4] = 1
    assert share_outside([(shift, np.zeros_like(shift))]) == 1.0
    assert share_outside([(shift, shift)]) == 0.0
    assert share_outside([(shift, -shift)]) == pytest.approx(4.0)
    whole = share_outside([(shift, shift * inside)])
    pieces = share_outside((shift[i : i + 7], (shift * inside)[i : i + 7]) for i in range(0, 40, 7))
    assert pieces == pytest.approx(whole, rel=1e-12)
    assert whole == pytest.approx((shift[:, 4:] ** 2).sum() / (shift**2).sum())
