"""Noise stays silent where groups and classes have unlike numbers of rows."""

from __future__ import annotations

import numpy as np
import pytest
from associations import sparse

from radiograph.numerics.association import Settings, associate

UNLIKE = [
    {"positive": 1, "negative": 2},
    {"positive": 2, "negative": 10},
    {"positive": 6, "negative": 1, "paired": False},
]


def _cells(seed, positive, negative, *, groups=240, features=120, firing=0.1, paired=True):
    """Noise in cells of `positive` and `negative` rows; how many features are confirmed, and how often p < .05."""
    rng = np.random.default_rng(seed)
    if paired:
        group = np.repeat(np.arange(groups), positive + negative)
        label = np.tile(np.r_[np.ones(positive), np.zeros(negative)], groups)
    else:
        sizes = np.where(np.arange(groups) % 2 == 0, positive, negative)
        group, label = np.repeat(np.arange(groups), sizes), np.repeat((np.arange(groups) % 2 == 0).astype(float), sizes)
    dense = rng.exponential(size=(len(group), features)) * (rng.random((len(group), features)) < firing)
    settings = Settings(permutations=500, bootstrap=0, seed=seed)
    found = associate(sparse(dense), group, label, group // 2 % 2 == 0, settings=settings)
    return int(found.candidates.confirmed.sum()), float((found.candidates.p < 0.05).mean())


@pytest.mark.parametrize("cells", UNLIKE)
def test_x5_2_noise_is_silent_where_cells_have_unlike_numbers_of_rows(cells):
    """The mean of two rows of a sparse feature is zero less often than one row: no sign flip can exchange them."""
    found = [_cells(seed, **cells) for seed in range(3)]
    assert sum(confirmed for confirmed, _ in found) <= 1 and np.mean([share for _, share in found]) < 0.15


@pytest.mark.slow
@pytest.mark.parametrize("firing", [0.15, 0.4])
@pytest.mark.parametrize("cells", UNLIKE)
def test_x5_2_unlike_cells_keep_their_rate(cells, firing):
    found = [_cells(seed, firing=firing, **cells) for seed in range(100)]
    assert sum(confirmed > 0 for confirmed, _ in found) <= 12
    assert np.mean([share for _, share in found]) <= 0.06
