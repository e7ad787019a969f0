"""Learned rules on reserved tokens: precision, recall, F1. Nobody is asked.

Beside it the rule of another feature on the same tokens, one more for every seed, and no rule, which names nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from radiograph.core import derive
from radiograph.evidence.explanations import FeatureScore, RuleRecord
from radiograph.explanations._rules import measured_named, restored
from radiograph.explanations.texts._contexts import Windowed
from radiograph.explanations.texts._literals import table
from radiograph.explanations.texts._passages import Material
from radiograph.numerics.explanations import applied, balanced_interval, f1


def scores(
    rules: Sequence[RuleRecord | None], reserved: Material, windowed: Windowed, seeds: Sequence[int]
) -> tuple[list[FeatureScore], dict[str, list[Any]]]:
    """Scores of the features that have a rule, and the counts they follow from."""
    numbers, literals = restored(list(rules))
    named = applied(numbers, table(reserved.passages, literals))
    worth = measured_named(named, reserved, seed=0)
    told = np.flatnonzero([rule is not None for rule in rules])
    hits = _hits(named, reserved.fires)
    size = np.asarray(named.sum(axis=1)).reshape(-1)
    others = _others(told, hits, size, worth.fired, seeds)
    windows = _windows(named, windowed)
    out: list[FeatureScore] = []
    for place in told.tolist():
        value = worth.f1[place]
        held = worth.held(place)
        fires = worth.fired[place] > 0
        other = float(np.mean(others[place])) if others.get(place) else None
        out.append(
            FeatureScore(
                feature=int(reserved.numbers[place]),
                feature_id=reserved.ids[place],
                scorer="rule",
                value=float(value) if fires else None,
                low=held.low if fires else None,
                high=held.high if fires else None,
                n=worth.n,
                other=other,
                empty=0.0,
                lift=None if other is None or not fires else float(value) - other,
                chance=held.chance,
                precision=held.precision,
                recall=held.recall,
                windows=windows.get(place),
                code=None if fires else "few_contexts",
            )
        )
    counts = {
        "feature": reserved.numbers[told].tolist(),
        "hits": hits[told, told].astype(int).tolist(),
        "fired": worth.fired[told].tolist(),
        "named": size[told].astype(int).tolist(),
    }
    return out, counts


def _hits(named: Any, fires: Any) -> np.ndarray:
    """[feature, feature]: tokens that the rule of one names and that fire another."""
    marks = fires.copy()
    marks.data = np.ones_like(marks.data)
    return np.asarray((named @ marks.T).todense(), np.float64)


def _others(
    told: np.ndarray, hits: np.ndarray, size: np.ndarray, fired: np.ndarray, seeds: Sequence[int]
) -> dict[int, list[float]]:
    """F1 of other features' rules, one for every seed."""
    found: dict[int, list[float]] = {}
    if len(told) < 2:
        return found
    for seed in seeds:
        shift = 1 + derive(seed, "other rule") % (len(told) - 1)
        other = np.roll(told, shift)
        values = f1(hits[other, told], fired[told].astype(np.float64), size[other])
        for place, value in zip(told.tolist(), values.tolist(), strict=True):
            if not np.isnan(value):
                found.setdefault(place, []).append(value)
    return found


def _windows(named: Any, windowed: Windowed) -> dict[int, float]:
    """Balanced accuracy of windows, by feature."""
    of, many = windowed.windows.of, len(windowed.windows.first)
    found: dict[int, float] = {}
    for place in range(named.shape[0]):
        fires, says = np.zeros(many, bool), np.zeros(many, bool)
        fires[windowed.firing(place)] = True
        own: Any = named[place]
        says[of[own.indices]] = True
        if fires.any() and not fires.all():
            right = int((fires & says).sum()), int((~fires & ~says).sum())
            found[place] = balanced_interval(right, (int(fires.sum()), int((~fires).sum()))).value
    return found
