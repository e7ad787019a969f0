"""Counts: agreement with SciPy and published tables, exact tails, and what an interval may never do."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from radiograph.core import UserError
from radiograph.numerics import (
    PairedTable,
    clopper_pearson,
    drop_bound,
    fisher_greater,
    holm,
    mcnemar,
    mcnemar_two_sided,
    newcombe,
    wilson,
)

counts = st.integers(0, 60)
tables = st.builds(PairedTable, counts, counts, counts, counts.map(lambda x: x + 1))


@given(lost=counts, gained=counts)
def test_mcnemar_is_the_binomial_tail(lost, gained):
    n = lost + gained
    expected = 1.0 if n == 0 else stats.binomtest(lost, n, 0.5, alternative="greater").pvalue
    assert mcnemar(lost, gained) == pytest.approx(expected, rel=1e-9)


def test_mcnemar_is_exact_far_in_the_tail():
    assert mcnemar(60, 0) == 2.0**-60


def test_mcnemar_is_quick_on_many_discordant_items():
    assert mcnemar(10_100, 9_900) == pytest.approx(stats.binom.sf(10_099, 20_000, 0.5), rel=1e-9)


@given(success=counts, failure=counts, other_success=counts, other_failure=counts)
def test_fisher_agrees_with_scipy(success, failure, other_success, other_failure):
    n, other = success + failure, other_success + other_failure
    if min(n, other) == 0:
        with pytest.raises(UserError):
            fisher_greater(success, n, other_success, other)
        return
    table = [[success, failure], [other_success, other_failure]]
    expected = stats.fisher_exact(table, alternative="greater").pvalue
    assert fisher_greater(success, n, other_success, other) == pytest.approx(expected, rel=1e-6, abs=1e-12)


def test_fisher_tea_tasting():
    assert fisher_greater(3, 4, 1, 4) == 17 / 70  # Fisher 1935: (16 + 1) of 70 ways


@given(n=st.integers(1, 300), data=st.data(), confidence=st.sampled_from([0.8, 0.9, 0.95, 0.99]))
def test_single_proportion_intervals_agree_with_scipy(n, data, confidence):
    success = data.draw(st.integers(0, n))
    result = stats.binomtest(success, n)
    for ours, method in ((wilson, "wilson"), (clopper_pearson, "exact")):
        theirs = result.proportion_ci(confidence, method=method)
        assert ours(success, n, confidence) == pytest.approx((theirs.low, theirs.high), abs=1e-6)


def test_published_clopper_pearson_and_wilson():
    assert clopper_pearson(48, 60) == pytest.approx((0.6767, 0.8922), abs=5e-5)
    assert clopper_pearson(0, 5).high == pytest.approx(0.5218, abs=5e-5)
    assert clopper_pearson(0, 100).high == pytest.approx(0.0362, abs=5e-5)
    # Newcombe 1998, Statistics in Medicine 17:857, table I: 81 of 263 and 15 of 148.
    assert wilson(81, 263) == pytest.approx((0.2553, 0.3662), abs=5e-5)
    assert wilson(15, 148) == pytest.approx((0.0624, 0.1605), abs=5e-5)


def test_published_newcombe_intervals():
    # Newcombe 1998, Statistics in Medicine 17:2635, table III, method 10.
    assert newcombe(PairedTable(36, 12, 2, 0)) == pytest.approx((0.0569, 0.3404), abs=5e-5)
    # Bentur et al. 2009, in Fagerland, Lydersen and Laake 2014: -0.507 to -0.026.
    assert newcombe(PairedTable(1, 1, 7, 12)) == pytest.approx((-0.507, -0.026), abs=5e-4)


def newcombe_slowly(a, b, c, d, confidence):
    """Method 10 from roots of (p − π)² = z²·π(1 − π)/n instead of Wilson's closed form."""
    n, z = a + b + c + d, stats.norm.ppf(0.5 + confidence / 2)

    def roots(x):
        p = x / n
        return np.sort(np.roots([1 + z * z / n, -(2 * p + z * z / n), p * p]).real)

    p1, p2 = (a + b) / n, (a + c) / n
    (l1, u1), (l2, u2) = roots(a + b), roots(a + c)
    margins = (a + b) * (c + d) * (a + c) * (b + d)
    product = a * d - b * c
    phi = 0 if margins == 0 else (product if product <= 0 else max(product - n / 2, 0)) / math.sqrt(margins)
    below = np.array([p1 - l1, -(u2 - p2)])
    above = np.array([u1 - p1, -(p2 - l2)])
    correlation = np.array([[1, phi], [phi, 1]])
    return (
        p1 - p2 - math.sqrt(max(below @ correlation @ below, 0)),
        p1 - p2 + math.sqrt(max(above @ correlation @ above, 0)),
    )


@given(table=tables, confidence=st.sampled_from([0.9, 0.95]))
def test_newcombe_agrees_with_a_second_derivation(table, confidence):
    low, high = newcombe_slowly(table.both_right, table.lost, table.gained, table.both_wrong, confidence)
    assert newcombe(table, confidence) == pytest.approx((max(low, -1), min(high, 1)), abs=1e-6)


@given(table=tables)
def test_swapping_the_models_mirrors_the_interval(table):
    swapped = PairedTable(table.both_right, table.gained, table.lost, table.both_wrong)
    low, high = newcombe(table)
    assert newcombe(swapped) == pytest.approx((-high, -low), abs=1e-12)
    assert low - 1e-12 <= table.drop <= high + 1e-12


def test_drop_bound_golden_numbers():
    assert drop_bound(PairedTable(90, 5, 2, 3)) == pytest.approx(0.083, abs=5e-4)
    assert drop_bound(PairedTable(28, 2, 0, 0)) > 0.10
    assert drop_bound(PairedTable(30, 0, 0, 0)) == pytest.approx(0.0827, abs=5e-5)


def test_drop_bound_covers_at_its_confidence():
    rng = np.random.default_rng(0)
    p = np.array([0.80, 0.08, 0.03, 0.09])
    draws = rng.multinomial(120, p, size=2000)
    covered = np.mean([drop_bound(PairedTable(*map(int, row))) >= p[1] - p[2] for row in draws])
    assert covered >= 0.94


@given(p=st.lists(st.floats(0, 1), min_size=1, max_size=12))
def test_holm_rejects_what_the_step_down_rule_rejects(p):
    adjusted = holm(p)
    for alpha in (0.01, 0.05, 0.3):
        rejected = set()
        for rank, i in enumerate(sorted(range(len(p)), key=lambda i: p[i])):
            if p[i] * (len(p) - rank) > alpha:
                break
            rejected.add(i)
        assert {i for i, value in enumerate(adjusted) if value <= alpha} == rejected


def test_holm_published():
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx((0.03, 0.06, 0.06, 0.02))
    assert holm([]) == ()


def test_table_counts_each_item_once():
    reference = np.array([True, True, False, False, True])
    candidate = np.array([True, False, True, False, False])
    table = PairedTable.of(reference, candidate)
    assert (table.both_right, table.lost, table.gained, table.both_wrong) == (1, 2, 1, 1)
    assert (table.n, table.drop) == (5, 0.2)


@pytest.mark.parametrize(
    "call", [lambda: wilson(3, 2), lambda: wilson(0, 0), lambda: wilson(1, 2, 1.0), lambda: PairedTable(0, 0, 0, 0)]
)
def test_impossible_counts_are_errors(call):
    with pytest.raises(UserError):
        call()


def test_r15_two_sided_mcnemar() -> None:
    table = {(5, 0): 0.0625, (7, 5): 0.7744140625, (6, 0): 0.03125, (0, 0): 1.0}
    for (rescued, broken), p in table.items():
        assert mcnemar_two_sided(rescued, broken) == p
        assert mcnemar_two_sided(broken, rescued) == p
