"""Discover on one half, confirm on the other: the whole protocol on arrays.

1. `study`, `screen`, `select` (`_study`): halves, eligibility without labels, K candidates from discover
2. on confirm, for candidates alone: estimate, interval, p, q over the candidates, effect sizes, firing
3. p: analytic if ≥ 30 units lie outside the largest tie, and 5 of them are expected in the smaller class, else by
   permutation; a mixed design by permutation only. Where
   the two differ by more than 3 and one is below 0.05, the larger (`p_disagreement`). A permutation p cannot be less
   than 1/(1 + B), so the analytic one is not held against it below that.
4. confirmed: q ≤ the level and the sign of discover. A candidate without p counts in the family of the others. The same
   steps on sham labels give the sham count.
5. positives against near misses; random halves; intraclass correlation of paraphrases
6. no finding is a result: `none_adequate` if a dense feature of the smallest effect of interest would have been found
   and every candidate was tested, else `none_inconclusive` with the units that would do

Nothing measured on confirm chooses anything. Sources: Benjamini and Hochberg (1995), Westfall and Young (1993), Bourgon
et al. (2010), Phipson and Smyth (2010).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from radiograph.core.seeds import derive
from radiograph.core.shapes import Bool, Float64, Int64, Num, Shaped
from radiograph.numerics.association._columns import Columns
from radiograph.numerics.association._grades import Facts, Outcome, codes, grades, outcome_of
from radiograph.numerics.association._measure import (
    Measured,
    limits,
    measured,
    null_value,
    resampled_limits,
    sizes,
    z_of,
)
from radiograph.numerics.association._power import dense_mde, needed_z, ranks_of, units_needed
from radiograph.numerics.association._stability import Stability, stability
from radiograph.numerics.association._study import Screen, Settings, Study, screen, select, study
from radiograph.numerics.association._units import Design, Units
from radiograph.numerics.association.estimates import (
    Limits,
    Permuted,
    exchanged,
    exchanges,
    firing,
    flips,
    intraclass,
    permuted,
    two_sided,
)
from radiograph.numerics.multiplicity import Fdr, q_values
from radiograph.numerics.proportions import wilson

LOOSE = 30
"""Units outside the largest tie from which the normal law of ranks is trusted,"""
FEWEST_EXPECTED = 5.0
"""and so many of them expected in the smaller class: of fewer the count is far from normal."""
APART = 3.0


@dataclass(frozen=True, eq=False)
class Candidates:
    """On confirm, strongest of discover first. NaN where something was not measured."""

    feature: Int64[np.ndarray, " candidate"]
    estimate: Float64[np.ndarray, " candidate"]
    z: Float64[np.ndarray, " candidate"]
    low: Float64[np.ndarray, " candidate"]
    """The interval to quote: of the bootstrap where there is one with a width, else analytic."""
    high: Float64[np.ndarray, " candidate"]
    resampled: Bool[np.ndarray, " candidate"]
    """Whether `low` and `high` are of the cluster bootstrap."""
    analytic_low: Float64[np.ndarray, " candidate"]
    analytic_high: Float64[np.ndarray, " candidate"]
    p_analytic: Float64[np.ndarray, " candidate"]
    p_permutation: Float64[np.ndarray, " candidate"]
    p_family: Float64[np.ndarray, " candidate"]
    """Of the largest |z| of all candidates (Westfall and Young)."""
    p: Float64[np.ndarray, " candidate"]
    p_disagreement: Bool[np.ndarray, " candidate"]
    q: Float64[np.ndarray, " candidate"]
    r: Float64[np.ndarray, " candidate"]
    g: Float64[np.ndarray, " candidate"]
    active: Int64[np.ndarray, " candidate"]
    loose: Int64[np.ndarray, " candidate"]
    """Units outside the largest tie."""
    detectable: Float64[np.ndarray, " candidate"]
    needed: Float64[np.ndarray, " candidate"]
    """Units in a half that would find the effect as estimated."""
    recall: Float64[np.ndarray, "candidate 3"]
    """Estimate, low, high (Wilson)."""
    false_firing: Float64[np.ndarray, "candidate 3"]
    lift: Float64[np.ndarray, " candidate"]
    near: Float64[np.ndarray, "candidate 3"]
    """AUROC of positives against near misses, low, high."""
    selection: Float64[np.ndarray, " candidate"]
    agreement: Float64[np.ndarray, " candidate"]
    intraclass: Float64[np.ndarray, " candidate"]
    confirmed: Bool[np.ndarray, " candidate"]


@dataclass(frozen=True, eq=False)
class Pretended:
    """Candidates under sham labels, on confirm."""

    feature: Int64[np.ndarray, " sham"]
    z: Float64[np.ndarray, " sham"]
    p: Float64[np.ndarray, " sham"]


@dataclass(frozen=True, eq=False)
class Findings:
    """A study's result: all features on discover, candidates on confirm, and what the study could have seen."""

    design: Design
    screen: Screen
    candidates: Candidates
    grade: np.ndarray
    """Of every feature of `screen`, from `GRADES`."""
    codes: Bool[np.ndarray, "feature code"]
    facts: Facts
    """What grades and codes were derived from, to be stored beside them."""
    sham: int
    """Features that sham labels confirmed."""
    pretended: Pretended
    rank_stability: float | None
    detectable: float
    """Minimal detectable effect of a dense feature on confirm."""
    outcome: Outcome
    needed: int
    """Units in a half that would find the smallest effect of interest in a dense feature."""
    units: tuple[int, int]
    """In discover and confirm."""
    groups: tuple[int, int]
    dropped: int
    """Groups (of each stratum) that a within design could not use."""
    near: tuple[int, int] | None
    """Units of positives and of near misses on confirm; None below 8 of either."""
    near_design: Design | None
    permutations: int
    null: float
    """The estimate if nothing is associated."""


def associate(
    rows: Columns,
    group: Shaped[np.ndarray, " row"],
    label: Num[np.ndarray, " row"] | Bool[np.ndarray, " row"],
    discover: Bool[np.ndarray, " row"],
    *,
    near_miss: Bool[np.ndarray, " row"] | None = None,
    stratum: Shaped[np.ndarray, " row"] | None = None,
    name: Shaped[np.ndarray, " row"] | None = None,
    continuous: bool = False,
    settings: Settings | None = None,
) -> Findings:
    """The whole protocol on a table of rows × features that fits in memory."""
    given = study(
        group,
        label,
        discover,
        features=rows.features,
        near_miss=near_miss,
        stratum=stratum,
        name=name,
        continuous=continuous,
        settings=settings,
    )
    screened = screen(given, rows)
    real, sham = select(given, screened)
    return conclude(given, screened, real, sham, rows.of(np.union1d(real, sham)))


def conclude(
    given: Study,
    screened: Screen,
    real: Int64[np.ndarray, " candidate"],
    sham: Int64[np.ndarray, " sham"],
    rows: Columns,
) -> Findings:
    """Confirm; `rows` holds the features of `real` and `sham` together, by feature number."""
    both = np.union1d(real, sham)
    of_real, of_sham = np.searchsorted(both, real), np.searchsorted(both, sham)
    units = given.confirm
    cells = given.units.pooled(rows).among(~given.units.discover)
    found = measured(units, cells)
    place = np.searchsorted(screened.feature, both)
    tested, pretended, draws = _tests(given, found, of_real, of_sham)
    steady = stability(screened.halves[screened.eligible], given.family)
    made = _candidates(given, screened, found, cells, rows, real, of_real, tested, steady)
    passed = held_up(
        screened.sham[place[of_sham]], pretended.z, family_q(pretended.p, given.settings.fdr), given.settings.q
    )
    facts = _facts(given, screened, made)
    dense = dense_mde(units, given.settings.q, given.family)
    target = _smallest(given)
    return Findings(
        design=given.units.design,
        screen=screened,
        candidates=made,
        grade=grades(facts),
        codes=codes(facts),
        facts=facts,
        sham=int(passed.sum()),
        pretended=Pretended(sham, pretended.z, pretended.p),
        rank_stability=steady.rank,
        detectable=dense,
        outcome=outcome_of(facts, dense),
        needed=math.ceil(_size(units) * (dense / target) ** 2),
        units=(_size(given.discover), _size(units)),
        groups=(given.discover.groups, units.groups),
        dropped=given.units.dropped,
        near=None if given.near is None else (given.near.positive, given.near.negative),
        near_design=None if given.near is None else given.near.design,
        permutations=draws,
        null=null_value(units),
    )


class _Tested(NamedTuple):
    z: Float64[np.ndarray, " candidate"]
    analytic: Float64[np.ndarray, " candidate"]
    permuted: Permuted
    p: Float64[np.ndarray, " candidate"]
    disagreement: Bool[np.ndarray, " candidate"]


def chosen_p(
    analytic: Float64[np.ndarray, " candidate"],
    permutation: Float64[np.ndarray, " candidate"],
    loose: Int64[np.ndarray, " candidate"],
    draws: int,
    *,
    mixed: bool = False,
    rarer: float = 0.5,
) -> tuple[Float64[np.ndarray, " candidate"], Bool[np.ndarray, " candidate"]]:
    """The p to use, and where the two disagree. Without draws, few loose units leave none.

    They disagree where they differ more than threefold and either is below .05; draws cannot go below 1 in 1 + draws,
    so the analytic one is held there, unless a draw reached the statistic that should have had a chance of .05 at most
    to do so in all draws together. `rarer` is the share of the smaller class (`rarer_share`).
    """
    trusted = (loose >= LOOSE) & (loose * rarer >= FEWEST_EXPECTED) & (not mixed)
    if not draws:
        return np.where(trusted, analytic, np.nan), np.zeros(len(analytic), dtype=bool)
    held = np.maximum(analytic, 1 / (1 + draws))
    ratio = np.maximum(held, permutation) / np.minimum(held, permutation)
    reached = (permutation > 1.5 / (1 + draws)) & (analytic * draws < 0.05)
    apart = ((ratio > APART) | reached) & (np.minimum(analytic, permutation) < 0.05) & (not mixed)
    p = np.where(trusted, analytic, permutation)
    return np.where(apart, np.maximum(analytic, permutation), p), apart


def rarer_share(units: Units) -> float:
    """Share of the smaller class of units that are compared; one half where there are no two classes of them."""
    if units.design in ("within", "continuous") or not len(units):
        return 0.5
    return min(units.positive, units.negative) / len(units)


def family_q(p: Float64[np.ndarray, " candidate"], fdr: Fdr) -> Float64[np.ndarray, " candidate"]:
    """Adjusted over all candidates: one without p has no q, and makes no family smaller."""
    return np.where(np.isnan(p), np.nan, q_values(np.nan_to_num(p, nan=1.0), fdr))


def held_up(
    discover: Float64[np.ndarray, " candidate"],
    confirm: Float64[np.ndarray, " candidate"],
    q: Float64[np.ndarray, " candidate"],
    level: float,
) -> Bool[np.ndarray, " candidate"]:
    """Which candidates confirm shows again: q at most the level, and the sign of discover."""
    return (np.nan_to_num(q, nan=1.0) <= level) & (np.sign(discover) * np.sign(confirm) > 0)


def draws_of(permutations: int, family: int, q: float) -> int:
    """Draws for a family: enough for its smallest threshold, none where none are asked for."""
    return max(permutations, math.ceil(round(2 * family / q, 9))) if permutations else 0


def _tests(
    given: Study, found: Measured, real: Int64[np.ndarray, " candidate"], sham: Int64[np.ndarray, " sham"]
) -> tuple[_Tested, _Tested, int]:
    """Z and every p of the candidates under real and under sham labels, from one set of draws."""
    units, settings = given.confirm, given.settings
    z = {"real": found.law.z[real], "sham": z_of(units, found, given.sham_confirm)[sham]}
    draws = draws_of(settings.permutations, given.family, settings.q)
    own = [Permuted(np.full(len(x), np.nan), np.full(len(x), np.nan)) for x in (real, sham)]
    if draws:
        seed = derive(settings.seed, "permutations")
        if units.design == "within":
            drawn, law = flips(units.blocks, draws, seed), found.law
        else:
            weight = ranks_of(units)
            drawn = exchanges(weight, units.block, draws, seed)
            # Labels travel over units that were not measured, too: their score is zero.
            table = Columns(found.table.offsets, found.table.unit, found.table.value, found.table.units)
            law = exchanged(table, found.score, weight, units.block)
        own = permuted(found.table, found.score, drawn, law, [(real, z["real"]), (sham, z["sham"])])
    made: list[_Tested] = []
    for which, chance, kept in (("real", own[0], real), ("sham", own[1], sham)):
        analytic = two_sided(z[which])
        mixed = units.design == "mixed"
        p, apart = chosen_p(analytic, chance.p, found.loose[kept], draws, mixed=mixed, rarer=rarer_share(units))
        made.append(_Tested(z[which], analytic, chance, p, apart))
    return made[0], made[1], draws


def _candidates(
    given: Study,
    screened: Screen,
    found: Measured,
    cells: Columns,
    rows: Columns,
    real: Int64[np.ndarray, " candidate"],
    of_real: Int64[np.ndarray, " candidate"],
    tested: _Tested,
    steady: Stability,
) -> Candidates:
    units, settings = given.confirm, given.settings
    kept = cells.of(of_real)
    own = measured(units, kept)
    bounds, size = limits(units, own), sizes(units, own)
    # Analytic intervals take units as independent, which those of a mixed design are not: all are resampled.
    cards = len(real) if units.design == "mixed" else settings.cards
    best = np.lexsort((-np.abs(tested.z), tested.p))[:cards]
    wide = _resampled(units, kept, best, settings)
    resampled = wide.high > wide.low  # a perfect split has no spread to resample
    place = np.searchsorted(screened.feature, real)
    among = np.cumsum(screened.eligible) - 1
    detectable = needed_z(settings.q, given.family) * own.detectable
    effect = own.estimate - null_value(units)
    q = family_q(tested.p, settings.fdr)
    confirmed = held_up(screened.z[place], tested.z, q, settings.q) & (not settings.preselected)
    fires = firing(kept, units.classes)
    return Candidates(
        feature=real,
        estimate=own.estimate,
        z=tested.z,
        low=np.where(resampled, wide.low, bounds.low),
        high=np.where(resampled, wide.high, bounds.high),
        resampled=resampled,
        analytic_low=bounds.low,
        analytic_high=bounds.high,
        p_analytic=tested.analytic,
        p_permutation=tested.permuted.p,
        p_family=tested.permuted.family,
        p=tested.p,
        p_disagreement=tested.disagreement,
        q=q,
        r=size.r,
        g=size.g,
        active=own.table.active.astype(np.int64),
        loose=own.loose,
        detectable=detectable,
        needed=units_needed(_size(units), detectable, effect),
        recall=_proportions(fires.active_positive, fires.positive),
        false_firing=_proportions(fires.active - fires.active_positive, fires.negative),
        lift=fires.lift,
        near=_near(given, rows.of(of_real)),
        selection=steady.selection[among[place]],
        agreement=steady.sign[among[place]],
        intraclass=intraclass(rows.of(of_real), given.units.cell, given.units.rows),
        confirmed=confirmed,
    )


def _resampled(units: Units, kept: Columns, best: Int64[np.ndarray, " card"], settings: Settings) -> Limits:
    """Bootstrap intervals of the best candidates, NaN for the others."""
    low, high = np.full(kept.features, np.nan), np.full(kept.features, np.nan)
    own = measured(units, kept.of(best))
    seed = derive(settings.seed, "bootstrap")
    low[best], high[best] = resampled_limits(units, own, draws=settings.bootstrap, seed=seed)
    return Limits(low, high)


def _near(given: Study, rows: Columns) -> Float64[np.ndarray, "candidate 3"]:
    """Positives against near misses of confirm."""
    if given.near is None:
        return np.full((rows.features, 3), np.nan)
    own = measured(given.near, given.near.pooled(rows))
    low, high = limits(given.near, own)
    if given.near.design == "mixed":
        seed = derive(given.settings.seed, "near misses")
        wide = resampled_limits(given.near, own, draws=given.settings.bootstrap, seed=seed)
        kept = wide.high > wide.low
        low, high = np.where(kept, wide.low, low), np.where(kept, wide.high, high)
    return np.stack([own.estimate, low, high], axis=1)


def _facts(given: Study, screened: Screen, made: Candidates) -> Facts:
    """Candidates' numbers spread over all features."""
    place = np.searchsorted(screened.feature, made.feature)

    def spread(values: Float64[np.ndarray, " candidate"]) -> Float64[np.ndarray, " feature"]:
        out = np.full(len(screened.feature), np.nan)
        out[place] = values
        return out

    chosen = np.zeros(len(screened.feature), dtype=bool)
    chosen[place] = True
    apart = np.zeros(len(screened.feature), dtype=bool)
    apart[place] = made.p_disagreement
    return Facts(
        measured=screened.stored > 0,
        eligible=screened.eligible,
        candidate=chosen,
        discover_sign=np.sign(screened.z),
        sign=np.sign(spread(made.z)),
        q=spread(made.q),
        low=spread(made.analytic_low),
        detectable=spread(made.detectable),
        near_low=spread(made.near[:, 1]),
        near_high=spread(made.near[:, 2]),
        selection=spread(made.selection),
        agreement=spread(made.agreement),
        p_disagreement=apart,
        partial=screened.stored < len(given.units),
        level=given.settings.q,
        smallest=_smallest(given),
        preselected=given.settings.preselected,
        censored=given.settings.censored,
        surface_labels=given.settings.surface_labels,
    )


def _smallest(given: Study) -> float:
    """The smallest effect of interest; ρ is on the scale of 2·AUROC − 1."""
    return (given.settings.smallest_effect - 0.5) * (2 if given.units.design == "continuous" else 1)


def _size(units: Units) -> int:
    return units.blocks if units.design == "within" else len(units)


def _proportions(
    success: Int64[np.ndarray, " candidate"], n: Int64[np.ndarray, " candidate"]
) -> Float64[np.ndarray, "candidate 3"]:
    found = [(s / m, *wilson(s, m)) if m else (np.nan,) * 3 for s, m in zip(success.tolist(), n.tolist(), strict=True)]
    return np.array(found, dtype=np.float64).reshape(-1, 3)
