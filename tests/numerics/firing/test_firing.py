"""Histograms, rows to show and co-activation, each against a slower second way."""

from __future__ import annotations

import numpy as np
import pytest

from radiograph.numerics.firing import _together, coactivation, histogram, phi, shown_rows


def test_every_value_falls_into_one_bin_whatever_its_kind():
    rng = np.random.default_rng(0)
    value, kind = rng.exponential(size=500) + 1e-3, rng.integers(0, 3, 500)
    bars = histogram(value, kind, 3)
    assert bars.logarithmic
    assert (bars.counts.sum(axis=0) == np.bincount(kind, minlength=3)).all()
    for low, high, own in zip(bars.edges[:-1], bars.edges[1:], bars.counts.sum(axis=1), strict=True):
        last = high == bars.edges[-1]
        assert own == ((value >= low) & ((value <= high) if last else (value < high))).sum()


@pytest.mark.parametrize("value", [[2.0, 2.0], [-1.0, 3.0], [1.0, 1.5], [1e-30, 1e30]])
def test_bins_of_equal_width_where_ratios_say_nothing(value):
    bars = histogram(np.array(value), np.zeros(len(value), np.int64), 1)
    assert bars.counts.sum() == len(value)
    assert bars.logarithmic == (value[0] > 0 and value[-1] > 2 * value[0])


def test_no_values_no_bins():
    assert histogram(np.zeros(0), np.zeros(0, np.int64), 3).counts.shape == (0, 3)


def test_rows_to_show_are_the_strongest_and_one_of_each_tenth():
    rng = np.random.default_rng(1)
    row, value = rng.permutation(300)[:200], rng.permutation(200) + 1.0
    near = np.zeros(300, dtype=bool)
    near[::7] = True
    shown = shown_rows(row, value, near, top=5, near=3, seed=0)
    by_value = row[np.argsort(-value)]
    assert shown.top.tolist() == by_value[:5].tolist()
    assert [tenth for tenth, _ in shown.tenths] == list(range(10, 0, -1))
    for tenth, found in shown.tenths:
        assert found in by_value[20 * (10 - tenth) : 20 * (11 - tenth)]
        assert found not in shown.top
    assert all(near[shown.near_fires]) and set(shown.near_fires) <= set(row)
    assert all(near[shown.near_silent]) and not set(shown.near_silent) & set(row)
    order = rng.permutation(200)
    again = shown_rows(row[order], value[order], near, top=5, near=3, seed=0)
    assert again.top.tolist() == shown.top.tolist() and again.tenths == shown.tenths


def test_few_rows_show_each_once():
    shown = shown_rows(np.array([4, 2]), np.array([1.0, 1.0]), np.zeros(6, dtype=bool), top=1, near=2, seed=0)
    assert shown.top.tolist() == [2]  # of equal values the lower row
    assert [row for _, row in shown.tenths] == [4]


def by_feature(dense, features):
    """Features, offsets and rows."""
    feature, row = np.nonzero(dense[:, features].T)
    offsets = np.concatenate([[0], np.cumsum(np.bincount(feature, minlength=len(features)))])
    return np.array(features), offsets, row


@pytest.mark.parametrize("limit", [2**24, 100, 1])
def test_phi_is_the_correlation_of_firing(limit, monkeypatch):
    monkeypatch.setattr(_together, "DENSE", limit)
    rng = np.random.default_rng(2)
    dense = rng.random((80, 12)) < rng.uniform(0.1, 0.9, 12)
    chosen = np.array([3, 7])
    parts = [by_feature(dense, [0, 1, 2, 3, 4]), by_feature(dense, [11, 10, 9, 8, 7, 6, 5])]
    found = coactivation(parts, np.nonzero(dense[:, chosen]), (12, 80, 2))
    assert found.active.tolist() == dense.sum(0).tolist()
    expected = np.corrcoef(dense.T.astype(float))[:, chosen]
    assert phi(found, chosen, 80) == pytest.approx(expected, abs=1e-12)


def test_phi_of_a_silent_feature_is_zero():
    found = coactivation(
        [(np.array([0, 1]), np.array([0, 3, 3]), np.arange(3))], (np.arange(3), np.zeros(3, np.int64)), (2, 3, 1)
    )
    assert phi(found, np.array([0]), 3).tolist() == [[0.0], [0.0]]
