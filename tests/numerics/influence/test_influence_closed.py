"""Closed forms against dense matrices in float64, and what may not change them."""

from __future__ import annotations

import numpy as np
import pytest

from radiograph.core import UserError
from radiograph.numerics.audit.stability import spearman
from radiograph.numerics.influence import (
    DAMPING,
    Layout,
    damping,
    datainf_direction,
    eigenbasis,
    eigenvalues,
    ekfac_direction,
    ekfac_energy,
    mean_squares,
    orthonormal,
    parts_of,
    products,
    ranked,
    relative,
)

LAYOUT = Layout(((3, 4), (2, 5), (1, 6)))
ROWS, TARGETS = 17, 3


def gradients(seed: int = 0, rows: int = ROWS, layout: Layout = LAYOUT) -> np.ndarray:
    draw = np.random.default_rng(seed)
    return draw.standard_normal((rows, layout.size)) * draw.lognormal(0, 1, (rows, 1))


def blocks(g: np.ndarray, size: int):
    return lambda: (g[at : at + size] for at in range(0, len(g), size))


def scored(g: np.ndarray, v: np.ndarray, layout: Layout = LAYOUT, c: float = DAMPING, size: int = 5) -> np.ndarray:
    square, _ = mean_squares(blocks(g, size), layout)
    h, _ = datainf_direction(blocks(g, size), v, layout, damping(square, layout.lengths, c))
    return products(blocks(g, size), h)[0]


def dense(g: np.ndarray, v: np.ndarray, layout: Layout = LAYOUT, c: float = DAMPING) -> np.ndarray:
    """The average of the n inverses, one matrix at a time, each of them formed."""
    out = np.zeros((len(g), len(v)))
    for part in layout.slices():
        own, d = g[:, part], part.stop - part.start
        strength = c * np.square(own).sum() / (len(g) * d)
        inverse = np.mean([np.linalg.inv(np.outer(r, r) + strength * np.eye(d)) for r in own], axis=0)
        out -= own @ inverse @ v[:, part].T
    return out


def test_datainf_is_the_mean_of_inverses():
    g, v = gradients(), gradients(1, TARGETS)
    np.testing.assert_allclose(scored(g, v), dense(g, v), rtol=1e-8, atol=1e-8 * np.abs(dense(g, v)).max())


def test_pd_7_datainf_is_not_dot_and_the_rankings_meet_where_damping_is_all():
    layout = Layout(((4, 5),))
    g, v = gradients(2, 30, layout), gradients(3, 1, layout)
    dot = products(blocks(g, 7), v)[0][:, 0]
    own = scored(g, v, layout)[:, 0]
    assert not np.allclose(own / np.abs(own).max(), dot / np.abs(dot).max(), atol=1e-3)
    assert (ranked(own) != ranked(dot)).any()
    np.testing.assert_array_equal(ranked(scored(g, v, layout, c=1e9)[:, 0]), ranked(dot))


def test_blocks_and_order_change_nothing():
    g, v = gradients(), gradients(1, TARGETS)
    whole = scored(g, v, size=ROWS)
    for size in (1, 4, 16):
        np.testing.assert_allclose(scored(g, v, size=size), whole, rtol=1e-10)
    order = np.random.default_rng(4).permutation(ROWS)
    np.testing.assert_allclose(scored(g[order], v), whole[order], rtol=1e-10)


def test_scores_are_linear_in_the_target_and_parts_sum_to_them():
    g, v = gradients(), gradients(1, TARGETS)
    together = scored(g, v.mean(0, keepdims=True))[:, 0]
    np.testing.assert_allclose(scored(g, v).mean(1), together, rtol=1e-9)
    square, _ = mean_squares(blocks(g, 5), LAYOUT)
    h, _ = datainf_direction(blocks(g, 5), v[:1], LAYOUT, damping(square, LAYOUT.lengths))
    np.testing.assert_allclose(parts_of(g, h[0], LAYOUT).sum(1), products(blocks(g, 5), h)[0][:, 0], rtol=1e-9)


def test_energy_is_the_quadratic_form_of_the_rows_own_term_and_never_less_than_the_whole():
    """The other rows' inverses are taken as I/λ, so that no row meets another."""
    g = gradients()
    square, _ = mean_squares(blocks(g, 5), LAYOUT)
    _, energy = datainf_direction(blocks(g, 6), g[:1], LAYOUT, damping(square, LAYOUT.lengths))
    expected = np.zeros(ROWS)
    for part in LAYOUT.slices():
        own, d = g[:, part], part.stop - part.start
        strength = DAMPING * np.square(own).sum() / (ROWS * d)
        for row, r in enumerate(own):
            inverse = (np.eye(d) * (ROWS - 1) / strength + np.linalg.inv(np.outer(r, r) + strength * np.eye(d))) / ROWS
            expected[row] += r @ inverse @ r
    np.testing.assert_allclose(energy, expected, rtol=1e-8)
    assert (energy >= -np.diagonal(dense(g, g))).all()


def test_relative_scores_of_dot_are_cosines():
    g, v = gradients(), gradients(1, TARGETS)
    scores, norms = products(blocks(g, 5), v)
    found = relative(scores, norms**2, np.linalg.norm(v, axis=1))
    expected = -(g @ v.T) / np.outer(np.linalg.norm(g, axis=1), np.linalg.norm(v, axis=1))
    np.testing.assert_allclose(found, expected, rtol=1e-10)
    g[3] = 0
    scores, norms = products(blocks(g, 5), v)
    assert not relative(scores, norms**2, np.linalg.norm(v, axis=1))[3].any()


def test_p8_9_damping_under_a_projection_is_that_of_the_whole_matrix():
    """Sides are cut by different factors: with λ from the entries that are kept, matrices would weigh differently."""
    shapes, kept = ((4, 240), (60, 4)), ((4, 12), (30, 4))
    draw = np.random.default_rng(3)
    rows, few = 80, 6

    def low_rank(shape: tuple[int, int]) -> np.ndarray:
        left, right = draw.standard_normal((few, shape[0])), draw.standard_normal((few, shape[1]))
        return np.einsum("nf,fo,fi->noi", draw.standard_normal((rows + 1, few)), left, right)

    exact = [low_rank(shape) for shape in shapes]
    sides = orthonormal(12, 240, 1), orthonormal(30, 60, 2)
    cut = [exact[0] @ sides[0].T, sides[1] @ exact[1]]
    whole, part = (np.concatenate([m.reshape(rows + 1, -1) for m in made], 1) for made in (exact, cut))
    sizes = Layout(shapes).lengths

    def found(g: np.ndarray, layout: Layout, lengths: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        strength = damping(mean_squares(blocks(g[1:], 9), layout)[0], lengths)
        h, _ = datainf_direction(blocks(g[1:], 9), g[:1], layout, strength)
        return strength, products(blocks(g[1:], 9), h)[0][:, 0]

    strength, scores = found(whole, Layout(shapes), sizes)
    ours, with_sizes = found(part, Layout(kept), sizes)
    theirs, with_kept = found(part, Layout(kept), Layout(kept).lengths)
    assert np.allclose(ours, strength, rtol=0.35)
    assert (theirs > 1.5 * strength).all()
    assert (spearman(scores, with_sizes) or 0) >= (spearman(scores, with_kept) or 0)


def test_a_matrix_without_gradients_has_no_say():
    g, v = gradients(), gradients(1, TARGETS)
    g[:, :12] = 0
    other = Layout(LAYOUT.shapes[1:])
    np.testing.assert_allclose(scored(g, v), scored(g[:, 12:], v[:, 12:], other), rtol=1e-10)


def test_a_gradient_that_is_not_finite_is_named():
    g = gradients()
    g[11, 14] = np.nan
    with pytest.raises(UserError, match="not finite") as caught:
        mean_squares(blocks(g, 5), LAYOUT)
    assert caught.value.where == "row 11, matrix 1"
    with pytest.raises(UserError, match="not finite") as caught:
        products(blocks(g, 5), g[:1])
    assert caught.value.where == "row 11"


def test_ekfac_of_exact_kronecker_gradients_is_the_inverse_of_their_second_moment():
    """Rows δxᵀ with independent Gaussian δ and x: E[vec(G)vec(G)ᵀ] = S ⊗ A, which the basis makes diagonal."""
    draw = np.random.default_rng(0)
    left, right = draw.standard_normal((3, 3)), draw.standard_normal((4, 4))
    s, a = left @ left.T, right @ right.T
    basis = eigenbasis(s, a)
    values = basis.output.T @ s @ basis.output
    exact = np.outer(np.diagonal(values), np.diagonal(basis.input.T @ a @ basis.input))
    v = draw.standard_normal((2, 3, 4))
    strength = 0.1 * exact.mean()
    inverse = np.linalg.inv(np.kron(s, a) + strength * np.eye(12))
    np.testing.assert_allclose(
        ekfac_direction(basis, exact, v).reshape(2, 12), v.reshape(2, 12) @ inverse, rtol=1e-8, atol=1e-10
    )
    energy = np.einsum("re,ef,rf->r", v.reshape(2, 12), inverse, v.reshape(2, 12))
    np.testing.assert_allclose(ekfac_energy(basis, exact, v), energy, rtol=1e-8)
    sampled = np.einsum(
        "ro,ri->roi", draw.standard_normal((40_000, 3)) @ left.T, draw.standard_normal((40_000, 4)) @ right.T
    )
    np.testing.assert_allclose(eigenvalues(basis, sampled) / 40_000, exact, rtol=0.1, atol=0.1)


def test_ekfac_without_gradients_says_nothing():
    basis = eigenbasis(np.zeros((2, 2)), np.zeros((3, 3)))
    assert not ekfac_direction(basis, np.zeros((2, 3)), np.ones((1, 2, 3))).any()


def test_p8_10_dense_influence_is_retraining_with_another_weight_and_methods_follow_it(record_property):
    """Least squares with a ridge: df/dw_k = −⟨∇f, H⁻¹g_k⟩ at the optimum, and a fit with weight 1 ± ε agrees."""
    draw = np.random.default_rng(5)
    rows, width = 60, 6
    x, f = draw.standard_normal((rows, width)), draw.standard_normal(width)
    y = x @ draw.standard_normal(width) + draw.standard_normal(rows) * draw.lognormal(0, 0.7, rows)

    def fitted(weights: np.ndarray) -> np.ndarray:
        return np.linalg.solve((x * weights[:, None]).T @ x + np.eye(width), (x * weights[:, None]).T @ y)

    at = fitted(np.ones(rows))
    g = (x @ at - y)[:, None] * x
    influence = -g @ np.linalg.solve(x.T @ x + np.eye(width), f)
    moved = np.empty(rows)
    for row in range(rows):
        weights = np.ones((2, rows))
        weights[:, row] += (1e-4, -1e-4)
        moved[row] = (fitted(weights[0]) - fitted(weights[1])) @ f / 2e-4
    np.testing.assert_allclose(influence, moved, rtol=1e-3, atol=1e-3 * np.abs(moved).max())
    layout, v = Layout(((1, width),)), f[None]
    found = {
        "dot": products(blocks(g, 9), v)[0][:, 0],
        "datainf": scored(g, v, layout)[:, 0],
        "ekfac": products(blocks(g, 9), _ekfac(x, g, v))[0][:, 0],
    }
    dots, norms = products(blocks(g, 9), v)
    found["cosine"] = relative(dots, norms**2, np.linalg.norm(v, axis=1))[:, 0]
    agreement = {name: spearman(scores, influence) for name, scores in found.items()}
    for name, rho in agreement.items():
        record_property(name, rho)
        assert rho is not None and rho > 0.8, agreement


def _ekfac(x: np.ndarray, g: np.ndarray, v: np.ndarray) -> np.ndarray:
    basis = eigenbasis(np.eye(1), x.T @ x / len(x))
    values = eigenvalues(basis, g[:, None, :]) / len(g)
    return ekfac_direction(basis, values, v[:, None, :])[:, 0]
