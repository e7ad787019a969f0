"""Directions and the search, each derived a second, slower way; and what must not change them."""

from __future__ import annotations

import numpy as np
import pytest

from radiograph.numerics import probes
from radiograph.numerics.criteria import auroc

METHODS = ("mean_difference", "lda", "whitened", "logistic")


def planted(seed=0, groups=60, width=8, shift=1.5, paired=True):
    """Rows in groups, with a direction that the label shifts; one group has its own offset."""
    rng = np.random.default_rng(seed)
    size = rng.integers(2, 5, groups)
    group = np.repeat(np.arange(groups), size)
    first = rng.random(groups) < 0.5
    positive = first[group].copy()
    if paired:
        ends = np.cumsum(size) - 1
        positive[ends], positive[ends - 1] = True, False
    root = rng.standard_normal((width, width))
    rows = rng.standard_normal((len(group), width)) @ root + rng.standard_normal((groups, width))[group]
    direction = rng.standard_normal(width)
    rows += shift * positive[:, None] * direction
    return rows.astype(np.float32), positive, group.astype(np.int64), direction


def fitted(rows, positive, group, method, clean=None):
    cells = probes.cells_of(positive, group)
    return probes.directions(probes.prepared(rows, cells, clean), cells.positive[None], method, 0.1)[0]


def slow_shrunk(rows):
    """Ledoit and Wolf by the book, one row a draw, rows centred."""
    n, d = rows.shape
    s = sum(np.outer(x, x) for x in rows) / n
    mu = np.trace(s) / d
    spread = np.sum((s - mu * np.eye(d)) ** 2)
    error = min(sum(np.sum((np.outer(x, x) - s) ** 2) for x in rows) / n**2, spread)
    return (1 - error / spread) * s + error / spread * mu * np.eye(d)


def test_the_covariance_is_that_of_ledoit_and_wolf():
    rows = np.random.default_rng(1).standard_normal((40, 6)) * np.arange(1, 7)
    centred = rows - rows.mean(axis=0)
    assert np.allclose(probes.covariance(rows), slow_shrunk(centred))


def test_lda_is_the_inverse_of_the_covariance_within_classes_times_the_difference():
    rows, positive, group, _ = planted(paired=False)
    w = fitted(rows, positive, group, "lda")
    cells = probes.cells_of(positive, group)
    fit = probes.prepared(rows, cells)
    mean = np.stack([rows[cells.cell == c].mean(axis=0) for c in range(len(cells.positive))])
    delta = mean[cells.positive].mean(axis=0) - mean[~cells.positive].mean(axis=0)
    share = cells.positive.mean()
    # The total covariance less what lies between the classes: S_w, shrunk by the same intensity.
    moment, fourth = probes.cell_moment(rows - mean.mean(axis=0), cells.cell, len(mean))
    d, mu = len(moment), np.trace(moment) / len(moment)
    spread = np.sum((moment - mu * np.eye(d)) ** 2)
    intensity = min(max((fourth - np.sum(moment**2)) / len(mean), 0), spread) / spread
    within = fit.within - (1 - intensity) * share * (1 - share) * np.outer(delta, delta)
    slow = np.linalg.solve(within, delta)
    assert np.allclose(w, slow / np.linalg.norm(slow), atol=1e-5)


def test_groups_of_both_labels_are_differenced_first():
    rows, positive, group, _ = planted()
    w = fitted(rows, positive, group, "mean_difference")
    pairs = [g for g in np.unique(group) if len(set(positive[group == g])) == 2]
    parts = [rows[(group == g) & positive].mean(axis=0) - rows[(group == g) & ~positive].mean(axis=0) for g in pairs]
    slow = np.mean(parts, axis=0)
    assert np.allclose(w, slow / np.linalg.norm(slow), atol=1e-5)


@pytest.mark.parametrize("method", METHODS)
def test_pd_19_rows_repeated_inside_their_group_and_reordered_change_no_direction(method):
    rows, positive, group, _ = planted(paired=False)
    order = np.random.default_rng(2).permutation(np.repeat(np.arange(len(rows)), 5))
    clean = probes.covariance(rows[~positive])
    first = fitted(rows, positive, group, method, clean)
    again = fitted(rows[order], positive[order], group[order], method, clean)
    assert np.allclose(first, again, atol=1e-4)


@pytest.mark.parametrize("method", METHODS)
def test_a_planted_direction_separates_rows_that_were_not_fitted_on(method):
    rows, positive, group, _ = planted(groups=120)
    half = group < 60
    w = fitted(rows[half], positive[half], group[half], method)
    assert auroc((rows[~half] @ w).astype(float), positive[~half]) > 0.8


def test_labels_move_by_groups():
    _, positive, group, _ = planted(paired=False)
    positive[group == 0] = np.arange((group == 0).sum()) % 2 == 0
    cells = probes.cells_of(positive, group)
    labels = probes.permuted(cells, 50, seed=0)
    assert (labels[0] == cells.positive).all()
    both = cells.both
    for draw in labels[1:]:
        assert draw[~both].sum() == cells.positive[~both].sum()
        first, second = draw[cells.group == 0]
        assert first != second


def test_the_search_finds_the_site_and_prefers_the_earlier_of_equals():
    rows, positive, group, _ = planted(groups=80)
    noise = np.random.default_rng(3).standard_normal(rows.shape).astype(np.float32)
    sites = [noise, rows, rows.copy(), noise.copy()]
    cells = probes.cells_of(positive, group)
    found = probes.search(sites, [noise[:0]] * 4, cells, probes.permuted(cells, 39, 0), ("lda",), folds=4, seed=0)
    assert found.candidates[found.chosen[0]].site == 1
    assert found.p == 1 / 40
    assert np.allclose(found.area[1], found.area[2])


def nulls(builds, *, repeat):
    """How often a build on noise passes the shuffled-label control; without `repeat` the site is not chosen anew."""
    passed = 0
    for seed in range(builds):
        rng = np.random.default_rng(seed)
        group = np.repeat(np.arange(40), 2)
        positive = np.arange(80) % 2 == 0
        sites = [rng.standard_normal((80, 6)).astype(np.float32) for _ in range(8)]
        cells = probes.cells_of(positive, group)
        labels = probes.permuted(cells, 39, seed)
        found = probes.search(sites, [rng.standard_normal((0, 6))] * 8, cells, labels, ("lda",), folds=4, seed=seed)
        if not repeat:
            found = found._replace(chosen=np.full_like(found.chosen, found.chosen[0]))
        passed += found.p <= 0.05
    return passed / builds


@pytest.mark.slow
def test_p8_5_the_shuffled_control_passes_noise_at_its_level():
    assert nulls(200, repeat=True) <= 0.05 + 2 * np.sqrt(0.05 * 0.95 / 200)


@pytest.mark.slow
def test_pd_21_a_control_without_a_repeated_search_is_caught():
    assert nulls(200, repeat=False) > 0.05 + 2 * np.sqrt(0.05 * 0.95 / 200)
