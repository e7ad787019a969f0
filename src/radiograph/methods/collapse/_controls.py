"""What units and directions nobody picked do when they are pushed as hard: at the chosen dose, and at every dose.

1. the chosen dose of each target: matched units and random directions; p = (1 + #{net of control ≥ net})/(M + 1)
2. every dose of each target: the nearest of the matched units, for the band of each dose, and for the best over doses:
   prompts that some dose rescues, and the largest net, each beside the same maximum of every matched unit
3. all of them are one sweep over the claiming prompts; a control of which no pair is scored broke all texts
4. where the doses were chosen on the claiming prompts, the chosen one is such a maximum, and only 2 answers for it
Under 19 controls there is no p.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from radiograph.core import Site, UserError
from radiograph.evidence import Condition, Write
from radiograph.evidence.resonance import CollapseBand, CollapseControl, CollapseMaximum
from radiograph.methods.collapse import _judged
from radiograph.methods.collapse._judged import JudgedRow
from radiograph.numerics.units import control_test

if TYPE_CHECKING:
    from radiograph.interventions import BoundCondition, Statistics
    from radiograph.methods.collapse._swept import Study
    from radiograph.models import LanguageModel

Pairs = Sequence[tuple[JudgedRow, JudgedRow]]
KINDS = ("units", "haar", "covariance")


@dataclass(frozen=True, slots=True)
class Asked:
    """How many controls."""

    units: int
    """Matched units at the chosen dose."""
    band: int
    """Of those, the nearest at every dose."""
    directions: int


@dataclass(frozen=True, slots=True, eq=False)
class Control:
    """One control of one condition."""

    kind: str
    of: str
    number: int
    bound: BoundCondition
    distance: float | None


@dataclass(frozen=True, slots=True)
class Effect:
    """What some pairs show."""

    net: float
    rescued: float
    """Share of the scored pairs."""
    broken: float
    saved: frozenset[tuple[str, int]]
    """Prompts that are rescued."""

    @classmethod
    def of(cls, pairs: Pairs) -> Effect:
        """Of baseline and written texts."""
        kept = _judged.scored(pairs)
        if not kept:
            return cls(-1.0, 0.0, 1.0, frozenset())
        saved = frozenset(a.row.key for a, b in kept if a.judged.collapsed and not b.judged.collapsed)
        broken = sum(bool(b.judged.collapsed) and not a.judged.collapsed for a, b in kept)
        return cls((len(saved) - broken) / len(kept), len(saved) / len(kept), broken / len(kept), saved)


@dataclass(frozen=True, eq=False)
class Found:
    """Every control of a run."""

    controls: tuple[CollapseControl, ...] = ()
    band: tuple[CollapseBand, ...] = ()
    maximum: tuple[CollapseMaximum, ...] = ()
    table: tuple[dict[str, Any], ...] = ()


def by_target(conditions: Iterable[Condition]) -> dict[str, list[Condition]]:
    """Conditions that write at one place in one way, at several doses."""
    out: dict[str, list[Condition]] = {}
    for condition in conditions:
        if condition.writes:
            out.setdefault("; ".join(f"{w.target}:{w.op}@{w.positions}" for w in condition.writes), []).append(
                condition
            )
    return out


def single(condition: Condition) -> Write:
    """The write of a condition that can have controls.

    Raises:
        UserError: several writes.
    """
    if len(condition.writes) != 1:
        raise UserError("no controls are defined for writes that act together", got=condition.name, fix="--controls 0")
    return condition.writes[0]


def check(model: LanguageModel, conditions: Sequence[Condition], statistics: Statistics) -> None:
    """Whether every condition can have controls, before anything is decoded.

    Raises:
        UserError: one that cannot.
    """
    from radiograph.interventions import unit_controls

    for condition in conditions:
        if condition.writes:
            write = single(condition)
            matching: Any = statistics.get(write.site)
            unit_controls(model, write, 1, statistics=statistics, matching=matching)


def controls_of(
    study: Study,
    targets: Mapping[str, Sequence[Condition]],
    chosen: Sequence[Condition],
    pairs: Mapping[str, Pairs],
    base: Sequence[JudgedRow],
    places: Sequence[int],
    statistics: Statistics,
    asked: Asked,
) -> Found:
    """Controls of every target whose chosen condition has scored pairs."""
    names = {condition.name for condition in chosen}
    plan = [
        control
        for conditions in targets.values()
        for condition in conditions
        for control in _planned(study, condition, condition.name in names, statistics, asked)
    ]
    if not plan:
        return Found()
    bound = list({control.bound.name: control.bound for control in plan}.values())
    groups = _judged.conditions(study.judged(study.swept("controls", bound, places), quickly=True))
    effects = {name: Effect.of(_judged.paired(base, rows)) for name, rows in groups.items()}
    own = {name: Effect.of(both) for name, both in pairs.items()}
    found: dict[tuple[str, str], list[Control]] = {}
    for control in plan:
        found.setdefault((control.of, control.kind), []).append(control)

    def nulls(condition: str, kind: str) -> list[Effect]:
        return [effects[control.bound.name] for control in found.get((condition, kind), ())]

    placed = [
        _placed(kind, name, own[name].net, [effect.net for effect in nulls(name, kind)])
        for name in (condition.name for condition in chosen)
        for kind in KINDS
        if nulls(name, kind)
    ]
    return Found(
        controls=_with_q(placed),
        band=tuple(_band(name, nulls(name, "units")) for name in pairs if nulls(name, "units")),
        maximum=tuple(
            one
            for target, conditions in targets.items()
            if len(conditions) > 1
            and (one := _maximum(target, [c.name for c in conditions], names, own, found, effects, base))
        ),
        table=tuple(_line(control, effects[control.bound.name]) for control in plan),
    )


def _planned(study: Study, condition: Condition, chosen: bool, statistics: Statistics, asked: Asked) -> list[Control]:
    from radiograph.interventions import bind, direction_controls, unit_controls

    write, name = single(condition), condition.name
    matching: Any = statistics[write.site]
    out: list[Control] = []
    if count := max(asked.units, asked.band) if chosen else asked.band:
        units = unit_controls(study.model, write, count, statistics=statistics, matching=matching)
        bound = bind(study.model, [unit.condition for unit in units], statistics=statistics)
        out += [Control("units", name, u.unit, b, u.distance) for u, b in zip(units, bound, strict=True)]
    for cloud in ("haar", "covariance") if chosen and asked.directions else ():
        out_site: Any = statistics[str(Site("mlp_out", Site.parse(write.site).layer))]
        made = direction_controls(
            study.model,
            write,
            asked.directions,
            statistics=statistics,
            cloud=cloud,
            covariance=out_site.covariance,
            seed=study.ctx.seed,
        )
        bound = bind(study.model, made.conditions, statistics=statistics, directions=made.directions)
        out += [Control(cloud, name, number, b, None) for number, b in enumerate(bound)]
    return out


def _placed(kind: Any, condition: str, net: float, nets: Sequence[float]) -> CollapseControl:
    test = control_test(net, nets)
    low, median, high = _quantiles(nets)
    return CollapseControl(
        kind=kind,
        condition=condition,
        n=test.controls,
        rank=test.rank,
        net=net,
        null_low=low,
        null_median=median,
        null_high=high,
        p=test.p,
        smallest=test.smallest,
        note=test.note,
    )


def _band(condition: str, effects: Sequence[Effect]) -> CollapseBand:
    return CollapseBand(
        condition=condition,
        n=len(effects),
        rescued=_quantiles([effect.rescued for effect in effects]),
        broken=_quantiles([effect.broken for effect in effects]),
        net=_quantiles([effect.net for effect in effects]),
    )


def _maximum(
    target: str,
    names: Sequence[str],
    chosen: Collection[str],
    own: Mapping[str, Effect],
    found: Mapping[tuple[str, str], Sequence[Control]],
    effects: Mapping[str, Effect],
    base: Sequence[JudgedRow],
) -> CollapseMaximum | None:
    """Of the tested unit, and of every unit that was run at all of the doses; None without such a unit."""
    mine = [own[name] for name in names if name in own]
    units: dict[int, list[Effect]] = {}
    for name in names:
        for control in found.get((name, "units"), ()):
            units.setdefault(control.number, []).append(effects[control.bound.name])
    every = [done for done in units.values() if len(done) == len(names)]
    if not every:
        return None
    rescued, net = len(_saved(mine)), max((effect.net for effect in mine), default=-1.0)
    saved, nets = [float(len(_saved(one))) for one in every], [max(e.net for e in one) for one in every]
    first, second = control_test(float(rescued), saved), control_test(net, nets)
    return CollapseMaximum(
        target=target,
        condition=next((name for name in names if name in chosen), None),
        doses=len(names),
        rescued=rescued,
        collapsed=sum(bool(row.judged.collapsed) for row in base),
        net=net,
        n=len(every),
        rescued_median=_quantiles(saved)[1],
        rescued_high=_quantiles(saved)[2],
        rescued_p=first.p,
        net_median=_quantiles(nets)[1],
        net_high=_quantiles(nets)[2],
        net_p=second.p,
        smallest=first.smallest,
        note=first.note,
    )


def _saved(effects: Iterable[Effect]) -> frozenset[tuple[str, int]]:
    return frozenset(key for effect in effects for key in effect.saved)


def _quantiles(values: Sequence[float]) -> tuple[float, float, float]:
    low, median, high = np.quantile(values, [0.05, 0.5, 0.95])
    return float(low), float(median), float(high)


def _with_q(found: Sequence[CollapseControl]) -> tuple[CollapseControl, ...]:
    """Adjusted p over targets, each kind by itself."""
    from radiograph.numerics.multiplicity import q_values

    out = list(found)
    for kind in KINDS:
        places = [k for k, one in enumerate(found) if one.kind == kind and one.p is not None]
        q = q_values(np.array([found[k].p for k in places], dtype=float)) if places else []
        for place, value in zip(places, q, strict=True):
            out[place] = found[place].model_copy(update={"q": float(value)})
    return tuple(out)


def deciding(
    targets: Mapping[str, Sequence[Condition]], found: Found, chosen: Collection[str], *, parted: bool
) -> dict[str, float | None]:
    """Chosen condition to the q, over targets, that says whether matched units do as much.

    A dose that was chosen among several on the very prompts that make the claim is compared with the best dose of every
    matched unit: at that one dose the units have had no choice.
    """
    from radiograph.numerics.multiplicity import q_values

    alone = {one.condition: one.p for one in found.controls if one.kind == "units"}
    best = {one.target: one.net_p for one in found.maximum}
    p: dict[str, float | None] = {}
    for target, conditions in targets.items():
        for condition in conditions:
            if condition.name in chosen:
                picked = not parted and len(conditions) > 1
                p[condition.name] = best.get(target) if picked else alone.get(condition.name)
    known = [name for name, value in p.items() if value is not None]
    q = q_values(np.array([p[name] for name in known], dtype=float)) if known else []
    return dict.fromkeys(p) | {name: float(value) for name, value in zip(known, q, strict=True)}


def _line(control: Control, effect: Effect) -> dict[str, Any]:
    return {
        "condition": control.of,
        "kind": control.kind,
        "number": control.number,
        "control": control.bound.name,
        "distance": control.distance,
        "net": effect.net,
        "rescued": effect.rescued,
        "broken": effect.broken,
    }
