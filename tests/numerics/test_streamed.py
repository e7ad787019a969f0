"""Spectra in blocks equal those of the whole matrix, whatever its shape; memory is bounded by the block."""

from __future__ import annotations

import numpy as np
import pytest

from radiograph.core import UserError
from radiograph.numerics import row_norms, spectrum, squared_norm, streamed, streamed_spectrum


class Blocks:
    """A matrix that can only be read in parts."""

    def __init__(self, whole: np.ndarray) -> None:
        self._whole, self.shape, self.largest = whole, whole.shape, 0

    def __getitem__(self, index):
        part = self._whole[index]
        self.largest = max(self.largest, part.size)
        return part


@pytest.fixture(autouse=True)
def small(monkeypatch):
    monkeypatch.setattr(streamed, "WHOLE", 100)
    monkeypatch.setattr(streamed, "_BLOCK", 2000)


def decaying(m, n, seed=0, dtype=np.float64):
    rng = np.random.default_rng(seed)
    k = min(m, n)
    left, _ = np.linalg.qr(rng.normal(size=(m, k)))
    right, _ = np.linalg.qr(rng.normal(size=(n, k)))
    return (left / np.arange(1, k + 1) @ right.T).astype(dtype)


@pytest.mark.parametrize("shape", [(700, 40), (40, 700), (90, 90), (701, 3), (1, 500)])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_blocks_equal_the_whole(shape, dtype):
    whole = decaying(*shape, dtype=dtype)
    blocks = Blocks(whole)
    found, expected = streamed_spectrum(blocks), spectrum(whole)
    assert (found.route, found.shape) == (expected.route, expected.shape)
    np.testing.assert_allclose(found.values, expected.values, rtol=1e-6, atol=1e-14)
    assert found.energy == pytest.approx(expected.energy, rel=1e-12)
    k = min(8, *shape)
    np.testing.assert_allclose(np.abs(found.left[:, :k].T @ expected.left[:, :k]), np.eye(k), atol=1e-5)
    assert blocks.largest <= 2000


def test_above_the_dense_limit_blocks_equal_the_randomised_route(monkeypatch):
    whole = decaying(300, 250)
    found, expected = streamed_spectrum(whole, dense_limit=100), spectrum(whole)
    assert found.route == "randomised" and len(found.values) == 64
    np.testing.assert_allclose(found.values[:32], expected.values[:32], rtol=1e-4)
    np.testing.assert_allclose(np.abs(found.left[:, :8].T @ expected.left[:, :8]), np.eye(8), atol=1e-4)
    assert found.missed_energy == pytest.approx(1 - (expected.values[:64] ** 2).sum() / expected.energy, rel=0.05)


def test_a_matrix_of_low_rank_has_no_more_left_vectors_than_its_rank():
    rng = np.random.default_rng(1)
    whole = rng.normal(size=(500, 3)) @ rng.normal(size=(3, 30))
    found = streamed_spectrum(whole)
    assert found.left.shape == (500, 3)
    np.testing.assert_allclose(found.left.T @ found.left, np.eye(3), atol=1e-10)
    assert streamed_spectrum(np.zeros((500, 30))).left.shape == (500, 0)


def test_norms_equal_numpy_and_non_finite_values_are_refused():
    whole = np.random.default_rng(2).normal(size=(301, 77)).astype(np.float32)
    assert squared_norm(whole) == pytest.approx(np.linalg.norm(whole.astype(np.float64)) ** 2, rel=1e-12)
    np.testing.assert_allclose(row_norms(whole), np.linalg.norm(whole, axis=1), rtol=1e-6)
    whole[200, 5] = np.nan
    for measure in (squared_norm, streamed_spectrum):
        with pytest.raises(UserError) as caught:
            measure(whole)
        assert caught.value.code == "not_finite"
