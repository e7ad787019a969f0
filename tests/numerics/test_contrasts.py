"""Directions between classes: planted ones are found by every method, noise has none, pairs are used."""

from __future__ import annotations

import numpy as np
import pytest

from radiograph.core import Refusal
from radiograph.numerics.contrasts import along, cells_of, contrast, permuted, separation, split_half

METHODS = ("mean_difference", "whitened", "logistic")
WIDTH = 24


def rows(*, groups: int = 60, paired: bool = True, shift: float = 2.0, seed: int = 0):
    rng = np.random.default_rng(seed)
    truth = np.zeros(WIDTH)
    truth[3] = 1.0
    group = np.repeat(np.arange(groups), 2)
    positive = np.tile([True, False], groups) if paired else np.repeat(np.arange(groups) % 2 == 0, 2)
    # A nuisance of large variance that groups share hides the class from whoever does not pair or whiten.
    nuisance = 3.0 * rng.standard_normal(groups)[group]
    values = rng.standard_normal((2 * groups, WIDTH)) + shift * positive[:, None] * truth
    values[:, 7] += nuisance
    return values, positive, group, truth


@pytest.mark.parametrize("paired", [True, False])
@pytest.mark.parametrize("method", METHODS)
def test_the_planted_direction_is_found(method, paired):
    values, positive, group, truth = rows(paired=paired)
    cells = cells_of(values, positive, group)
    assert cells.paired is paired
    found = contrast(cells, method)
    cosine = found @ truth / np.linalg.norm(found)
    assert cosine > 0.6
    held = cells_of(*rows(paired=paired, seed=1)[:3])
    area, interval = separation(found, held)
    assert area > 0.75 and interval is not None and interval.low < area
    assert (split_half(cells, method, seed=0) or 0) > 0.3


def test_permuted_labels_point_anywhere():
    values, positive, group, truth = rows(shift=3.0)
    drawn = permuted(cells_of(values, positive, group), "mean_difference", draws=40, seed=0)
    assert drawn.shape == (40, WIDTH) and np.allclose(np.linalg.norm(drawn, axis=1), 1)
    assert np.abs(drawn @ truth).mean() < 0.7 and abs(float((drawn @ truth).mean())) < 0.35


def test_a_group_of_many_rows_speaks_once():
    values, positive, group, _ = rows()
    more = np.concatenate([np.arange(len(group)), np.repeat(np.flatnonzero(group == 0), 9)])
    assert np.allclose(
        contrast(cells_of(values[more], positive[more], group[more])), contrast(cells_of(values, positive, group))
    )


def test_whitening_and_logistic_agree_with_the_plain_formulas():
    values, positive, group, _ = rows(paired=False, groups=40)
    cells = cells_of(values, positive, group)
    first, second = cells.value[cells.positive], cells.value[~cells.positive]
    within = np.concatenate([first - first.mean(0), second - second.mean(0)])
    covariance = within.T @ within / len(within)
    ridge = 0.1 * np.trace(covariance) / WIDTH
    plain = np.linalg.solve(covariance + ridge * np.eye(WIDTH), first.mean(0) - second.mean(0))
    assert np.allclose(contrast(cells, "whitened"), plain)


def test_classes_that_do_not_differ_have_no_direction():
    same = np.ones((8, 3))
    with pytest.raises(Refusal, match="no_difference"):
        contrast(cells_of(same, np.arange(8) % 2 == 0, np.arange(8) // 2))
    with pytest.raises(Refusal, match="few_groups"):
        contrast(cells_of(np.eye(3), np.array([True, False, False]), np.arange(3)))


def test_length_has_a_direction_of_its_own():
    values, positive, group, _ = rows()
    cells = cells_of(values, positive, group)
    found = along(cells.value[:, 5], cells)
    assert found[5] / np.linalg.norm(found) > 0.7
