"""Numbers of a study as findings: the candidates, each with its statistic, n, interval, null, p, q, grade and codes."""

from __future__ import annotations

import math
from collections import Counter
from typing import Any, Final, Literal

import numpy as np

from radiograph.evidence.features import (
    GRADES,
    Design,
    Discovered,
    EffectSize,
    Finding,
    Power,
    Ranking,
    Rate,
    Stability,
    Statistic,
    StatisticN,
    Study,
)
from radiograph.methods._inspect.options import Asked
from radiograph.methods._inspect.rows import StudyRows
from radiograph.methods._inspect.study import ranks
from radiograph.numerics.association import Findings, Units, units_of

NULLS: Final = {
    "between": "labels permuted between groups",
    "within": "labels exchanged inside groups",
    "mixed": "labels permuted inside groups that hold both, and between the others",
    "continuous": "scores permuted between groups",
}
NAMES: Final[dict[str, Literal["auroc", "pairs", "spearman"]]] = {
    "between": "auroc",
    "within": "pairs",
    "mixed": "auroc",
    "continuous": "spearman",
}
ANALYTIC: Final = {"between": "delong", "within": "score", "mixed": "delong", "continuous": "fisher"}


def ranking(found: Findings, ids: list[str], codes: list[str], criterion: str, design: Design) -> Ranking:
    """The candidates, best first."""
    rank = ranks(found)
    place = np.searchsorted(found.screen.feature, found.candidates.feature)
    order = np.argsort(rank[place], kind="stable")
    findings = [_finding(found, i, int(place[i]), ids, codes, criterion, design) for i in order.tolist()]
    return Ranking(kind="correlational", findings=tuple(findings))


def study_record(found: Findings, rows: StudyRows, pool: str, asked: Asked) -> Study:
    """What was done, and what it could have seen."""
    units = units_of(
        rows.group,
        rows.label,
        rows.discover,
        stratum=rows.stratum,
        name=rows.name,
        continuous=rows.continuous,
        seed=asked.settings.seed,
    )
    halves = [units.among(units.discover), units.among(~units.discover)]
    eligible = int(found.screen.eligible.sum())
    settings = asked.settings
    return Study(
        design=Design(
            name=found.design,
            units=found.units,
            groups=found.groups,
            positive=_pair(halves, "positive"),
            negative=_pair(halves, "negative"),
            dropped=found.dropped,
            left=units.left,
            near_miss=found.near,
            pool=pool,
            stratify=asked.stratify,
            null=NULLS[found.design],
            null_value=found.null,
        ),
        candidates=len(found.candidates.feature),
        q=settings.q,
        fdr=settings.fdr,
        permutations=found.permutations,
        bootstrap=settings.bootstrap,
        tested=int(found.facts.measured.sum()),
        eligible=eligible,
        few_active=int(found.facts.measured.sum()) - eligible,
        sham=found.sham,
        rank_stability=found.rank_stability,
        detectable=found.detectable,
        smallest_effect=settings.smallest_effect,
        units_needed=found.needed,
        preselected=settings.preselected,
        censored=settings.censored,
    )


def counts(grades: Any) -> dict[str, int]:
    """How many features have each grade, low to high; grades that none has are left out."""
    found = Counter(map(str, grades))
    return {grade: found[grade] for grade in GRADES["correlational"] if found[grade]}


def _finding(
    found: Findings, i: int, place: int, ids: list[str], codes: list[str], criterion: str, design: Design
) -> Finding:
    c = found.candidates
    screened = found.screen
    low, high = number(c.low[i]), number(c.high[i])
    n = StatisticN(units=found.units[1], groups=found.groups[1], active=int(c.active[i]))
    statistic = Statistic(
        name=NAMES[found.design],
        estimate=float(c.estimate[i]),
        interval=None if low is None or high is None else (low, high),
        method=None if low is None else "cluster_bootstrap" if c.resampled[i] else ANALYTIC[found.design],
        n=n,
        null=NULLS[found.design],
        p=number(c.p[i]),
        q=number(c.q[i]),
        family=len(c.feature),
    )
    selection, agreement = number(c.selection[i]), number(c.agreement[i])
    stability = None
    if selection is not None and agreement is not None:
        stability = Stability(selection=selection, agreement=agreement, intraclass=number(c.intraclass[i]))
    needed = number(c.needed[i])
    return Finding(
        kind="correlational",
        feature=ids[place],
        criterion=criterion,
        grade=str(found.grade[place]),
        codes=tuple(codes[place].split(",")) if codes[place] else (),
        statistic=statistic,
        discover=Discovered(estimate=float(screened.estimate[place]), z=float(screened.z[place])),
        effect_size=EffectSize(r=number(c.r[i]), g=number(c.g[i])),
        recall=_rate(c.recall[i], design.positive[1]),
        false_firing=_rate(c.false_firing[i], design.negative[1]),
        lift=number(c.lift[i]),
        near_miss=_near(found, i),
        stability=stability,
        power=Power(detectable=float(c.detectable[i]), units_needed=None if needed is None else int(needed)),
        p_analytic=number(c.p_analytic[i]),
        p_permutation=number(c.p_permutation[i]),
        p_family=number(c.p_family[i]),
    )


def _near(found: Findings, i: int) -> Statistic | None:
    estimate, low, high = (number(x) for x in found.candidates.near[i])
    if estimate is None or found.near is None:
        return None
    return Statistic(
        name="auroc",
        estimate=estimate,
        interval=None if low is None or high is None else (low, high),
        method=None if low is None else "delong",
        n=StatisticN(units=sum(found.near), groups=found.groups[1]),
        null="positives and near misses alike",
    )


def _rate(values: np.ndarray, n: int) -> Rate | None:
    estimate, low, high = (number(x) for x in values)
    if estimate is None or low is None or high is None:
        return None
    return Rate(estimate=estimate, interval=(low, high), n=n)


def _pair(halves: list[Units], name: str) -> tuple[int, int]:
    return getattr(halves[0], name), getattr(halves[1], name)


def number(value: Any) -> float | None:
    """None for what was not measured."""
    return float(value) if math.isfinite(value) else None
