"""Influence, scores, pruning and groups against plain dense code, and their invariances."""

import numpy as np
import pytest

from radiograph.core import UserError
from radiograph.numerics.graphs import (
    Edges,
    Profiles,
    Roles,
    cumulative,
    given_groups,
    influence,
    inner_cosines,
    profile_groups,
    prune,
    scores,
)


def made(rng, n=40, density=0.2, tokens=4, errors=5, targets=3):
    """An acyclic graph: tokens and errors first, targets last."""
    dense = np.triu(rng.standard_normal((n, n)), 1).T * (rng.random((n, n)) < density)
    dense[: tokens + errors] = 0
    dense[:, n - targets :] = 0
    target, source = np.nonzero(dense)
    edges = Edges(source.astype(np.int64), target.astype(np.int64), dense[target, source], n)
    weights = np.zeros(n)
    weights[n - targets :] = rng.dirichlet(np.ones(targets))
    is_token, is_error = np.arange(n) < tokens, (np.arange(n) >= tokens) & (np.arange(n) < tokens + errors)
    return dense, edges, weights, is_token, is_error


def reference(dense, weights, tokens, errors):
    """Influence by the inverse of I − M, and both scores, dense and slow."""
    matrix = np.zeros_like(dense)
    for t in range(len(dense)):
        total = sum(abs(v) for v in dense[t])
        for s in range(len(dense)):
            matrix[t, s] = abs(dense[t, s]) / total if total else 0.0
    found = weights @ (np.linalg.inv(np.eye(len(dense)) - matrix) - np.eye(len(dense)))
    token, error = found[tokens].sum(), found[errors].sum()
    top = bottom = 0.0
    for t in range(len(dense)):
        lost = sum(matrix[t, s] for s in range(len(dense)) if errors[s])
        top += (found[t] + weights[t]) * (1 - lost)
        bottom += found[t] + weights[t]
    return found, token / (token + error), top / bottom


@pytest.mark.parametrize("seed", range(5))
def test_d10_8_influence_replacement_and_completeness_equal_the_dense_reference(seed):
    dense, edges, weights, tokens, errors = made(np.random.default_rng(seed))
    found, replacement, completeness = reference(dense, weights, tokens, errors)
    assert np.allclose(influence(edges, weights), found, atol=1e-12)
    ours = scores(edges, weights, tokens, errors)
    assert ours.replacement == pytest.approx(replacement, abs=1e-12)
    assert ours.completeness == pytest.approx(completeness, abs=1e-12)


def test_dd_25_names_decide_nothing():
    rng = np.random.default_rng(3)
    _, edges, weights, tokens, errors = made(rng)
    order = rng.permutation(edges.n)
    place = np.argsort(order)
    moved = Edges(place[edges.source], place[edges.target], edges.weight, edges.n)
    assert np.allclose(influence(moved, weights[order]), influence(edges, weights)[order])
    inner = ~(tokens | errors | (weights > 0))
    kept = tokens | (weights > 0)
    one = prune(edges, weights, Roles(kept, inner), node_share=0.8, edge_share=0.98)
    other = prune(moved, weights[order], Roles(kept[order], inner[order]), node_share=0.8, edge_share=0.98)
    assert (other.nodes == one.nodes[order]).all()
    assert (other.edges == one.edges).all()


@pytest.mark.parametrize("seed", range(5))
def test_pruning_keeps_its_share_and_leaves_nothing_loose(seed):
    _, edges, weights, tokens, errors = made(np.random.default_rng(seed))
    inner, kept = ~(tokens | errors | (weights > 0)), tokens | (weights > 0)
    found = prune(edges, weights, Roles(kept, inner), node_share=0.8, edge_share=0.98)
    assert found.nodes[kept].all()
    assert (found.nodes[edges.source] & found.nodes[edges.target])[found.edges].all()
    into = np.bincount(edges.target[found.edges], minlength=edges.n)
    out = np.bincount(edges.source[found.edges], minlength=edges.n)
    assert (into[found.nodes & inner] > 0).all()
    assert (out[found.nodes & ~kept] > 0).all()
    everything = prune(edges, weights, Roles(kept, inner), node_share=1.0, edge_share=1.0)
    assert everything.nodes.all()
    assert everything.edges.all()


def test_cumulative_shares_are_those_of_the_smallest_sets():
    values = np.array([0.1, 0.4, 0.1, 0.3, 0.0, 0.1])
    assert np.allclose(cumulative(values), [1, 0.4, 1, 0.7, 1, 1])


def test_a_cycle_and_a_bad_weight_are_named():
    with pytest.raises(UserError, match="cycle"):
        influence(Edges(np.array([0, 1]), np.array([1, 0]), np.ones(2), 2), np.array([1.0, 0.0]))
    with pytest.raises(UserError, match="not finite") as error:
        Edges(np.array([0]), np.array([1]), np.array([np.nan]), 2)
    assert "node 0 to node 1" in str(error.value)


def planted(rng, alike):
    """30 sources, 30 targets; with `alike`, ten sources share one pattern up to noise."""
    pattern = rng.standard_normal((30, 30)) * (rng.random((30, 30)) < 0.3)
    if alike:
        pattern[:10] = pattern[0] + 0.05 * rng.standard_normal((10, 30)) * (pattern[0] != 0)
    source, target = np.nonzero(pattern)
    edges = Edges(source.astype(np.int64), target.astype(np.int64) + 30, pattern[source, target], 60)
    profiles = Profiles(np.zeros(60, np.int64), np.repeat([0, 1], 30), np.arange(60) < 30)
    return edges, profiles


def test_planted_groups_are_found_beside_their_chance_and_chance_alone_finds_none():
    rng = np.random.default_rng(0)
    groups = profile_groups(*planted(rng, alike=True), rng)
    assert groups[0].members == tuple(range(10))
    assert groups[0].cosine > 0.95 > groups[0].chance + 0.5
    assert groups[0].p <= 1 / 21 + 1e-12
    found = [profile_groups(*planted(np.random.default_rng(seed), alike=False), rng) for seed in range(4)]
    assert sum(any(g.p <= 0.05 for g in groups) for groups in found) <= 1


def test_groups_stay_at_one_position_unless_across():
    rng = np.random.default_rng(0)
    edges, profiles = planted(rng, alike=True)
    apart = Profiles(np.arange(60) % 2, profiles.weight, profiles.may)
    assert {tuple(m % 2 for m in g.members)[:1] for g in profile_groups(edges, apart, rng)} == {(0,), (1,)}
    assert len(profile_groups(edges, apart, rng, across=True)[0].members) == 10


def test_given_groups_stand_beside_the_cosine_of_their_members_in_shuffled_edges():
    edges, profiles = planted(np.random.default_rng(0), alike=True)
    groups = [tuple(range(10)), tuple(range(10, 20))]
    alike, others = given_groups(edges, profiles.weight, groups, np.random.default_rng(1))
    assert alike.cosine > 0.95 > alike.chance + 0.5 and alike.p == pytest.approx(1 / 21)
    assert others.p > 0.05 and abs(others.cosine - others.chance) < 0.2
    (found, *_) = profile_groups(edges, profiles, np.random.default_rng(1))
    assert found.cosine == pytest.approx(alike.cosine)
    dense = np.zeros((60, 120))
    dense[edges.source, edges.target] = edges.weight
    dense[edges.target, edges.source + 60] = edges.weight
    unit = dense[10:20] / np.linalg.norm(dense[10:20], axis=1)[:, None]
    assert inner_cosines(edges, groups)[1] == pytest.approx((unit @ unit.T)[np.triu_indices(10, 1)].mean())
    lonely = Edges(np.array([0]), np.array([2]), np.ones(1), 3)
    assert inner_cosines(lonely, [(0, 1)])[0] == 0, "one without edges is like none"
