"""Few units of a class, few near misses: what may not be concluded from them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from associations import sparse

from radiograph.numerics.association import Settings, associate, chosen_p

BARE = Settings(permutations=0, bootstrap=0)


@pytest.mark.parametrize("near", [4, 7])
def test_x5_4_few_near_misses_make_nothing_specific(near):
    """An interval of two units excludes ½ in a fifth of features that fire on near misses as on positives."""
    specific = 0
    for seed in range(20):
        rng = np.random.default_rng(seed)
        kind = np.repeat([0, 1, 2], [120, 2 * near, 120])  # positive, near miss, plain negative
        fires = rng.random((len(kind), 10)) < np.array([0.5, 0.5, 0.05])[kind][:, None]
        discover = np.arange(len(kind)) % 2 == 0
        settings = replace(BARE, seed=seed)
        found = associate(
            sparse(fires.astype(float)),
            np.arange(len(kind)),
            (kind == 0).astype(int),
            discover,
            near_miss=kind == 1,
            settings=settings,
        )
        assert found.near is None and found.candidates.confirmed.any()
        specific += int(np.isin(found.grade, ("specific", "robust")).sum())
    assert specific == 0


def test_analytic_p_needs_units_of_the_smaller_class():
    """Of 40 units that fire, .4 are expected among 10 of 1,000: one more is no event of a million to one."""
    analytic, permutation, loose = np.array([1e-7]), np.array([np.nan]), np.array([40])
    assert np.isnan(chosen_p(analytic, permutation, loose, 0, rarer=0.01)[0]).all()
    assert chosen_p(analytic, np.array([0.001]), loose, 2000, rarer=0.01)[0] == pytest.approx(0.001)
    assert chosen_p(analytic, permutation, loose, 0, rarer=0.2)[0] == pytest.approx(1e-7)


def test_x5_2_noise_on_few_positives_confirms_nothing_without_permutations():
    hits = 0
    for seed in range(40):
        rng = np.random.default_rng(seed)
        label = np.arange(2000) < 20
        discover = np.arange(2000) % 2 == 0
        fires = rng.random((2000, 100)) < 10 ** rng.uniform(-1.7, -0.5, 100)
        values = np.where(fires, rng.exponential(size=fires.shape) + 0.01, 0)
        settings = replace(BARE, seed=seed)
        found = associate(sparse(values), np.arange(2000), label.astype(int), discover, settings=settings)
        hits += bool(found.candidates.confirmed.any())
    assert hits <= 5
