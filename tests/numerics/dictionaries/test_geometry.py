"""Neighbours of decoder rows, found a second way; principal directions explain what they should."""

import numpy as np
import pytest

from radiograph.numerics.dictionaries.geometry import cosine_histogram, decoder_geometry, row_cosines
from radiograph.numerics.dictionaries.principal import principal_directions


def rows(count, width=24, seed=0):
    return np.random.default_rng(seed).standard_normal((count, width)).astype(np.float32)


def cosines(d):
    unit = d.astype(np.float64) / np.linalg.norm(d, axis=1, keepdims=True)
    table = unit @ unit.T
    np.fill_diagonal(table, -2)
    return table


def test_nearest_neighbours_agree_with_the_whole_table():
    d = rows(90)
    d[7] = 2 * d[3] + 0.01
    found = decoder_geometry(d, d + rows(90, seed=1), seed=0)
    table = cosines(d)
    assert found.cosine == pytest.approx(table.max(axis=1), abs=1e-6)
    assert np.array_equal(found.nearest, table.argmax(axis=1))
    assert found.duplicates == 2
    assert found.encoder_cosine == pytest.approx(row_cosines(d, d + rows(90, seed=1)))


def test_a_sample_looks_at_all_rows_for_neighbours():
    d = rows(90)
    found = decoder_geometry(d, seed=1, sample=10)
    assert len(found.features) == 10
    assert found.cosine == pytest.approx(cosines(d).max(axis=1)[found.features], abs=1e-6)
    assert found.encoder_cosine is None


def test_rows_of_length_zero_have_no_neighbour():
    d = rows(12)
    d[4] = 0
    found = decoder_geometry(d, d, seed=0)
    assert 4 not in found.features and 4 not in found.nearest
    assert found.encoder_cosine[4] == 0


def test_histogram_holds_every_cosine():
    values = np.array([-1.0, 1.0, 1.0000001, 0.0, 0.95])
    assert cosine_histogram(values).sum() == 5
    assert cosine_histogram(values)[-1] == 2


def test_principal_directions_are_orthonormal_and_ordered():
    x = rows(500) * np.linspace(3, 0.1, 24).astype(np.float32) + 5
    mean = x.mean(axis=0, dtype=np.float64)
    directions, variance = principal_directions([x[:100], x[100:]], mean, 6)
    assert directions @ directions.T == pytest.approx(np.eye(6), abs=1e-9)
    assert (np.diff(variance) <= 0).all()
    singular = np.linalg.svd(x.astype(np.float64) - mean, compute_uv=False)
    assert variance == pytest.approx((singular**2 / 500)[:6])
    kept = (x - mean) @ directions.T
    assert np.square(kept).sum() / np.square(x - mean).sum() == pytest.approx(
        (singular[:6] ** 2).sum() / (singular**2).sum()
    )
