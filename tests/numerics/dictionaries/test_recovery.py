"""Planted recovery: the whole truth scores one, chance scores what the issue states, sign and precision count."""

import numpy as np
import pytest

from radiograph.core import UserError
from radiograph.numerics.dictionaries.recovery import code_f1, matched, planted_recovery


def unit(*shape, seed=0):
    rows = np.random.default_rng(seed).standard_normal(shape)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def test_the_truth_in_any_order_and_length_is_found_whole():
    truth = unit(40, 16)
    decoder = 3 * truth[np.random.default_rng(1).permutation(40)]
    found = planted_recovery(decoder, truth, seed=0)
    assert found.mmcs == pytest.approx(1)
    assert (found.found, found.precise, found.live) == (40, 40, 40)
    assert found.chance_found < 1


def test_half_of_the_truth_among_noise_by_the_definition():
    truth = unit(60, 32)
    decoder = np.concatenate([truth[:30], unit(100, 32, seed=5)])
    found = planted_recovery(decoder, truth, seed=0)
    cosines = truth @ decoder.T
    assert found.mmcs == pytest.approx(cosines.max(axis=1).mean())
    assert found.found == 30
    assert found.precise == int((cosines.max(axis=0) > 0.9).sum())
    assert found.mmcs_interval.low < found.mmcs < found.mmcs_interval.high
    assert found.found_interval.low < 0.5 < found.found_interval.high


def test_chance_in_64_dimensions_is_what_the_literature_would_call_a_result():
    found = planted_recovery(unit(256, 64, seed=3), unit(128, 64), seed=0)
    assert found.chance_mmcs == pytest.approx(0.35, abs=0.01)
    assert found.chance_best == pytest.approx(0.55, abs=0.08)
    assert found.mmcs == pytest.approx(found.chance_mmcs, abs=0.02)
    assert found.chance_found == 0


def test_the_opposite_direction_is_not_the_direction():
    truth = unit(20, 16)
    assert planted_recovery(-truth, truth, seed=0).found == 0


def test_dead_features_neither_find_nor_spoil():
    truth = unit(20, 16)
    decoder = np.concatenate([truth, unit(20, 16, seed=9)])
    live = np.arange(40) < 20
    found = planted_recovery(decoder, truth, live=live, seed=0)
    assert (found.found, found.precise, found.live) == (20, 20, 20)
    nothing = planted_recovery(decoder, truth, live=np.zeros(40, dtype=bool), seed=0)
    assert (nothing.found, nothing.precise, nothing.mmcs) == (0, None, -1.0)


def test_code_f1_counts_entries_of_paired_features():
    rng = np.random.default_rng(0)
    truth = unit(30, 16)
    order = rng.permutation(30)
    pairs = matched(truth[order], truth)
    assert np.array_equal(order[pairs], np.arange(30))
    active = rng.random((200, 30)) < 0.1
    rows, directions = np.nonzero(active)
    assert code_f1(active, rows, pairs[directions], pairs) == 1
    kept = rng.random(len(rows)) < 0.5  # half are missed, and as many fire where they should not
    wrong_rows, wrong = np.nonzero(~active)
    chosen = rng.choice(len(wrong), size=int(kept.sum()), replace=False)
    fired = np.concatenate([pairs[directions[kept]], pairs[wrong[chosen]]])
    found = code_f1(active, np.concatenate([rows[kept], wrong_rows[chosen]]), fired, pairs)
    hits = int(kept.sum())
    assert found == pytest.approx(2 * hits / (2 * hits + len(rows)))
    assert code_f1(np.zeros((5, 30), dtype=bool), rows[:0], fired[:0], pairs) is None


def test_fewer_features_than_directions_leave_some_unpaired():
    truth = unit(10, 16)
    pairs = matched(truth[:4], truth)
    assert sorted(pairs) == [-1] * 6 + [0, 1, 2, 3]


def test_what_does_not_fit_is_refused():
    for truth in (unit(3, 8), np.zeros((0, 16)), np.zeros((2, 16))):
        with pytest.raises(UserError):
            planted_recovery(unit(5, 16), truth, seed=0)
