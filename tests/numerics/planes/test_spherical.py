"""Laws of isotropic rows against drawn rows; transforms against dense matrices."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats
from scipy.linalg import fractional_matrix_power

from radiograph.core import Refusal, UserError
from radiograph.numerics.planes import (
    Isotropy,
    Transform,
    all_pairs,
    cone_fraction,
    coordinates,
    haar_vectors,
    hodges_ajne,
    kuiper,
    planes_of,
    rayleigh,
    statistics,
    unit_rows,
)


@pytest.mark.parametrize("width", [16, 512, 3072])
def test_r6_isotropic_rows_follow_the_law(width):
    rows = haar_vectors(width, 2000, width)
    planes, _ = planes_of(np.eye(4), *all_pairs(4))
    z = coordinates(rows[:, :4].copy(), planes[np.array([0, 5])])
    law = Isotropy(width)
    square = (z**2).sum(axis=0)
    for plane in square:
        assert stats.kstest(plane, stats.beta(1, (width - 2) / 2).cdf).pvalue > 0.001
    found = statistics(z, width)
    assert np.abs(found.lift - 1).max() < 4 * square[0].std() / square[0].mean() / np.sqrt(2000)
    assert found.mean_r == pytest.approx(law.mean_r, rel=0.06)
    assert law.mean_r == pytest.approx(np.sqrt(np.pi / 2 / width), rel=1 / width)
    assert (np.sqrt(square) <= law.row_radius()).mean() == pytest.approx(0.95, abs=0.015)
    for epsilon in (-1, 0, 1, 2):
        scaled = epsilon / np.sqrt(width)
        share = law.cone(scaled)
        seen = cone_fraction(z, scaled, np.array([77.0]))
        assert np.abs(seen - share).max() <= 4 * np.sqrt(share * (1 - share) / 2000)


def test_r6_numbers_of_the_published_width():
    law = Isotropy(3072)
    assert law.row_radius() == pytest.approx(0.0441, abs=1e-4)
    assert law.mean_radius(10) == pytest.approx(np.sqrt(5.991 / 30720), rel=1e-4)
    assert law.tail(law.row_radius()) == pytest.approx(0.05)
    with pytest.raises(UserError, match="three dimensions"):
        Isotropy(2)


def test_mean_ring_holds_ninety_five_of_a_hundred_means():
    means = haar_vectors(64, 40 * 1000, 5)[:, :2].reshape(1000, 40, 2).mean(axis=1)
    assert (np.hypot(*means.T) <= Isotropy(64).mean_radius(40)).mean() == pytest.approx(0.95, abs=0.025)


def test_r7_random_planes_give_even_p_whatever_the_rows():
    generator = np.random.default_rng(3)
    mean = generator.standard_normal(24) * np.arange(1, 25)
    planes = np.linalg.qr(generator.standard_normal((500, 24, 2)))[0]
    p = Isotropy(24).plane_p(np.linalg.norm(mean @ planes, axis=1), float(np.linalg.norm(mean)))
    assert stats.kstest(p, "uniform").pvalue > 0.001


def circle(angles: np.ndarray) -> np.ndarray:
    """Rows at these degrees, as one plane."""
    return np.stack([np.cos(np.radians(angles)), np.sin(np.radians(angles))])[:, None]


def test_even_angles_and_lopsided_ones():
    generator = np.random.default_rng(4)
    even, one_side = generator.random(300) * 360, generator.normal(200, 40, 300)
    both = np.concatenate([circle(even), 0.3 * circle(one_side)], axis=1)
    seen, ajne, apart = rayleigh(both), hodges_ajne(both), kuiper(both)
    assert seen[0] < 5 < 100 < seen[1]
    np.testing.assert_allclose(seen[1], np.abs(np.exp(1j * np.radians(one_side)).sum()) ** 2 / 300)
    assert ajne[0] > 0.3 > ajne[1]
    assert apart[0] < 0.12 < apart[1]
    steps = stats.kstest(even % 360 / 360, "uniform", alternative="greater").statistic
    assert apart[0] == pytest.approx(steps + stats.kstest(even / 360, "uniform", alternative="less").statistic)
    assert kuiper(circle(even + 50))[0] == pytest.approx(apart[0], abs=1e-12)
    for angles, share in ((even, ajne[0]), (one_side, ajne[1])):
        slow = min(((angles - a) % 360 < 180).sum() for a in np.concatenate([angles + 1e-9, angles + 180 + 1e-9]))
        assert share * 300 == slow


def test_rayleigh_of_even_angles_is_nearly_exponential():
    generator = np.random.default_rng(5)
    found = rayleigh(np.concatenate([circle(generator.random(60) * 360) for _ in range(400)], axis=1))
    assert stats.kstest(found, stats.expon.cdf).pvalue > 0.001


def test_whitening_is_the_dense_power_for_points_differences_and_covectors():
    generator = np.random.default_rng(6)
    rows = generator.standard_normal((9, 5)) @ generator.standard_normal((5, 5)) + 4
    for wide in (rows, np.concatenate([rows, generator.standard_normal((9, 7))], axis=1)):
        made = Transform.fit("whitened", wide)
        assert 0 < made.shrinkage < 1
        sigma = np.cov(wide.T, bias=True)
        width = wide.shape[1]
        dense = (1 - made.shrinkage) * sigma + made.shrinkage * np.trace(sigma) / width * np.eye(width)
        root = fractional_matrix_power(dense, -0.5)
        np.testing.assert_allclose(made.apply(wide), (wide - wide.mean(0)) @ root, atol=1e-8)
        np.testing.assert_allclose(made.apply(wide, "difference"), wide @ root, atol=1e-8)
        np.testing.assert_allclose(made.apply(wide, "covector"), wide @ np.linalg.inv(root), atol=1e-8)


def test_shrinkage_is_that_of_ledoit_and_wolf():
    rows = np.random.default_rng(7).standard_normal((30, 6)) * np.arange(1, 7)
    centred = rows - rows.mean(axis=0)
    sigma = centred.T @ centred / 30
    target = np.trace(sigma) / 6 * np.eye(6)
    noise = np.mean([((np.outer(x, x) - sigma) ** 2).sum() for x in centred]) / 30
    distance = ((sigma - target) ** 2).sum()
    assert Transform.fit("whitened", rows).shrinkage == pytest.approx(min(noise, distance) / distance)


def test_shrinkage_of_statistics_is_near_that_of_their_rows():
    rows = np.random.default_rng(8).standard_normal((400, 6)) * np.arange(1, 7)
    whole = Transform.of("whitened", rows.mean(axis=0), np.cov(rows.T, bias=True), 400)
    np.testing.assert_allclose(whole.shrinkage, Transform.fit("whitened", rows).shrinkage, atol=0.01)
    assert Transform.of("raw", rows[0], None, 1).apply(rows) is rows


def test_whitening_that_would_inflate_noise_is_refused():
    generator = np.random.default_rng(9)
    loud = np.outer(np.arange(40) % 2 * 2.0 - 1, np.eye(30)[0]) * 100 + generator.standard_normal((40, 30)) * 1e-3
    with pytest.raises(Refusal, match="too few rows") as caught:
        Transform.fit("whitened", loud)
    assert caught.value.exit_code == 4
    with pytest.raises(UserError, match="covariance"):
        Transform.of("whitened", loud[0], None, 40)
    with pytest.raises(UserError, match="another width"):
        Transform.fit("centred", loud).apply(np.ones((2, 3)))
    with pytest.raises(UserError, match="not finite"):
        Transform.fit("centred", np.array([[1.0, np.nan]]))


def test_rows_of_length_zero_are_left_out_and_said():
    unit, kept = unit_rows(np.array([[3.0, 4.0], [0.0, 0.0]]))
    assert kept.tolist() == [True, False]
    np.testing.assert_allclose(unit, [[0.6, 0.8]])
