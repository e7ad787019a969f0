"""Learned rules on reserved tokens: precision, recall, F1. Nobody is asked.

Beside it the rule of another feature on the same tokens, one more for every seed, and no rule, which names nothing.
Scores follow from two tables of counts alone, so anybody can compute them again.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import numpy as np

from radiograph.core import derive
from radiograph.evidence.explanations import FeatureScore, RuleRecord
from radiograph.explanations._rules import Measured, counts_of, measured_counts, restored
from radiograph.explanations.texts._contexts import Windowed
from radiograph.explanations.texts._literals import table
from radiograph.explanations.texts._passages import Material
from radiograph.numerics.explanations import Counted, applied, balanced_interval, f1

Columns = dict[str, list[Any]]
_WINDOWS: Final = ("windows_firing", "windows_silent", "windows_firing_named", "windows_silent_named")


def counts(
    rules: Sequence[RuleRecord | None], reserved: Material, windowed: Windowed, seeds: Sequence[int]
) -> tuple[Columns, Columns]:
    """Counts of the features that have a rule: a line a feature, and a line a feature and group of texts.

    A window counts as named where the rule names a token of it.
    """
    numbers, literals = restored(list(rules))
    named = applied(numbers, table(reserved.passages, literals))
    found = counts_of(named, reserved)
    told = np.flatnonzero([rule is not None for rule in rules])
    hits, fired, size = _hits(named, reserved.fires), found.fired.sum(axis=1), found.named.sum(axis=1)
    shifts = [1 + derive(seed, "other rule") % (len(told) - 1) for seed in seeds] if len(told) > 1 else []
    others = np.array([np.roll(told, shift) for shift in shifts], np.int64).reshape(len(shifts), len(told)).T
    whole: Columns = {
        "feature": reserved.numbers[told].tolist(),
        "hits": hits[told, told].astype(int).tolist(),
        "fired": fired[told].astype(int).tolist(),
        "named": size[told].astype(int).tolist(),
        "other_hits": hits[others, told[:, None]].astype(int).tolist(),
        "other_named": size[others].astype(int).tolist(),
        **_windows(named, windowed, told),
    }
    row, group = np.nonzero((found.fired[told] + found.named[told]) > 0)
    at = told[row], group
    parts = {"hits": found.hits, "fired": found.fired, "named": found.named}
    by_group: Columns = {"feature": reserved.numbers[at[0]].tolist(), "group": group.tolist()}
    return whole, by_group | {name: part[at].astype(int).tolist() for name, part in parts.items()}


def scores(whole: Columns, by_group: Columns, ids: Sequence[str], tokens: int, groups: int) -> list[FeatureScore]:
    """What follows from the counts; `ids` are those of the lines of `whole`.

    Raises:
        ValueError: the groups of a feature do not add up to its line.
    """
    place = {feature: n for n, feature in enumerate(whole["feature"])}
    tables = np.zeros((3, len(place), groups))
    row = np.array([place[feature] for feature in by_group["feature"]], np.int64)
    for part, name in zip(tables, ("hits", "fired", "named"), strict=True):
        np.add.at(part, (row, np.array(by_group["group"], np.int64)), np.array(by_group[name], np.float64))
        wrong = np.flatnonzero(part.sum(axis=1) != np.array(whole[name], np.float64))
        if len(wrong):
            raise ValueError(f"{name} of feature {whole['feature'][wrong[0]]}: the groups do not add up")
    worth = measured_counts(Counted(*tables), tokens, None, seed=0)
    return [_score(whole, worth, n, name) for n, name in enumerate(ids)]


def _score(whole: Columns, worth: Measured, n: int, name: str) -> FeatureScore:
    held = worth.held(n)
    fires = held.fired > 0
    hits, named = (np.array(whole[column][n], np.float64) for column in ("other_hits", "other_named"))
    of_others = f1(hits, np.full(len(hits), float(held.fired)), named)
    known = of_others[~np.isnan(of_others)]
    other = float(known.mean()) if len(known) else None
    return FeatureScore(
        feature=whole["feature"][n],
        feature_id=name,
        scorer="rule",
        value=held.f1 if fires else None,
        low=held.low if fires else None,
        high=held.high if fires else None,
        n=worth.n,
        other=other,
        empty=0.0,
        lift=None if other is None or held.f1 is None or not fires else held.f1 - other,
        chance=held.chance,
        precision=held.precision,
        recall=held.recall,
        windows=_of_windows(*(whole[column][n] for column in _WINDOWS)),
        code=None if fires else "few_contexts",
    )


def _of_windows(firing: int, silent: int, firing_named: int, silent_named: int) -> float | None:
    """Balanced accuracy."""
    if not firing or not silent:
        return None
    return balanced_interval((firing_named, silent - silent_named), (firing, silent)).value


def _hits(named: Any, fires: Any) -> np.ndarray:
    """[feature, feature]: tokens that the rule of one names and that fire another."""
    marks = fires.copy()
    marks.data = np.ones_like(marks.data)
    return np.asarray((named @ marks.T).todense(), np.float64)


def _windows(named: Any, windowed: Windowed, told: np.ndarray) -> Columns:
    """Windows that fire and that do not, and how many of each are named."""
    of, many = windowed.windows.of, len(windowed.windows.first)
    found = np.zeros((len(told), len(_WINDOWS)), np.int64)
    for row, place in enumerate(told.tolist()):
        fires, says = np.zeros(many, bool), np.zeros(many, bool)
        fires[windowed.firing(place)] = True
        own: Any = named[place]
        says[of[own.indices]] = True
        found[row] = fires.sum(), (~fires).sum(), (fires & says).sum(), (~fires & says).sum()
    return {name: found[:, n].tolist() for n, name in enumerate(_WINDOWS)}
