"""Would other halves of the same groups have found the same features?

1. groups are dealt into 10 folds, apart by which labels they hold; sums of each fold are additive
2. 20 random halves of five folds; r of every feature in both halves (point-biserial, Pearson, or m of pairs), from sums
   about the feature's overall mean
3. selection: how often of the 40 halves a feature is among the K largest |r|, or among the larger half where fewer than
   2K are eligible: to be chosen has to mean something, so one feature alone has none. Sign agreement: share of the 20
   splits in which both halves have one sign; Spearman correlation of |r| between halves, mean over splits

Two numbers a feature and split are all that is kept, so that features can be streamed.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from radiograph.core.seeds import derive
from radiograph.core.shapes import Float32, Float64, Int64
from radiograph.numerics.association._columns import Columns, added
from radiograph.numerics.audit.stability import spearman

FOLDS = 10
SPLITS = 20


class Stability(NamedTuple):
    """How well a ranking repeats."""

    selection: Float64[np.ndarray, " feature"]
    """NaN where there is nothing to choose from."""
    sign: Float64[np.ndarray, " feature"]
    rank: float | None
    """Mean correlation of |r| between halves; None where nothing varies."""


def folds(
    group: Int64[np.ndarray, " unit"], label: Float64[np.ndarray, " unit"], *, continuous: bool, seed: int
) -> Int64[np.ndarray, " unit"]:
    """The fold of each unit."""
    names, place = np.unique(group, return_inverse=True)
    kind = np.zeros(len(names), np.int64)
    if not continuous:
        np.bitwise_or.at(kind, place, np.where(label == 1, 1, 2))
    luck = np.random.default_rng(derive(seed, "folds")).random(len(names))
    fold = np.empty(len(names), np.int64)
    fold[np.lexsort((luck, kind))] = np.arange(len(names)) % FOLDS
    return fold[place]


def split_halves(seed: int) -> Float64[np.ndarray, "fold split"]:
    """1 where a fold belongs to the first half."""
    generator = np.random.default_rng(derive(seed, "halves"))
    halves = np.zeros((FOLDS, SPLITS))
    for split in range(SPLITS):
        halves[generator.permutation(FOLDS)[: FOLDS // 2], split] = 1
    return halves


def half_correlations(
    table: Columns,
    label: Float64[np.ndarray, " unit"],
    stratum: Int64[np.ndarray, " unit"],
    fold: Int64[np.ndarray, " unit"],
    halves: Float64[np.ndarray, "fold split"],
) -> Float32[np.ndarray, "feature half"]:
    """R in the first halves, then in the second ones; strata are centred apart. NaN where nothing varies."""
    strata = int(stratum.max(initial=0)) + 1
    parts = FOLDS * strata
    part = fold * strata + stratum
    key = table.feature * parts + part[table.unit]
    size = table.features * parts
    n_all = np.bincount(part, minlength=parts).astype(np.float64)
    y = label - label.mean()
    y_all = added(part, y, parts)
    stored = np.bincount(key, minlength=size).reshape(-1, parts).astype(np.float64)
    missing = table.absent == "missing"
    n = table.stored if missing else np.full(table.features, len(label))
    centre = table.sums(table.value) / np.maximum(n, 1)
    x = table.value - centre[table.feature]
    own = y[table.unit]
    sums: dict[str, np.ndarray] = {
        "x": added(key, x, size).reshape(-1, parts),
        "xx": added(key, x * x, size).reshape(-1, parts),
        "xy": added(key, x * own, size).reshape(-1, parts),
    }
    y_stored = added(key, own, size).reshape(-1, parts)
    yy = np.square(label - label.mean())
    if missing:
        sums |= {"n": stored, "y": y_stored}
        sums["yy"] = added(key, yy[table.unit], size).reshape(-1, parts)
    else:
        zeros = n_all - stored
        sums["x"] -= zeros * centre[:, None]
        sums["xx"] += zeros * np.square(centre)[:, None]
        sums["xy"] -= (y_all - y_stored) * centre[:, None]
        sums |= {"n": n_all[None], "y": y_all[None], "yy": added(part, yy, parts)[None]}
    return np.concatenate([_correlation(sums, strata, halves), _correlation(sums, strata, 1 - halves)], axis=1)


def half_contrasts(
    differences: Columns, fold: Int64[np.ndarray, " pair"], halves: Float64[np.ndarray, "fold split"]
) -> Float32[np.ndarray, "feature half"]:
    """M of pairs in the first halves, then in the second ones."""
    key = differences.feature * FOLDS + fold[differences.unit]
    size = differences.features * FOLDS
    d = differences.value
    total = added(key, d, size).reshape(-1, FOLDS)
    squares = added(key, d * d, size).reshape(-1, FOLDS)
    if differences.absent == "missing":
        n = np.bincount(key, minlength=size).reshape(-1, FOLDS).astype(np.float64)
    else:
        n = np.bincount(fold, minlength=FOLDS).astype(np.float64)[None]
    both = np.concatenate([halves, 1 - halves], axis=1)
    below = np.sqrt((n @ both) * (squares @ both))
    return _over(total @ both, below)


def stability(halves: Float32[np.ndarray, "feature half"], candidates: int) -> Stability:
    """Selection, sign agreement and rank correlation of features that were eligible."""
    features, columns = halves.shape
    if not features:
        return Stability(np.zeros(0), np.zeros(0), None)
    strength = np.nan_to_num(np.abs(halves), nan=-1.0)
    kept = min(candidates, features // 2)
    # Ties at the last place are shared out by index, as in the selection itself.
    chosen = np.argsort(-strength, axis=0, kind="stable")[:kept]
    selection = np.bincount(chosen.ravel(), minlength=features) / columns if kept else np.full(features, np.nan)
    one, two = halves[:, : columns // 2], halves[:, columns // 2 :]
    sign = (np.sign(one) * np.sign(two) > 0).mean(axis=1)
    known = ~np.isnan(halves).any(axis=1)
    one, two = np.abs(one[known]).astype(np.float64), np.abs(two[known]).astype(np.float64)
    found = [rho for split in range(columns // 2) if (rho := spearman(one[:, split], two[:, split])) is not None]
    return Stability(selection, sign, float(np.mean(found)) if found else None)


def _correlation(
    sums: dict[str, np.ndarray], strata: int, halves: Float64[np.ndarray, "fold split"]
) -> Float32[np.ndarray, "feature split"]:
    own = {name: _halved(values, strata, halves) for name, values in sums.items()}
    n = np.maximum(own["n"], 1)
    xy = (own["xy"] - own["x"] * own["y"] / n).sum(axis=1)
    xx = (own["xx"] - own["x"] ** 2 / n).sum(axis=1)
    yy = (own["yy"] - own["y"] ** 2 / n).sum(axis=1)
    # What is left of a spread by rounding alone is no spread.
    real = xx > 1e-12 * np.abs(own["xx"]).sum(axis=1)
    return _over(xy, np.sqrt(np.where(real, xx, 0.0) * np.maximum(yy, 0.0)))


def _halved(
    values: Float64[np.ndarray, "some part"], strata: int, halves: Float64[np.ndarray, "fold split"]
) -> Float64[np.ndarray, "some stratum split"]:
    return np.einsum("fds,dh->fsh", values.reshape(len(values), FOLDS, strata), halves)


def _over(above: np.ndarray, below: np.ndarray) -> Float32[np.ndarray, "feature half"]:
    above, below = np.broadcast_arrays(above, below)
    return np.divide(above, below, out=np.full(above.shape, np.nan), where=below > 0).astype(np.float32)
