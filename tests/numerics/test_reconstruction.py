"""Reconstruction sums: batches, order and workers change nothing, and each metric does what its name says."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from radiograph.core import Refusal, UserError
from radiograph.numerics import CodeSums, ReconstructionSums, density_histogram, recovered


def rows(n=400, width=12, seed=0, offset=50.0):
    rng = np.random.default_rng(seed)
    y = rng.normal(size=(n, width)) * np.exp(rng.normal(size=width)) + offset
    return y, 0.9 * y + rng.normal(0, 0.3, (n, width)) + 2.0


def quality(y, rebuilt, centre=None):
    sums = ReconstructionSums(y.shape[1], centre)
    sums.add(y, rebuilt)
    return sums.result()


def numbers(result):
    return np.array([getattr(result, name) for name in result.__dataclass_fields__], dtype=float)


def test_metrics_agree_with_their_definitions():
    y, rebuilt = rows()
    centre = y.mean(axis=0)
    found, e = quality(y, rebuilt, centre), y - rebuilt
    total = ((y - centre) ** 2).sum()
    assert found.fvu == pytest.approx((e**2).sum() / total, rel=1e-12)
    assert found.explained_variance == pytest.approx(1 - found.fvu)
    assert found.ev_centred == pytest.approx(1 - ((e - e.mean(axis=0)) ** 2).sum() / total, rel=1e-12)
    assert found.ev_per_token == pytest.approx(1 - np.mean((e**2).sum(1) / ((y - centre) ** 2).sum(1)), rel=1e-12)
    assert found.nmse == pytest.approx(np.mean((e**2).sum(1) / (y**2).sum(1)), rel=1e-12)
    norms = np.linalg.norm(y, axis=1), np.linalg.norm(rebuilt, axis=1)
    assert found.cosine == pytest.approx(np.mean((y * rebuilt).sum(1) / (norms[0] * norms[1])), rel=1e-12)
    assert found.norm_ratio == pytest.approx(np.mean(norms[1] / norms[0]), rel=1e-12)
    assert found.shrinkage == pytest.approx((rebuilt**2).sum() / (y * rebuilt).sum(), rel=1e-12)
    assert (found.n, found.zero_rows) == (400, 0)


@given(cuts=st.lists(st.integers(0, 400), max_size=8), order=st.randoms(), workers=st.integers(1, 3))
def test_batches_order_and_workers_change_nothing(cuts, order, workers):
    y, rebuilt = rows(offset=1000.0)
    whole = numbers(quality(y, rebuilt, np.full(12, 999.0)))
    edges = [0, *sorted(cuts), 400]
    pieces = list(pairwise(edges))
    order.shuffle(pieces)
    parts = [ReconstructionSums(12, np.full(12, 999.0)) for _ in range(workers)]
    for i, (start, stop) in enumerate(pieces):
        parts[i % workers].add(y[start:stop], rebuilt[start:stop])
    for part in parts[1:]:
        parts[0].merge(part)
    np.testing.assert_allclose(numbers(parts[0].result()), whole, rtol=1e-12)


def test_perfect_mean_and_biased_reconstructions():
    y, _ = rows()
    perfect, mean, biased = quality(y, y), quality(y, np.tile(y.mean(0), (400, 1))), quality(y, y + 5)
    assert (perfect.fvu, perfect.nmse) == (0, 0)
    assert perfect.cosine == pytest.approx(1) and perfect.shrinkage == pytest.approx(1)
    assert mean.fvu == pytest.approx(1) and mean.ev_centred == pytest.approx(0, abs=1e-12)
    assert biased.ev_centred == pytest.approx(1) and biased.fvu > 0.1
    assert quality(y, 0.8 * y).shrinkage == pytest.approx(0.8)
    assert perfect.ev_per_token is None


def test_float32_rows_far_from_the_origin_lose_no_digits():
    rng = np.random.default_rng(1)
    y = (rng.normal(size=(500, 4)) + 1e4).astype(np.float32)
    rebuilt = y + rng.normal(0, 0.1, (500, 4)).astype(np.float32)
    wide_y, wide_e = y.astype(np.float64), y.astype(np.float64) - rebuilt.astype(np.float64)
    expected = (wide_e**2).sum() / ((wide_y - wide_y.mean(0)) ** 2).sum()
    assert quality(y, rebuilt).fvu == pytest.approx(expected, rel=1e-12)


def test_rows_of_norm_zero_are_counted_and_left_out_of_ratios():
    y, rebuilt = rows(n=50, offset=0.0)
    with_zero = quality(np.vstack([y, np.zeros((3, 12))]), np.vstack([rebuilt, np.ones((3, 12))]))
    assert with_zero.zero_rows == 3
    assert with_zero.nmse == pytest.approx(quality(y, rebuilt).nmse)
    dead = quality(y, np.zeros_like(y))
    assert dead.cosine == 0 and dead.shrinkage is None


def test_rows_that_do_not_vary_are_refused_and_bad_ones_are_errors():
    assert quality(np.ones((5, 3)), np.zeros((5, 3))).code == "no_variance"
    assert ReconstructionSums(3).result().code == "no_variance"
    with pytest.raises(UserError, match="not finite"):
        quality(np.ones((5, 3)), np.full((5, 3), np.nan))
    with pytest.raises(UserError, match="differ"):
        ReconstructionSums(3).add(np.ones((5, 4)), np.ones((5, 4)))


def codes(n=300, features=40, seed=0):
    rng = np.random.default_rng(seed)
    rate = np.concatenate([[0.0, 0.0, 0.5], rng.uniform(0.02, 0.08, features - 3)])
    return rng.normal(size=(n, features)) * (rng.random((n, features)) < rate)


def test_code_statistics_agree_with_their_definitions():
    z = codes()
    sums = CodeSums(40)
    sums.add_dense(z)
    found = sums.result()
    l0 = (z != 0).sum(axis=1)
    assert found.l0 == l0.mean() and found.l1 == pytest.approx(np.abs(z).sum(1).mean())
    assert found.l0_median == np.quantile(l0, 0.5, method="inverted_cdf")
    assert found.l0_95 == np.quantile(l0, 0.95, method="inverted_cdf")
    np.testing.assert_array_equal(found.density, (z != 0).mean(axis=0))
    assert (found.dead, found.dense, found.dead_below, found.n) == (2, 1, 0.01, 300)
    assert found.histogram.sum() == 38


@given(cut=st.integers(0, 300))
def test_code_counts_do_not_depend_on_batches(cut):
    z = codes()
    whole, left, right = CodeSums(40), CodeSums(40), CodeSums(40)
    whole.add_dense(z)
    left.add_dense(z[cut:])
    right.add_dense(z[:cut])
    left.merge(right)
    a, b = left.result(), whole.result()
    assert (a.l0, a.l0_median, a.l0_95, a.dead, a.dense) == (b.l0, b.l0_median, b.l0_95, b.dead, b.dense)
    assert a.l1 == pytest.approx(b.l1, rel=1e-12)
    np.testing.assert_array_equal(a.density, b.density)


def test_counts_that_disagree_and_empty_sets():
    with pytest.raises(UserError, match="disagree"):
        CodeSums(3).add(np.array([1, 1]), np.array([0.5, 0.5]), np.array([1, 0, 0]))
    assert CodeSums(3).result().code == "no_rows"


def test_dead_bound_is_the_rule_of_three():
    for n in (100, 10_000):
        assert (1 - 3 / n) ** n == pytest.approx(0.05, abs=0.003)


def test_histogram_has_ten_bins_a_decade_and_no_dead_features():
    found = density_histogram(np.array([0.0, 1e-9, 1.5e-7, 0.5, 1.0, 0.0]))
    assert len(found) == 70 and found.sum() == 4
    assert (found[0], found[1], found[66], found[69]) == (1, 1, 1, 1)


def test_recovered_loss():
    assert recovered(2.0, 2.0, 5.0) == 1.0
    assert recovered(2.0, 5.0, 5.0) == 0.0
    assert recovered(2.0, 2.3, 5.0) == pytest.approx(0.9)
    assert recovered(2.0, 8.0, 5.0) == -1.0
    refused = recovered(2.0, 2.0, 2.049)
    assert isinstance(refused, Refusal) and refused.code == "ablation_gap"
    with pytest.raises(UserError):
        recovered(2.0, float("nan"), 5.0)
