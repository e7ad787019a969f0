"""Adjusted p-values: by hand, by definition, and by what they promise."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from radiograph.core import UserError
from radiograph.numerics.multiplicity import max_t, q_values


@pytest.mark.parametrize("method", ["bh", "by"])
def test_agrees_with_scipy_and_with_the_definition(method):
    p = np.random.default_rng(0).random(200) ** 2
    ours = q_values(p, method)
    np.testing.assert_allclose(ours, stats.false_discovery_control(p, method=method), atol=1e-14)
    factor = (1 / np.arange(1, 201)).sum() if method == "by" else 1.0
    slow = [min(1.0, min(200 * factor * x / (p <= x).sum() for x in p if x >= own)) for own in p]
    np.testing.assert_allclose(ours, slow, atol=1e-14)


def test_order_does_not_matter_and_the_missing_do_not_count():
    p = np.array([0.04, np.nan, 0.001, 0.2])
    found = q_values(p)
    assert np.isnan(found[1])
    np.testing.assert_allclose(found[[0, 2, 3]], [0.06, 0.003, 0.2])
    np.testing.assert_allclose(q_values(p[::-1]), found[::-1])
    assert len(q_values(np.array([]))) == 0


def test_false_findings_stay_rare_where_half_is_true():
    generator, shares = np.random.default_rng(1), []
    for _ in range(300):
        p = np.concatenate([generator.random(40), stats.norm.sf(generator.normal(3, 1, 40))])
        found = q_values(p) < 0.1
        shares.append(found[:40].sum() / max(1, found.sum()))
    assert np.mean(shares) < 0.05 + 3 * np.std(shares) / np.sqrt(300)  # half of .1: half of the family is null


def test_largest_statistic_counts_draws():
    assert max_t(np.array([3.0, 1.0, np.nan]), np.array([0.5, 1.0, 2.0])).tolist()[:2] == [0.25, 0.75]


def test_a_p_of_two_is_refused():
    with pytest.raises(UserError, match="between 0 and 1"):
        q_values(np.array([0.5, 2.0]))
