"""Spectra of weight changes: thin equals dense, planted ranks are found, the randomised route knows what it missed."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from radiograph.core import UserError
from radiograph.numerics import (
    change_statistics,
    effective_rank,
    intruder_cosines,
    low_rank_spectrum,
    robust_z,
    spectra,
    spectrum,
)

EPS32, EPS64 = float(np.finfo(np.float32).eps), float(np.finfo(np.float64).eps)


def factors(m, n, r, seed=0, dtype=np.float32):
    rng = np.random.default_rng(seed)
    return rng.normal(size=(m, r)).astype(dtype), rng.normal(size=(r, n)).astype(dtype)


def with_spectrum(m, n, values, seed=0):
    rng = np.random.default_rng(seed)
    left, _ = np.linalg.qr(rng.normal(size=(m, len(values))))
    right, _ = np.linalg.qr(rng.normal(size=(n, len(values))))
    return left * values @ right.T


@pytest.mark.parametrize(("m", "n", "r"), [(96, 64, 4), (64, 96, 16), (12, 10, 16), (64, 64, 1)])
def test_thin_path_equals_dense_svd(m, n, r):
    b, a = factors(m, n, r)
    thin = low_rank_spectrum(b, a, scale=-2.0)
    product = -2.0 * b.astype(np.float64) @ a.astype(np.float64)
    dense = spectrum(product)
    k = min(r, m, n)
    np.testing.assert_allclose(thin.values[:k], dense.values[:k], rtol=1e-10)
    np.testing.assert_allclose(np.abs(thin.left[:, :k].T @ dense.left[:, :k]), np.eye(k), atol=1e-5)
    ours, theirs = (change_statistics(s, 3.0, eps=EPS64) for s in (thin, dense))
    for name in ("frobenius", "relative", "spectral", "top_share", "stable_rank", "effective_rank"):
        assert getattr(ours, name) == pytest.approx(getattr(theirs, name), rel=1e-5)
    assert (ours.numerical_rank, ours.rank_90, ours.rank_99) == (theirs.numerical_rank, theirs.rank_90, theirs.rank_99)
    assert ours.numerical_rank == k


def test_planted_rank_is_found_after_a_float32_merge():
    rng = np.random.default_rng(1)
    weight = rng.normal(0, 0.05, size=(128, 96)).astype(np.float32)
    b, a = factors(128, 96, 4, seed=2)
    merged = (weight + 0.05 * b @ a).astype(np.float32)
    found = change_statistics(spectrum(merged - weight), float(np.linalg.norm(weight)), eps=EPS32)
    assert found.numerical_rank == 4
    assert found.relative == pytest.approx(np.linalg.norm(0.05 * b @ a) / np.linalg.norm(weight), rel=1e-4)


def test_statistics_of_a_known_spectrum():
    values = np.array([4.0, 2.0, 2.0, 1.0])
    found = change_statistics(spectrum(with_spectrum(20, 30, values)), 10.0, eps=EPS64)
    energy = values**2 / 25
    assert found.frobenius == pytest.approx(5) and found.relative == pytest.approx(0.5)
    assert found.spectral == pytest.approx(4) and found.top_share == pytest.approx(16 / 25)
    assert found.stable_rank == pytest.approx(25 / 16)
    assert found.effective_rank == pytest.approx(np.exp(-(energy * np.log(energy)).sum()))
    assert (found.rank_90, found.rank_99, found.numerical_rank) == (3, 4, 4)


def test_no_change_is_exactly_zero():
    found = change_statistics(spectrum(np.zeros((8, 6))), 2.0, eps=EPS32)
    assert (found.frobenius, found.relative, found.spectral, found.top_share, found.stable_rank) == (0, 0, 0, 0, 0)
    assert (found.effective_rank, found.rank_90, found.rank_99, found.numerical_rank) == (0, 0, 0, 0)
    assert intruder_cosines(spectrum(np.zeros((8, 6))), spectrum(np.eye(8, 6))) is None
    assert change_statistics(spectrum(np.ones((2, 2))), 0.0, eps=EPS32).relative is None


def test_randomised_route_agrees_with_dense_and_states_what_it_missed(monkeypatch):
    values = 1.0 / np.arange(1, 201) ** 1.5
    matrix = with_spectrum(300, 250, values, seed=3)
    dense = spectrum(matrix)
    monkeypatch.setattr(spectra, "DENSE_LIMIT", 100)
    fast = spectrum(matrix)
    assert fast.route == "randomised" and len(fast.values) == 64
    np.testing.assert_allclose(fast.values[:32], dense.values[:32], rtol=1e-5)
    true_missed = (values[64:] ** 2).sum() / (values**2).sum()
    assert fast.missed_energy == pytest.approx(true_missed, rel=1e-2)
    found, exact = (change_statistics(s, 1.0, eps=EPS64) for s in (fast, dense))
    assert found.frobenius == pytest.approx(exact.frobenius, rel=1e-12)
    assert found.numerical_rank is None and found.effective_rank is None
    assert (found.rank_90, found.rank_99) == (exact.rank_90, exact.rank_99)
    assert np.array_equal(spectrum(matrix, seed=5).values, spectrum(matrix, seed=5).values)


def test_randomised_route_finds_a_low_rank_and_admits_a_flat_spectrum(monkeypatch):
    monkeypatch.setattr(spectra, "DENSE_LIMIT", 100)
    low = change_statistics(spectrum(with_spectrum(300, 250, np.full(7, 2.0))), 1.0, eps=EPS64)
    assert (low.numerical_rank, low.rank_99) == (7, 7) and low.effective_rank == pytest.approx(7, rel=1e-6)
    flat = change_statistics(spectrum(np.random.default_rng(0).normal(size=(300, 250))), 1.0, eps=EPS64)
    assert flat.rank_90 is None and flat.rank_99 is None and flat.missed_energy > 0.3


def test_intruder_cosine_tells_a_used_direction_from_a_new_one():
    rng = np.random.default_rng(4)
    basis, _ = np.linalg.qr(rng.normal(size=(512, 512)))
    weight = spectrum(basis * np.linspace(10, 0.1, 512) @ np.linalg.qr(rng.normal(size=(512, 512)))[0])
    used = low_rank_spectrum(basis[:, 5:6], rng.normal(size=(1, 512)))
    new = low_rank_spectrum(basis[:, 400:401], rng.normal(size=(1, 512)))
    both = low_rank_spectrum(basis[:, [5, 400]] * np.array([1.0, 3.0]), np.linalg.qr(rng.normal(size=(512, 2)))[0].T)
    assert intruder_cosines(used, weight).largest == pytest.approx(1, abs=1e-6)
    assert intruder_cosines(new, weight).largest < 1e-6
    found = intruder_cosines(both, weight)
    assert found.cosines == pytest.approx((0, 1), abs=1e-6)
    with pytest.raises(UserError):
        intruder_cosines(low_rank_spectrum(*factors(10, 512, 1)), weight)


def test_intruder_chance_matches_random_directions():
    rng = np.random.default_rng(5)
    weight = spectrum(rng.normal(size=(200, 100)))
    best = []
    for _ in range(1000):
        direction = rng.normal(size=(200, 1))
        best.append(intruder_best(direction, weight))
    stated = intruder_cosines(low_rank_spectrum(rng.normal(size=(200, 1)), np.ones((1, 9))), weight).chance
    assert stated == pytest.approx(np.quantile(best, 0.95), abs=0.015)


def intruder_best(direction, weight):
    return float(np.abs((direction / np.linalg.norm(direction)).T @ weight.left[:, :64]).max())


@given(
    energy=hnp.arrays(np.float64, st.integers(1, 20), elements=st.just(0.0) | st.floats(1e-6, 100)),
    scale=st.floats(0.01, 100),
)
def test_effective_rank_ignores_scale_and_order_and_counts_at_most_the_live_values(energy, scale):
    rank = effective_rank(energy)
    assert effective_rank(scale * energy[::-1]) == pytest.approx(rank, rel=1e-9)
    if energy.sum() > 0:
        assert 1 - 1e-9 <= rank <= (energy > 0).sum() + 1e-9


def test_robust_z_finds_one_row_even_among_unmoved_ones():
    rng = np.random.default_rng(6)
    norms = rng.normal(1.0, 0.1, 4000)
    assert abs(robust_z(norms).std() - 1) < 0.05
    norms[17] = 3.0
    assert robust_z(norms).argmax() == 17 and robust_z(norms)[17] == pytest.approx(20, rel=0.1)
    lonely = np.zeros(500)
    lonely[3] = 0.2
    z = robust_z(lonely)
    assert z[3] == pytest.approx(500 / 1.2533141) and not z[np.arange(500) != 3].any()
    assert not robust_z(np.full(9, 2.5)).any()
