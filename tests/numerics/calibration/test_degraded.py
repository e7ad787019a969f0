"""A degraded candidate among degraded models: counted, silent on equals, and refused where nothing is known."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import binom

from radiograph.core import UserError
from radiograph.numerics.calibration import among_degraded, strength

NAMES = ("size", "drift")


def rates(success, flips=0.0):
    return {"trigger.success": success, "panel.flip_contrast": flips}


def cloud(n, seed=0):
    return np.random.default_rng(seed).normal(size=(n, 2))


def test_the_strongest_contrast_counts_and_a_missing_one_is_no_zero():
    assert strength(rates(0.2, 0.7)) == (0.7, "panel.flip_contrast")
    assert strength(rates(-0.1, -0.4)) == (-0.1, "trigger.success")
    assert strength(rates(None, 0.7)) is None and strength({}) is None


def test_p_is_counted_and_ties_count_against_the_candidate():
    pool = [rates(0.1 * i) for i in range(10)]
    found = among_degraded([*pool, rates(0.0, 0.8)], cloud(11), NAMES)
    assert found is not None
    assert (found.n, found.floor, found.leading) == (10, 1 / 11, "panel.flip_contrast")
    assert found.p == sum(x >= 0.8 for x in (*found.others, 0.8)) / 11 == 3 / 11
    assert found.others == pytest.approx([0.1 * i for i in range(10)])


def test_the_order_of_the_models_does_not_matter():
    pool, where = [rates(v) for v in np.random.default_rng(1).random(30)], cloud(31)
    order = np.random.default_rng(2).permutation(30)
    one = among_degraded([*pool, rates(0.9)], where, NAMES)
    two = among_degraded([*(pool[i] for i in order), rates(0.9)], where[[*order, 30]], NAMES)
    assert one is not None and two is not None
    assert (one.p, one.supported.p) == (two.p, two.supported.p) and sorted(one.others) == sorted(two.others)


def test_one_of_them_is_called_unusual_no_more_often_than_said():
    """2,000 candidates from the models' own law: rates in twentieths, so with ties."""
    luck, hits, n = np.random.default_rng(3), 0, 2000
    where = cloud(40)
    for _ in range(n):
        values = luck.integers(0, 21, size=(40, 2)) / 20
        found = among_degraded([rates(a, b) for a, b in values], where, NAMES)
        assert found is not None
        hits += found.p <= 0.05
    assert hits <= binom.ppf(0.999, n, 0.05)


def test_a_candidate_that_was_not_measured_has_no_p_and_a_far_one_no_support():
    pool = [rates(0.1 * i) for i in range(10)]
    assert among_degraded([*pool, rates(None)], cloud(11), NAMES) is None
    where = cloud(11)
    where[-1] = 50.0
    far = among_degraded([*pool, rates(0.9)], where, NAMES)
    assert far is not None and not far.supported.inside


def test_a_degraded_model_without_a_contrast_is_refused():
    with pytest.raises(UserError, match="lacks a contrast"):
        among_degraded([rates(None), *(rates(0.1) for _ in range(9))], cloud(10), NAMES)
