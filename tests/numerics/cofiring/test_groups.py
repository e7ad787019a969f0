"""Merging groups: costs are differences of description length, planted groups are found, chance is not grouped."""

import numpy as np
import pytest

from radiograph.numerics.cofiring import agreement, group, mdl, merge_costs, shifted


def _rates(active):
    rates = active.mean(axis=0)
    both = (active.T.astype(float) @ active) / len(active)
    return rates, both


def _planted(seed=0, rows=3000, groups=4, size=5):
    rng = np.random.default_rng(seed)
    on = rng.random((rows, groups)) < 0.05
    active = np.repeat(on, size, axis=1) & (rng.random((rows, groups * size)) < 0.95)
    alone = rng.random((rows, 6)) < 0.05
    return np.hstack([active, alone])


def test_d10_12_merge_cost_is_the_difference_of_description_lengths():
    rng = np.random.default_rng(0)
    active = rng.random((500, 9)) < rng.random(9)
    ranks = rng.integers(1, 4, 9).astype(float)
    rates, both = _rates(active)
    for alpha in (0.3, 1.0):
        before = mdl(rates, ranks, alpha)
        found = merge_costs(rates, ranks, both, alpha)
        k, total = 9, rates.sum()
        for i in range(9):
            for j in range(i + 1, 9):
                rest = [n for n in range(9) if n not in (i, j)]
                either = (active[:, i] | active[:, j]).mean()
                after = mdl(np.append(rates[rest], either), np.append(ranks[rest], ranks[i] + ranks[j]), alpha)
                assert found[i, j] == pytest.approx(after - before, abs=1e-9)
                published = (
                    (total - rates[i] - rates[j]) * np.log2((k - 1) / k)
                    + either * np.log2(k - 1)
                    - (rates[i] + rates[j]) * np.log2(k)
                    + alpha * (either * (ranks[i] + ranks[j]) - rates[i] * ranks[i] - rates[j] * ranks[j])
                )
                assert found[i, j] == pytest.approx(published, abs=1e-9)


def test_d10_12_the_history_adds_up_to_the_length_of_what_came_of_it():
    active = _planted()
    found = group(active, seed=1)
    names, number = np.unique(found.member_of, return_inverse=True)
    merged = np.stack([active[:, number == n].any(axis=1) for n in range(len(names))], axis=1)
    ranks = np.bincount(number).astype(float)
    assert found.history[-1].mdl == pytest.approx(mdl(merged.mean(axis=0), ranks, 1.0), abs=1e-9)
    assert found.history[-1].groups == len(names)


@pytest.mark.parametrize("choice", ["greedy", "range", "sample"])
def test_d10_12_planted_groups_are_recovered(choice):
    found = group(_planted(), choice=choice, temperature=0.001, seed=2).member_of
    assert found[:20].tolist() == [n // 5 * 5 for n in range(20)]
    assert len(set(found[20:].tolist())) == 6 and not set(found[20:]) & set(found[:20])


def test_d10_12_shuffled_activity_is_not_merged():
    many = [len(group(shifted(_planted(seed), np.arange(3000), seed), seed=seed).history) for seed in range(10)]
    assert sum(many) <= 1  # a chance of .05 each


def test_shifting_keeps_rates_and_what_keeps_to_texts_and_unlinks_things():
    active, texts = _kept_to_texts(0)
    mixed = np.random.default_rng(1).permutation(len(active))
    active, texts = active[mixed], texts[mixed]
    found = shifted(active, texts, 1)
    assert np.array_equal(found.sum(axis=0), active.sum(axis=0))

    def per_text(table, thing):
        return sorted(np.bincount(texts, table[:, thing]).tolist())

    assert all(per_text(found, n) == per_text(active, n) for n in range(active.shape[1]))
    twins = shifted(np.repeat(active[:, :1], 2, axis=1), texts, 2)
    assert (twins[:, 0] & twins[:, 1]).mean() < active[:, 0].mean() / 3


def _kept_to_texts(seed, texts=200, rows=30, things=25):
    """Each thing is active on half of the rows of every tenth text, whatever the others do."""
    rng = np.random.default_rng(seed)
    on = rng.random((texts, things)) < 0.1
    return np.repeat(on, rows, axis=0) & (rng.random((texts * rows, things)) < 0.5), np.repeat(np.arange(texts), rows)


def test_d10_12_independent_things_that_keep_to_texts_are_not_merged():
    """Rows of a text resemble each other: by rows alone such things are together more often than chance explains."""
    by_rows, by_texts = 0, 0
    for seed in range(5):
        active, texts = _kept_to_texts(seed)
        by_rows += len(group(active, seed=seed).history)
        by_texts += len(group(active, texts=texts, seed=seed).history)
    assert by_rows > 20 and by_texts == 0


def test_d10_12_planted_groups_are_recovered_over_texts_too():
    active = _planted()
    texts = np.repeat(np.arange(100), 30)
    found = group(active, texts=texts, seed=2)
    assert found.member_of[:20].tolist() == [n // 5 * 5 for n in range(20)]
    assert len(set(found.member_of[20:].tolist())) == 6
    mixed = np.random.default_rng(0).permutation(len(active))
    assert group(active[mixed], texts=texts[mixed], seed=2).history == found.history, (
        "the order of rows decides nothing"
    )


def test_stopping_at_a_number_of_groups_or_after_merges():
    active = _planted()
    assert len(set(group(active, until=3, level=1).member_of)) == 3
    assert len(group(active, steps=2).history) == 2
    assert len(group(active, until=1, level=1).history) == 25
    assert len(set(group(active, until=1).member_of)) == 10, "nothing else is active together"


def test_without_its_level_the_published_rule_merges_independent_rare_things():
    active = np.random.default_rng(0).random((4000, 30)) < np.geomspace(0.002, 0.2, 30)
    assert len(group(active, level=1).history) > 5
    assert not group(active).history


def test_dd_25_permuting_things_permutes_the_groups():
    active = _planted()
    order = np.random.default_rng(0).permutation(active.shape[1])
    one = group(active, choice="greedy").member_of
    other = group(active[:, order], choice="greedy").member_of

    def parts(members, names):
        return {frozenset(names[members == m].tolist()) for m in np.unique(members)}

    assert parts(one, np.arange(26)) == parts(other, order)


def test_agreement_stands_beside_its_chance():
    rng = np.random.default_rng(0)
    base = np.repeat(np.arange(5), 6)
    renamed = np.array([3, 1, 4, 0, 2])[base]
    found = agreement(np.stack([base, renamed, rng.permutation(base)]))
    assert found.distances[0] == 0 and found.distances[1] > 0.3
    assert found.chance.shape == (3, 20) and found.chance.mean() > 0.3
    alone = agreement(np.stack([np.arange(10), rng.permutation(10)]))
    assert alone.distances[0] == 0 and alone.chance.max() == 0
