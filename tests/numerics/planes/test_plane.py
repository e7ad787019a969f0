"""Planes and curves against dense rotations, cones against counting, pairs against pair by pair."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.linalg import expm

from radiograph.core import UserError
from radiograph.numerics.planes import (
    all_pairs,
    clusters,
    cone_fraction,
    coordinates,
    curve,
    degrees,
    frame,
    moment_path,
    planes_of,
    principal_angles,
    sample_path,
    signed_fraction,
    statistics,
    supremum,
    swapped,
    triangulated,
    unit_rows,
)

ANGLES = np.arange(0, 360, 5.0)
EPSILONS = (-0.2, 0.0, 0.1, 0.5)


def spread(rows: int, width: int, seed: int) -> np.ndarray:
    return unit_rows(np.random.default_rng(seed).standard_normal((rows, width)))[0]


def one_plane(rows: np.ndarray, basis: np.ndarray) -> tuple:
    gram = basis @ basis.T
    planes, kept = planes_of(gram, *all_pairs(len(basis)))
    assert kept.all()
    return planes, coordinates(rows @ basis.T, planes)


def test_r4_d2_a_quarter_turn_is_towards_the_second_vector():
    basis = unit_rows(np.array([[1.0, 0.0], [0.97, 0.243]]))[0]
    planes, z = one_plane(np.array([[0.0, 1.0]]), basis)
    found = statistics(z, 3)
    assert found.theta[0] == pytest.approx(90, abs=1e-9)
    assert found.r[0] == pytest.approx(1, abs=1e-12)
    assert curve(z, np.array([90.0]))[0, 0, 0] == pytest.approx(1, abs=1e-12)
    assert planes.second_angle[0] == pytest.approx(np.degrees(np.arctan2(0.243, 0.97)), abs=1e-9)


@pytest.mark.parametrize("width", range(2, 17))
def test_r4_d3_d8_dense_rotations_agree_whatever_the_angle_between_the_vectors(width):
    generator = np.random.default_rng(width)
    basis = unit_rows(generator.standard_normal((2, width)) + 3 * generator.standard_normal(width))[0]
    rows = spread(5, width, 1)
    planes, z = one_plane(rows, basis)
    one, two = basis
    turn = (np.outer(two, one) - np.outer(one, two)) / planes.sine[0]
    for angle in (0, 17, 90, 200, 359):
        probe = expm(np.radians(angle) * turn) @ one
        np.testing.assert_allclose(curve(z, np.array([float(angle)]))[0, :, 0], rows @ probe, atol=1e-10)
    u1, u2 = frame(basis, planes, 0)
    np.testing.assert_allclose(z[:, 0], [rows @ u1, rows @ u2], atol=1e-12)
    assert curve(np.array([[1.0], [0.0]]), ANGLES)[0] == pytest.approx(np.cos(np.radians(ANGLES)))  # b₁ itself


def test_r4_birds_sense_of_rotation_is_ours_backwards():
    """His generator is b₁b₂ᵀ − b₂b₁ᵀ, on orthonormal pairs: +θ leads towards −b₂."""
    rows, one, two = spread(6, 7, 3), *np.linalg.qr(np.random.default_rng(2).standard_normal((7, 2)))[0].T
    _, z = one_plane(rows, np.stack([one, two]))
    for angle in (30.0, 135.0):
        probe = expm(np.radians(angle) * (np.outer(one, two) - np.outer(two, one))) @ one
        np.testing.assert_allclose(curve(z, np.array([-angle]))[0, :, 0], rows @ probe, atol=1e-12)


def test_r5_the_mean_curve_is_two_numbers():
    rows = spread(40, 9, 4) + 0.2
    _, z = one_plane(unit_rows(rows)[0], spread(4, 9, 5))
    found = statistics(z, 9)
    cosine = found.r[:, None] * np.cos(np.radians(ANGLES[None] - found.theta[:, None]))
    np.testing.assert_allclose(curve(z, ANGLES).mean(axis=1), cosine, atol=1e-12)


def test_shape_is_what_its_sums_say():
    _, z = one_plane(spread(50, 6, 6), spread(3, 6, 7))
    found = statistics(z, 6)
    r, phi = np.hypot(*z), np.arctan2(z[1], z[0])
    np.testing.assert_allclose(found.fourfold, (r**2 * np.cos(4 * phi)).sum(1) / (r**2).sum(1), atol=1e-12)
    np.testing.assert_allclose(found.axial, abs((r**2 * np.exp(2j * phi)).sum(1)) / (r**2).sum(1), atol=1e-12)
    np.testing.assert_allclose(found.concentration, 50 * found.r / r.sum(1), atol=1e-12)
    np.testing.assert_allclose(found.lift, (r**2).mean(1) * 3, atol=1e-12)
    np.testing.assert_allclose(found.mean_r, r.mean(1), atol=1e-12)
    assert statistics(np.zeros((2, 1, 3)), 6).r[0] == 0


@pytest.mark.parametrize("epsilon", EPSILONS)
def test_r5_d7_cones_are_shares_counted_on_a_fine_grid(epsilon):
    _, z = one_plane(spread(31, 4, 8), spread(3, 4, 9))
    fine = np.arange(3600) / 10 + 0.0317
    s = curve(z, fine)
    counted = (s >= epsilon).mean(axis=1)
    np.testing.assert_array_equal(cone_fraction(z, epsilon, fine), counted)
    opposite = (curve(z, fine + 180) >= epsilon).mean(axis=1)
    np.testing.assert_allclose(signed_fraction(z, epsilon, fine), counted - opposite, atol=1e-15)
    highest, angle = supremum(z, epsilon)
    assert (highest >= counted.max(axis=1)).all()
    assert (highest <= counted.max(axis=1) + 1.5 / 31).all()
    at = np.array([cone_fraction(z[:, [p]], epsilon, angle[[p]] + 1e-7)[0, 0] for p in range(3)])
    at = np.maximum(at, [cone_fraction(z[:, [p]], epsilon, angle[[p]])[0, 0] for p in range(3)])
    np.testing.assert_allclose(at, highest, atol=1 / 31 + 1e-12)
    lopsided, _ = supremum(z, epsilon, signed=True)
    assert (lopsided >= (counted - opposite).max(axis=1) - 1e-12).all()
    assert (lopsided <= (counted - opposite).max(axis=1) + 2.5 / 31).all()


def test_repeating_every_row_changes_no_fraction():
    _, z = one_plane(spread(20, 5, 10), spread(3, 5, 11))
    thrice = np.concatenate([z, z, z], axis=2)
    for epsilon in EPSILONS:
        np.testing.assert_allclose(supremum(thrice, epsilon)[0], supremum(z, epsilon)[0], atol=1e-15)
        np.testing.assert_allclose(cone_fraction(thrice, epsilon, ANGLES), cone_fraction(z, epsilon, ANGLES))


def test_no_row_in_the_cone_and_every_row():
    _, z = one_plane(spread(20, 50, 12), spread(2, 50, 13))
    assert supremum(z, 0.99)[0][0] == 0
    assert supremum(z, -0.99)[0][0] == 1
    assert supremum(z, -0.99, signed=True)[0][0] == 0


def test_moments_and_samples_and_single_planes_agree():
    rows, basis = spread(60, 12, 14), spread(7, 12, 15)
    planes, z = one_plane(rows, basis)
    one_by_one = statistics(z, 12)
    quick = moment_path(rows @ basis.T, planes, 12)
    for name in ("grey", "energy", "lift", "axial", "r"):
        np.testing.assert_allclose(getattr(quick, name), getattr(one_by_one, name), atol=1e-12)
    blocks = list(sample_path(rows @ basis.T, planes, width=12, epsilons=(0.2,), signed=True, memory=60 * 256 * 2))
    assert [b.stop - b.start for b in blocks] == [2] * 10 + [1]
    for name in ("fourfold", "mean_r", "concentration", "energy"):
        np.testing.assert_allclose(
            np.concatenate([getattr(b.statistics, name) for b in blocks]), getattr(one_by_one, name), atol=1e-12
        )
    np.testing.assert_array_equal(np.concatenate([b.suprema[0.2] for b in blocks]), supremum(z, 0.2)[0])
    np.testing.assert_array_equal(np.concatenate([b.signed[0.2] for b in blocks]), supremum(z, 0.2, signed=True)[0])


def test_single_precision_loses_digits_only():
    rows, basis = spread(60, 12, 14).astype(np.float32), spread(5, 12, 15).astype(np.float32)
    planes, _ = planes_of(basis @ basis.T, *all_pairs(5))
    block = next(iter(sample_path(rows @ basis.T, planes, width=12, epsilons=(0.0,))))
    exact = statistics(coordinates((rows.astype(float) @ basis.T.astype(float)), planes), 12)
    np.testing.assert_allclose(block.statistics.grey, exact.grey, atol=1e-6)
    np.testing.assert_allclose(block.statistics.fourfold, exact.fourfold, atol=1e-5)


def test_exchanging_the_vectors_reads_the_plane_backwards():
    rows, basis = spread(30, 6, 16) + 0.1, spread(4, 6, 17)
    gram = basis @ basis.T
    both, _ = planes_of(gram, *all_pairs(4, ordered=True))
    found = statistics(coordinates(rows @ basis.T, both), 6)
    np.testing.assert_allclose(found.r[:6], found.r[6:], atol=1e-12)
    np.testing.assert_allclose(swapped(found.theta[:6], both[:6]), found.theta[6:], atol=1e-9)


def test_nearly_parallel_vectors_have_no_plane():
    gram = np.array([[1, 0.9995, 0], [0.9995, 1, 0], [0, 0, 1.0]])
    planes, kept = planes_of(gram, *all_pairs(3))
    assert kept.tolist() == [False, True, True]
    assert len(planes) == 2


def test_degrees_stay_below_a_full_turn():
    assert degrees(np.array([[1.0], [-1e-300]]))[0] == 0
    assert degrees(np.array([[0.0], [-1.0]]))[0] == 270


def test_a_plane_of_missing_vectors_and_too_little_memory_are_refused():
    with pytest.raises(UserError, match="not there"):
        planes_of(np.eye(2), np.array([0]), np.array([2]))
    planes, _ = planes_of(np.eye(2), *all_pairs(2))
    with pytest.raises(UserError, match="--memory"):
        next(sample_path(np.ones((100, 2)), planes, width=3, memory=1000))
    with pytest.raises(UserError, match="without rows"):
        moment_path(np.ones((0, 2)), planes, 3)


def test_planes_that_share_one_axis_are_two_and_tilted_copies_are_one():
    axes = np.eye(6)
    tilted = np.stack([np.cos(0.1) * axes[0] + np.sin(0.1) * axes[4], axes[1]])
    frames = np.stack([axes[[0, 1]], axes[[0, 2]], tilted, axes[[3, 4]], -axes[[1, 0]]])
    angles = principal_angles(frames)
    for i in range(5):
        for j in range(5):
            smallest = np.linalg.svd(frames[i] @ frames[j].T, compute_uv=False)[-1]
            assert np.cos(np.radians(angles[i, j])) == pytest.approx(smallest, abs=1e-7)
    labels, exemplars = clusters(angles)
    assert labels.tolist() == [0, 1, 0, 2, 0]
    assert exemplars.tolist()[1:] == [1, 3]


def test_triangulation_is_the_projection_on_the_span():
    generator = np.random.default_rng(18)
    vectors = generator.standard_normal((3, 8))
    mean = generator.standard_normal(8)
    inside, share, rank = triangulated(mean, np.concatenate([vectors, vectors[:1] * 2]))
    solved = np.linalg.lstsq(vectors.T, mean, rcond=None)[0] @ vectors
    np.testing.assert_allclose(inside, solved, atol=1e-12)
    assert share == pytest.approx(solved @ solved / (mean @ mean))
    assert rank == 3
