"""Squashing raw importance, and recovering a known truth from an importance matrix."""

import numpy as np
import pytest
import torch

from radiograph.core import UserError
from radiograph.numerics.components.recovery import (
    best_cosine,
    columns,
    dense_errors,
    identity_errors,
    live,
    matched,
)
from radiograph.numerics.components.squash import SQUASHES, outside_unit, squash_of


def gradient(squash, g, upstream):
    x = torch.tensor([g], requires_grad=True)
    squash(x).backward(torch.tensor([upstream]))
    return float(x.grad)


def test_lower_leaky_hard_revives_and_never_pushes_down():
    lower = squash_of("leaky_hard").lower
    assert [float(lower(torch.tensor(v))) for v in (-2.0, 0.4, 3.0)] == pytest.approx([0.0, 0.4, 1.0])
    assert gradient(lower, 0.5, 2.0) == 2.0 and gradient(lower, 1.0, 2.0) == 2.0
    assert gradient(lower, 1.5, -2.0) == 0.0
    assert gradient(lower, -1.0, -2.0) == pytest.approx(-0.02)
    assert gradient(lower, -1.0, 2.0) == 0.0
    assert gradient(lower, 0.0, -1.0) == pytest.approx(-0.01)


def test_upper_leaky_hard_leaks_above_one_alone():
    upper = squash_of("leaky_hard").upper
    assert [float(upper(torch.tensor(v))) for v in (-2.0, 0.4, 1.0, 3.0)] == pytest.approx([0.0, 0.4, 1.0, 1.02])
    assert gradient(upper, 3.0, 1.0) == pytest.approx(0.01)
    assert gradient(upper, -3.0, 1.0) == 0.0


def test_dd_3_one_entry_outside_among_a_million_is_seen():
    values = torch.rand(1000, 1000)
    assert outside_unit(values) == 0
    values[417, 3] = 1.5
    assert outside_unit(values) == 1
    values[0, 0] = float("nan")
    assert outside_unit(values) == 2


@pytest.mark.parametrize("name", [n for n in SQUASHES if n != "leaky"])
def test_lower_is_a_mask(name):
    assert outside_unit(squash_of(name).lower(torch.linspace(-5, 5, 1001))) == 0


def test_an_unknown_squash_names_the_nearest():
    with pytest.raises(UserError, match="leaky_hard"):
        squash_of("leaky_hrd")


def test_matching_is_by_importance_and_errors_count_both_kinds():
    g = np.array([[0.0, 1.0, 0.0], [0.95, 0.0, 0.3]])
    assert matched(g).tolist() == [1, 0]
    assert (live(g), identity_errors(g, 0.1), identity_errors(g, 0.4)) == (3, 1, 0)
    g[0, 1] = 0.5
    assert identity_errors(g, 0.1) == 2


def test_fewer_components_than_features_are_errors():
    assert identity_errors(np.array([[1.0], [0.0]]), 0.1) == 1


def test_dense_errors():
    g = np.array([[1.0, 0.6, 0.0, 0.2], [0.5, 0.95, 0.0, 0.0]])
    assert (dense_errors(g, 2, 0.1), dense_errors(g, 2, 0.2), dense_errors(g, 3, 0.1)) == (1, 0, 1)


def test_columns_and_the_order_of_components():
    generator = np.random.default_rng(0)
    truth = generator.normal(size=(4, 3))
    found = generator.normal(size=(4, 6, 3)) * 0.1
    order = np.array([2, 5, 0, 1])
    found[np.arange(4), order] = truth * 1.5
    g = np.zeros((4, 6))
    g[np.arange(4), order] = 1
    own = columns(g, truth, found)
    assert (own.cosine, own.ratio) == pytest.approx((1.0, 1.5))
    permutation = generator.permutation(6)
    again = columns(g[:, permutation], truth, found[:, permutation])
    assert again == pytest.approx(own) if isinstance(own, float) else again == own


def test_the_best_cosine_is_sought_among_components_live_on_the_feature():
    truth = np.eye(2)
    found = np.array([[[0.9, 0.1], [1e-6, 0.0], [1e-6, 0.0]], [[0.0, 0.0], [0.0, 1.0], [0.0, 1e-6]]])
    g = np.array([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]])
    own = columns(g, truth, found)
    assert (own.mmcs, own.ml2r) == pytest.approx((own.cosine, own.ratio)) and own.ml2r > 0.9
    assert best_cosine(truth, found)[1] < 0.6
    assert best_cosine(truth, found, 0 * g) == best_cosine(truth, found)


def test_d10_3_the_best_cosine_is_high_by_chance_in_few_dimensions():
    generator = np.random.default_rng(0)
    truth = generator.normal(size=(5, 2))
    chance = [best_cosine(truth, generator.normal(size=(5, 20, 2)))[0] for _ in range(50)]
    assert np.mean(chance) > 0.97
