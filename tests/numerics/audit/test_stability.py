"""Agreement of paraphrases: identical, disjoint and silent ones, and Spearman against SciPy."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy import stats

from radiograph.core import UserError
from radiograph.numerics import spearman, stability, top_by_magnitude


def agreement(values, groups, k=4):
    return stability(values, top_by_magnitude(values, k), groups)


def test_identical_paraphrases_agree_fully_and_disjoint_ones_not_at_all():
    row = np.array([5.0, 4, 3, 2, 0, 0, 0, 0])
    same = agreement(np.stack([row, row, row]), ["a", "a", "a"])
    assert (same.jaccard, same.spearman, same.pairs, same.groups) == (1.0, pytest.approx(1.0), 3, 1)
    apart = agreement(np.stack([row, row[::-1]]), ["a", "a"])
    assert apart.jaccard == 0.0 and apart.spearman < 0


def test_by_hand():
    # top-2 sets {0, 1} and {1, 2}: one of three shared; ranks over the union (2, 1, 0) and (0, 1, 2).
    found = agreement(np.array([[3.0, 2, 1, 0], [1, 2, 3, 0]]), ["a", "a"], k=2)
    assert found.jaccard == pytest.approx(1 / 3) and found.spearman == pytest.approx(-1)


def test_unmoved_features_do_not_agree_by_index():
    values = np.zeros((2, 10))
    values[0, 8] = values[1, 9] = 1.0
    assert agreement(values, ["a", "a"]).jaccard == 0.0
    assert agreement(np.zeros((2, 10)), ["a", "a"]).code == "no_shift"


def test_large_groups_do_not_speak_for_small_ones():
    row = np.array([4.0, 3, 2, 1, 0, 0, 0, 0])
    values = np.stack([row] * 6 + [row, row[::-1]])
    found = agreement(values, ["a"] * 6 + ["b"] * 2)
    assert found.jaccard == 0.5 and found.pairs == 16 and found.smallest_group == 2


def test_groups_of_one_are_refused_and_lengths_checked():
    assert agreement(np.eye(3), ["a", "b", "c"]).code == "no_groups"
    with pytest.raises(UserError):
        agreement(np.eye(3), ["a"])


ranked = hnp.arrays(np.float64, 9, elements=st.integers(-4, 4).map(float))


@given(x=ranked, y=ranked)
def test_spearman_agrees_with_scipy(x, y):
    ours = spearman(x, y)
    if np.ptp(x) == 0 or np.ptp(y) == 0:
        assert ours is None
    else:
        assert ours == pytest.approx(stats.spearmanr(x, y).statistic, abs=1e-12)
