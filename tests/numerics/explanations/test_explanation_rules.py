"""Rules against exhaustive search and evaluation by hand; planted ones found; noise stays silent."""

from __future__ import annotations

import numpy as np
import pytest

from radiograph.numerics.explanations import AND, NOT, OR, applied, learn, ones
from radiograph.numerics.explanations.sparse import marked

RNG = np.random.default_rng(0)


def table(dense):
    rows, columns = np.nonzero(dense)
    return marked(rows, columns, dense.shape)


def by_hand(literals, joins, holds):
    out = np.zeros(len(holds), bool)
    for literal, join in zip(literals, joins, strict=True):
        if literal < 0:
            continue
        own = holds[:, literal]
        out = own if join == 0 else {OR: out | own, AND: out & own, NOT: out & ~own}[int(join)]
    return out


def f1(fires, named):
    both = (fires & named).sum()
    return 2 * both / max(1, fires.sum() + named.sum())


@pytest.fixture(scope="module")
def world():
    holds = RNG.random((2000, 12)) < np.linspace(0.05, 0.4, 12)
    fires = np.stack(
        [
            holds[:, 2],
            holds[:, 1] | holds[:, 4],
            holds[:, 8] & holds[:, 9],
            holds[:, 7] & ~holds[:, 10],
            (holds[:, 0] | holds[:, 3]) & ~holds[:, 11],
            RNG.random(2000) < 0.1,
            np.zeros(2000, bool),
        ]
    )
    return holds, fires


def test_planted_rules_are_found_and_noise_is_not(world):
    holds, fires = world
    rules = learn(table(fires), table(holds))
    named = np.asarray(applied(rules, table(holds)).todense()) > 0
    worth = [f1(own, said) for own, said in zip(fires, named, strict=True)]
    assert worth[:4] == [1, 1, 1, 1]
    assert worth[4] > 0.99
    assert worth[5] < 0.3
    assert rules.literals[6].tolist() == [-1] * 4 and not named[6].any()
    assert [set(row[row >= 0].tolist()) for row in rules.literals[:4]] == [{2}, {1, 4}, {8, 9}, {7, 10}]


def test_applied_is_evaluation_by_hand(world):
    holds, _ = world
    literals = RNG.integers(-1, 12, (40, 4))
    literals[:, 0] = RNG.integers(0, 12, 40)
    joins = RNG.integers(1, 4, (40, 4))
    joins[:, 0] = 0
    joins[literals < 0] = 0
    from radiograph.numerics.explanations import Rules

    found = np.asarray(applied(Rules(literals, joins), table(holds)).todense())
    assert set(np.unique(found)) <= {0.0, 1.0}
    for row, (own, join) in enumerate(zip(literals, joins, strict=True)):
        np.testing.assert_array_equal(found[row] > 0, by_hand(own, join, holds))


def test_each_step_is_the_best_of_all(world):
    """Greedy by brute force: every literal and operation tried at every step."""
    holds, fires = world
    for own in (fires[4], fires[5], RNG.random(2000) < 0.3):
        rules = learn(table(own[None]), table(holds), gain=0.02, least=5)
        literals, joins, best = [], [], 0.0
        for place in range(4):
            tried = []
            held = by_hand(literals, joins, holds)
            for join in (0,) if place == 0 else (OR, AND, NOT):
                for literal in range(12):
                    own_literal = holds[:, literal]
                    met = own & own_literal
                    known = {0: met, OR: met & ~held, AND: met & held, NOT: held & own_literal}[join].sum() >= 5
                    value = f1(own, by_hand([*literals, literal], [*joins, join], holds)) if known else 0.0
                    tried.append((value, -join, -literal))
            value, join, literal = max(tried)
            if place and value < best + 0.02:
                break
            best, literals, joins = value, [*literals, -literal], [*joins, -join]
        assert rules.literals[0][rules.literals[0] >= 0].tolist() == literals
        assert rules.joins[0][: len(joins)].tolist() == joins


def test_features_do_not_depend_on_each_other(world):
    holds, fires = world
    together = learn(table(fires), table(holds))
    for place in range(len(fires)):
        alone = learn(table(fires[place : place + 1]), table(holds))
        assert (together.take(np.array([place])).literals == alone.literals).all()
    assert ones(table(fires)).nnz == fires.sum()


@pytest.mark.slow
def test_noise_is_described_in_at_most_one_of_a_hundred():
    """F1 on other tokens of rules for features that fire at random; .5 is where a rule describes something."""
    rng = np.random.default_rng(1)
    holds = rng.random((8000, 300)) < rng.uniform(0.002, 0.2, 300)
    fires = rng.random((400, 8000)) < rng.uniform(0.01, 0.25, 400)[:, None]
    rules = learn(table(fires[:, :4000]), table(holds[:4000]))
    named = np.asarray(applied(rules, table(holds[4000:])).todense()) > 0
    worth = np.array([f1(own, said) for own, said in zip(fires[:, 4000:], named, strict=True)])
    assert (worth >= 0.5).mean() <= 0.01
    assert np.abs(worth - fires.mean(1)).mean() < 0.15
