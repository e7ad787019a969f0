"""Moments in parts equal the moments of the whole."""

import numpy as np
import pytest

from radiograph.numerics.moments import Moments


@pytest.mark.parametrize("offset", [0.0, 1e6])
@pytest.mark.parametrize("cuts", [[], [1], [0, 3, 3, 90], list(range(1, 100))])
def test_parts_and_merges_equal_the_whole(cuts, offset):
    rows = np.random.default_rng(0).normal(size=(100, 7)) + offset
    added, merged = Moments(7), Moments(7)
    for part in np.split(rows, cuts):
        added.add(part)
        one = Moments(7)
        one.add(part)
        merged.merge(one)
    for found in (added, merged):
        assert found.count == 100
        np.testing.assert_allclose(found.mean, rows.mean(0), rtol=1e-13)
        np.testing.assert_allclose(found.deviations, np.square(rows - rows.mean(0)).sum(0), rtol=1e-8)
    assert added.variance == pytest.approx(rows.var(0).sum(), rel=1e-8)


def test_nothing_seen_has_no_variance():
    assert Moments(3).variance == 0.0
