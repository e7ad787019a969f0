"""Latent scaling on codes whose truth is known: what each state needs, and that a norm alone gives none."""

import numpy as np
import pytest

from radiograph.numerics.dictionaries.exclusivity import ScalingSums, norm_share, scalings
from radiograph.numerics.dictionaries.units import draws

UNITS, ROWS = 40, 2000


def sums(weak, *, noise=0.2, active=ROWS, strong=1.0, seed=0, rebuilt=None):
    """One feature whose direction the weak side holds `weak` times as much of."""
    rng = np.random.default_rng(seed)
    z = rng.uniform(1, 2, active)
    units = rng.integers(0, UNITS, active)

    def products(share):
        return z * (share * z + rng.normal(0, noise, active))

    kinds = np.stack([products(s) for s in (strong, weak, strong, weak if rebuilt is None else rebuilt)])
    made = ScalingSums(UNITS, 1)
    made.add(units, np.zeros(active, dtype=np.int64), kinds, z * z)
    return made


def state(made, nominated=True):
    (found,) = scalings(made, np.array([nominated]), draws(UNITS, seed=1))
    return found


@pytest.mark.parametrize(
    ("weak", "expected"),
    [(0.0, "exclusive"), (0.1, "exclusive"), (0.3, "attenuated"), (0.7, "attenuated"), (1.0, "shared")],
)
def test_state_follows_what_the_weak_side_holds(weak, expected):
    found = state(sums(weak))
    assert found.state == expected
    assert found.nu_error == pytest.approx(weak, abs=0.03)
    assert found.beta_strong == pytest.approx(1, abs=0.02)
    assert found.nu_error_bound >= abs(found.nu_error)


def test_only_a_nominated_feature_can_be_exclusive():
    assert state(sums(0.0), nominated=False).state == "shared"


def test_a_wide_bound_is_not_exclusive():
    assert state(sums(0.0, noise=6, active=150)).state != "exclusive"


def test_a_weak_side_that_reconstructs_the_direction_otherwise_is_not_exclusive():
    """Latent decoupling: other features write the same thing there."""
    found = state(sums(0.0, rebuilt=0.9))
    assert (found.state, found.nu_reconstruction > 0.8) == ("shared", True)


def test_few_rows_and_a_strong_side_without_the_direction_are_not_measured():
    few = state(sums(0.0, active=99))
    assert (few.state, few.active, few.nu_error) == ("not_measured", 99, None)
    assert state(sums(0.0, strong=0.0)).state == "not_measured"


def test_batches_add_up():
    rng = np.random.default_rng(3)
    entries = rng.integers(0, UNITS, 300), rng.integers(0, 4, 300), rng.normal(size=(4, 300)), rng.random(300)
    whole, parts = ScalingSums(UNITS, 4), ScalingSums(UNITS, 4)
    whole.add(*entries)
    for start in (0, 100, 200):
        parts.add(*(e[..., start : start + 100] for e in entries))
    assert parts.products == pytest.approx(whole.products)
    assert parts.squares == pytest.approx(whole.squares)
    assert np.array_equal(parts.active, np.bincount(entries[1], minlength=4))


def test_share_of_the_norm():
    assert norm_share(np.array([1.0, 0.0, 1.0, 0.0]), np.array([1.0, 2.0, 0.0, 0.0])) == pytest.approx([0.5, 1, 0, 0.5])
