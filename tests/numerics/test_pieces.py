"""Pieces of a low-rank change: their sum is the change, and they are the same however the change is written."""

from __future__ import annotations

import numpy as np
import pytest

from radiograph.numerics.pieces import balanced, contrasted

RNG = np.random.default_rng(5)
READS, WRITES = RNG.normal(size=(12, 4)), RNG.normal(size=(4, 9))
TURN = RNG.normal(size=(4, 4))
ON = RNG.normal(size=(200, 12)) * np.array([3.0] * 3 + [1.0] * 9)
OFF = RNG.normal(size=(300, 12))


def moments(reads: np.ndarray, inputs: np.ndarray) -> np.ndarray:
    h = inputs @ reads
    return h.T @ h / len(h)


def pieces(reads: np.ndarray, writes: np.ndarray):
    reads, writes, _ = balanced(reads, writes)
    return contrasted(reads, writes, moments(reads, ON), moments(reads, OFF))


@pytest.mark.parametrize("of", [balanced, pieces])
def test_the_sum_of_the_pieces_is_the_change(of):
    found = of(READS, WRITES)
    np.testing.assert_allclose(found.reads @ found.writes, READS @ WRITES, atol=1e-10)


@pytest.mark.parametrize("of", [balanced, pieces])
def test_another_way_to_write_the_same_change_has_the_same_pieces(of):
    one, other = of(READS, WRITES), of(READS @ TURN, np.linalg.inv(TURN) @ WRITES)
    products = [found.reads.T[:, :, None] * found.writes[:, None] for found in (one, other)]
    np.testing.assert_allclose(products[0], products[1], atol=1e-8)


def test_balanced_pieces_are_singular_directions():
    found = balanced(READS, WRITES)
    np.testing.assert_allclose(found.order, np.linalg.svd(READS @ WRITES, compute_uv=False)[:4])
    np.testing.assert_allclose(np.linalg.norm(found.reads, axis=0), 1.0)


def test_contrasted_pieces_are_uncorrelated_on_both_and_of_unit_size_elsewhere():
    found = pieces(READS, WRITES)
    on, off = moments(found.reads, ON), moments(found.reads, OFF)
    np.testing.assert_allclose(off, np.eye(4), atol=5e-3)
    np.testing.assert_allclose(on, np.diag(found.order), atol=5e-3 * found.order[0])
    assert (np.diff(found.order) <= 0).all()


def test_a_direction_that_plain_text_never_uses_comes_first():
    idle = np.zeros((12, 2))
    idle[0, 0] = idle[5, 1] = 1.0
    off = OFF.copy()
    off[:, 5] = 0.0
    found = contrasted(idle, np.eye(2), moments(idle, ON), moments(idle, off))
    assert np.abs(found.reads[:, 0]).argmax() == 5
    assert np.isfinite(found.reads).all()
