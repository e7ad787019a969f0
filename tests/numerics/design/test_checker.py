"""Covariates by factor over many null designs, and vectors without what a covariate explains."""

from __future__ import annotations

import numpy as np
import pytest

from radiograph.core import UserError
from radiograph.numerics.design import confounded, residuals

CORES = [f"c{i}" for i in range(8) for _ in range(8)]
TYPE = ["a", "b"] * 32
LEVEL = [1, 1, 2, 2] * 16


def texts(lengths: np.ndarray) -> list[str]:
    return ["w" * int(n) for n in lengths]


def test_the_planted_covariate_is_named_on_its_factor_alone():
    noise = np.random.default_rng(0).integers(10, 14, 64)
    found = confounded(texts(noise + 20 * (np.array(TYPE) == "a")), CORES, {"type": TYPE, "level": LEVEL}, seed=0)
    assert found == {"type": ("type~characters",), "level": ()}


def test_what_a_model_measured_is_tested_too():
    tokens = (np.array(LEVEL) * 3.0).tolist()
    last = ["x" if t == "a" else "y" for t in TYPE]
    found = confounded(
        ["same"] * 64, CORES, {"type": TYPE, "level": LEVEL}, measured={"tokens": tokens}, last=last, seed=0
    )
    assert found == {"type": ("type~last_token",), "level": ("level~tokens",)}


def test_rows_without_the_factor_are_left_out():
    column = ["a", "b", None, None] * 16
    lengths = np.array([9, 9, 50, 50] * 16)
    assert confounded(texts(lengths), CORES, {"type": column}, seed=0) == {"type": ()}


def test_few_of_many_null_designs_are_warned_of():
    """Length is unrelated: η² above .14 with p < .05 is then rarer than one in twenty."""
    warned = 0
    for seed in range(200):
        generator = np.random.default_rng(seed)
        column = generator.permuted(np.array(TYPE).reshape(8, 8), axis=1).ravel().tolist()
        warned += bool(confounded(texts(generator.integers(10, 40, 64)), CORES, {"type": column}, seed=seed)["type"])
    assert warned <= 16  # 200 × .05 + 2 standard errors


def test_residuals_equal_a_regression_with_a_constant_for_each_core():
    generator = np.random.default_rng(1)
    x, t = generator.normal(size=(64, 5)), generator.normal(size=64)
    dummies = np.equal.outer(np.array(CORES), np.unique(CORES)).astype(float)
    beta = np.linalg.lstsq(np.column_stack([t, dummies]), x, rcond=None)[0][0]
    means = (dummies @ (dummies.T @ t)) / 8
    np.testing.assert_allclose(residuals(x, t.tolist(), CORES), x - np.outer(t - means, beta), atol=1e-12)


def test_residuals_remove_a_planted_covariate_and_keep_the_means_of_cores():
    generator = np.random.default_rng(2)
    t = generator.integers(5, 15, 64).astype(float)
    noise, push = generator.normal(size=(64, 3)) * 1e-9, np.array([1.0, -2.0, 0.5])
    adjusted = residuals(noise + np.outer(t, push), t.tolist(), CORES)
    assert np.ptp(adjusted.reshape(8, 8, 3), axis=1).max() < 1e-7
    np.testing.assert_allclose(
        adjusted.reshape(8, 8, 3).mean(axis=1), np.outer(t.reshape(8, 8).mean(axis=1), push), atol=1e-7
    )
    again = residuals(adjusted, t.tolist(), CORES)
    np.testing.assert_allclose(again, adjusted, atol=1e-10)


def test_a_covariate_that_does_not_vary_inside_cores_changes_nothing():
    x = np.random.default_rng(3).normal(size=(64, 2)).astype(np.float32)
    t = [float(core[1:]) for core in CORES]
    np.testing.assert_array_equal(residuals(x, t, CORES), x)


@pytest.mark.parametrize("bad", [[1.0] * 63, [float("nan")] * 64])
def test_residuals_refuse(bad):
    with pytest.raises(UserError):
        residuals(np.zeros((64, 2)), bad, CORES)
