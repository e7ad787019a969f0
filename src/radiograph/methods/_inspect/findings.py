"""Numbers of a study as findings: the candidates, each with its statistic, n, interval, null, p, q, grade and codes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final, Literal

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
from radiograph.numerics.association import Findings, Units

if TYPE_CHECKING:
    import polars

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


def ranking(table: polars.DataFrame, study: Study, criterion: str) -> Ranking:
    """The candidates of a table, best first."""
    chosen = table.filter("candidate").sort("rank")
    return Ranking(
        kind="correlational",
        findings=tuple(_finding(row, study, criterion) for row in chosen.iter_rows(named=True)),
    )


def study_record(found: Findings, units: Units, pool: str, asked: Asked) -> Study:
    """What was done, and what it could have seen."""
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
            near_miss_design=found.near_design,
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


def _finding(row: Mapping[str, Any], study: Study, criterion: str) -> Finding:
    design = study.design
    interval = _interval(row, "low", "high")
    statistic = Statistic(
        name=NAMES[design.name],
        estimate=row["estimate"],
        interval=interval,
        method=None if interval is None else "cluster_bootstrap" if row["resampled"] else ANALYTIC[design.name],
        n=StatisticN(units=design.units[1], groups=design.groups[1], active=row["active"]),
        null=design.null,
        p=row["p"],
        q=row["q"],
        family=study.candidates,
    )
    stability = None
    if row["selection"] is not None and row["agreement"] is not None:
        stability = Stability(selection=row["selection"], agreement=row["agreement"], intraclass=row["intraclass"])
    return Finding(
        kind="correlational",
        feature=row["feature_id"],
        criterion=criterion,
        grade=row["grade"],
        codes=tuple(row["codes"].split(",")) if row["codes"] else (),
        statistic=statistic,
        discover=Discovered(estimate=row["discover_estimate"], z=row["discover_z"]),
        effect_size=EffectSize(r=row["r"], g=row["g"]),
        recall=_rate(row, "recall", design.positive[1]),
        false_firing=_rate(row, "false_firing", design.negative[1]),
        lift=row["lift"],
        near_miss=_near(row, study),
        stability=stability,
        power=Power(detectable=row["detectable"], units_needed=None if row["needed"] is None else int(row["needed"])),
        p_analytic=row["p_analytic"],
        p_permutation=row["p_permutation"],
        p_family=row["p_family"],
    )


def _near(row: Mapping[str, Any], study: Study) -> Statistic | None:
    design, counted = study.design.near_miss_design, study.design.near_miss
    if row["near"] is None or design is None or counted is None:
        return None
    interval = _interval(row, "near_low", "near_high")
    # As limits are made there: those of a mixed design are resampled, unless nothing varies.
    resampled = design == "mixed" and study.bootstrap > 0 and 0 < row["near"] < 1
    return Statistic(
        name=NAMES[design],
        estimate=row["near"],
        interval=interval,
        method=None if interval is None else "cluster_bootstrap" if resampled else ANALYTIC[design],
        n=StatisticN(units=sum(counted), groups=study.design.groups[1]),
        null="positives and near misses alike",
    )


def _rate(row: Mapping[str, Any], name: str, n: int) -> Rate | None:
    interval = _interval(row, f"{name}_low", f"{name}_high")
    return None if row[name] is None or interval is None else Rate(estimate=row[name], interval=interval, n=n)


def _interval(row: Mapping[str, Any], low: str, high: str) -> tuple[float, float] | None:
    return None if row[low] is None or row[high] is None else (row[low], row[high])


def _pair(halves: list[Units], name: str) -> tuple[int, int]:
    return getattr(halves[0], name), getattr(halves[1], name)
