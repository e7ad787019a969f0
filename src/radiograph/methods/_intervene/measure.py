"""The features of an order, one after the other: discover, choose, confirm."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from radiograph.core import Refusal, UserError
from radiograph.evidence.interventions import OrderedCondition
from radiograph.methods._causal.judge import choose
from radiograph.methods._intervene.options import Options
from radiograph.methods._intervene.prepare import conditions_of, controls_for
from radiograph.methods._intervene.study import Study
from radiograph.methods._intervene.tested import Tested

if TYPE_CHECKING:
    import polars

    from radiograph.interventions.features import Control


@dataclass(frozen=True, eq=False)
class Planned:
    """One feature with all that is done to it."""

    tested: Tested
    conditions: Sequence[OrderedCondition]
    controls: Sequence[Control]


def planned_of(
    study: Study,
    every: Sequence[Tested],
    config: Options,
    seed: int,
    barred: Mapping[str, Sequence[int]] | None = None,
) -> list[Planned]:
    """Conditions and controls of every feature; `barred` ones are no controls, by the hash of their codec.

    Raises:
        UserError: a dose that has no size for a feature, a feature twice, a write that the outcome cannot show.
    """
    for one in every:
        study.outcome.require_after(one.site)
    names = [one.id for one in every]
    if twice := [name for name in dict.fromkeys(names) if names.count(name) > 1]:
        raise UserError(f"{', '.join(twice[:3])} is named twice", fix="name each feature once", code="bad_value")
    return [
        Planned(
            one,
            conditions_of(study, one, config.dose, config.unit),
            controls_for(study, one, every, seed, barred or {}),
        )
        for one in every
    ]


def discovered(study: Study, one: Planned, name: str) -> polars.DataFrame:
    """Rows of the discover half.

    Raises:
        Refusal: no row of it was moved.
    """
    found = study.discover(one.tested, one.conditions, name)
    if not len(found):
        raise Refusal("no_push", f"{one.tested.id} is where it is put on every prompt: nothing was moved")
    return found


def confirmed(study: Study, one: Planned, found: polars.DataFrame, name: str, seed: int) -> polars.DataFrame:
    """Rows of the confirm half."""
    return study.confirm(one.tested, one.conditions, found, one.controls, name, seed)


def costs_of(study: Study, one: Planned, found: polars.DataFrame, name: str, seed: int) -> list[dict[str, Any]]:
    """What each condition costs on neutral text, and what is said under the one that discover (`found`) chose."""
    graded = choose(found, seed=seed, limits=study.limits)["dose"][0]
    rows = study.costs(one.tested, one.conditions, name)
    return [
        {"feature_id": one.tested.id, "verb": c.verb, "dose": c.dose, "dose_unit": c.unit, **row}
        | (study.continuations(one.tested, c) if c.dose == graded else {})
        for c, row in zip(one.conditions, rows, strict=True)
    ]


def guarded_of(study: Study, one: Planned, found: polars.DataFrame, seed: int) -> list[dict[str, Any]]:
    """Answers to the suites of --guard under the condition that discover (`found`) chose."""
    graded = choose(found, seed=seed, limits=study.limits)["dose"][0]
    return [row for c in one.conditions if c.dose == graded for row in study.guarded(one.tested, c)]


def measure(
    study: Study, planned: Sequence[Planned], places: Iterable[int], seed: int
) -> tuple[polars.DataFrame, list[dict[str, Any]], list[dict[str, Any]]]:
    """Rows of the features at these places, what their conditions cost, and answers to suites."""
    import polars as pl

    parts: list[pl.DataFrame] = []
    costs: list[dict[str, Any]] = []
    guards: list[dict[str, Any]] = []
    for place in places:
        one, name = planned[place], f"{place:04d}"
        found = discovered(study, one, name)
        parts += [found, confirmed(study, one, found, name, seed)]
        costs += costs_of(study, one, found, name, seed)
        guards += guarded_of(study, one, found, seed)
        study.forget()
    return pl.concat(parts, how="diagonal"), costs, guards
