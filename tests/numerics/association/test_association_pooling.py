"""Rows of tokens to rows of prompts, against dense arithmetic."""

from __future__ import annotations

import numpy as np
import pytest
from associations import sparse, table

from radiograph.numerics.association import pool_rows


def _dense(values, place, prompts, how):
    out = np.zeros((prompts, values.shape[1]))
    for prompt in range(prompts):
        own = values[place == prompt]
        out[prompt] = {"max": own.max(0), "mean": own.mean(0), "sum": own.sum(0), "last": own[-1]}[how]
    return out


@pytest.mark.parametrize("how", ["max", "mean", "sum", "last"])
@pytest.mark.parametrize("together", [True, False])
def test_pooled_rows_equal_dense_ones(how, together):
    rng = np.random.default_rng(3)
    values = table(rng, 60, 7)
    place = rng.permutation(np.concatenate([np.arange(13), rng.integers(-1, 13, 47)]))
    place = np.sort(place) if together else place
    rows = np.bincount(place[place >= 0], minlength=13)
    found = pool_rows(sparse(values), place, rows, how)
    dense = np.zeros((13, 7))
    dense[found.unit, found.feature] = found.value
    assert dense == pytest.approx(_dense(values, place, 13, how), abs=1e-12)
    assert found.value.all(), "no stored zeros"


def test_a_silent_token_is_larger_than_a_negative_one():
    values = np.array([[-2.0], [0.0], [-1.0]])
    found = pool_rows(sparse(values), np.array([0, 0, 1]), np.array([2, 1]), "max")
    assert (found.unit.tolist(), found.value.tolist()) == ([1], [-1.0])


def test_what_was_not_measured_is_left_out_of_a_mean():
    values = np.array([[4.0], [np.nan], [0.0]])
    found = pool_rows(sparse(values, absent="missing"), np.array([0, 0, 1]), np.array([2, 1]), "mean")
    assert found.value.tolist() == [4.0, 0.0]
