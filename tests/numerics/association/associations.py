"""Random sparse tables with their dense twins, and studies with planted features."""

from __future__ import annotations

import numpy as np

from radiograph.numerics.association import Columns, columns


def sparse(dense, *, absent="zero", shuffle=None):
    """The table of a dense one; NaN is absent. `shuffle` permutes the entries."""
    kept = ~np.isnan(dense) if absent == "missing" else dense != 0
    unit, feature = np.nonzero(kept)
    value = dense[kept]
    if shuffle is not None:
        order = np.random.default_rng(shuffle).permutation(len(unit))
        unit, feature, value = unit[order], feature[order], value[order]
    return columns(unit, feature, value, units=dense.shape[0], features=dense.shape[1], absent=absent)


def table(rng, units, features, *, density=None, negative=0.4, steps=4):
    """Dense values, mostly zero, with many ties and some negative ones."""
    share = rng.uniform(0.1, 0.9, features) if density is None else np.full(features, density)
    on = rng.random((units, features)) < share
    sign = np.where(rng.random((units, features)) < negative, -1.0, 1.0)
    coarse = np.ceil(rng.exponential(1.0, (units, features)) * steps) / steps
    fine = rng.exponential(1.0, (units, features))
    return np.where(on, sign * np.where(np.arange(features) % 2 == 0, coarse, fine), 0.0)


def labels(rng, units):
    """Labels with at least three of each."""
    y = (rng.random(units) < rng.uniform(0.3, 0.7)).astype(float)
    y[rng.permutation(units)[:6]] = [0, 0, 0, 1, 1, 1]
    return y


def halves(label, seed=0):
    """One group a row; half of each class discovers."""
    rng = np.random.default_rng(seed)
    discover = np.zeros(len(label), dtype=bool)
    for y in np.unique(label):
        members = rng.permutation(np.flatnonzero(label == y))
        discover[members[: len(members) // 2]] = True
    return discover


def detectors(rows, features, seed=0, random=45):
    """Acceptance 1: random features, the last five planted; labels alternate."""
    rng = np.random.default_rng(seed)
    label = np.arange(rows) % 2
    taken = np.argpartition(rng.random((rows, features - 5), dtype=np.float32), random, axis=1)[:, :random]
    fires = rng.random((rows, 5)) < np.where(label[:, None] == 1, 0.9, 0.02)
    row, planted = np.nonzero(fires)
    unit = np.concatenate([np.repeat(np.arange(rows), random), row])
    feature = np.concatenate([taken.ravel(), planted + features - 5])
    value = np.concatenate([rng.exponential(size=taken.size) + 0.01, rng.uniform(1, 2, len(row))]).astype(np.float32)
    return columns(unit, feature, value, units=rows, features=features), label


def noise(rng, units, features, low=0.005, high=0.5):
    """Features that know nothing: firing log-uniform, exponential values."""
    share = np.exp(rng.uniform(np.log(low), np.log(high), features))
    on = rng.random((units, features)) < share
    return np.where(on, rng.exponential(size=(units, features)) + 0.01, 0.0).astype(np.float32).astype(float)


def entries(held: Columns):
    """Triplets of a table."""
    return held.unit, held.feature, held.value
