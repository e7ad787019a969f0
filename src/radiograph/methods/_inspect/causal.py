"""Interventions beside the association: whose rows they are, what they show, and the features that nobody tested.

1. rows of this model and this criterion; others are left out and counted (`--any-criterion` keeps and marks them)
2. `_causal.judge` grades every feature and outcome
3. `causal.parquet` lists all features of the study, those that were not moved as `untested`, and those that were moved
   without being part of it
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from radiograph.evidence.features import GRADES, Band, DosePoint, Finding, Ranking, Response

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import polars

    from radiograph.methods._causal.judge import Causal
    from radiograph.methods._inspect.options import Asked
    from radiograph.store.interventions import Interventions

TABLE: Final = "causal"
ROWS: Final = "causal_rows"
_ORDER = {grade: place for place, grade in enumerate(GRADES["causal"])}


@dataclass(frozen=True, eq=False)
class Tested:
    """What interventions show."""

    judged: Causal
    ranking: Ranking
    rows: polars.DataFrame
    """What was judged."""
    left_out: int
    """Rows that were made for another criterion."""
    responses: dict[str, Response]


def tested(
    given: Interventions,
    asked: Asked,
    *,
    criterion_id: str | None,
    association: Mapping[str, float],
    any_criterion: bool,
) -> Tested | None:
    """Judge the rows that fit; None where none does."""
    from radiograph.methods._causal.judge import judge

    table, left_out = given.of_criterion(criterion_id, asked.criterion, anyone=any_criterion)
    if not len(table):
        return None
    judged = judge(table, seed=asked.seed, fdr=asked.fdr, association=association)
    return Tested(judged, ranking(judged, criterion_id), table, left_out, responses(judged))


def ranking(judged: Causal, criterion_id: str | None) -> Ranking:
    """Features and outcomes that were tested, the most effective first."""
    from radiograph.methods._causal.findings import findings

    found = [f for f in findings(judged, criterion_id or "") if f.grade != GRADES["causal"][0]]
    return Ranking(kind="causal", findings=tuple(sorted(found, key=_strength)))


def columns_of(judged: Causal | None, ids: Sequence[str]) -> dict[str, Any]:
    """All features of the study and all that were moved, each with its causal line or as untested."""
    import polars as pl

    every = pl.DataFrame({"feature": pl.Series(range(len(ids)), dtype=pl.Int64), "feature_id": list(ids)})
    if judged is None:
        return {
            **every.to_dict(as_series=True),
            "grade": ["untested"] * len(ids),
            "codes": ["no_outcome"] * len(ids),
        }
    lines = judged.features
    others = lines.filter(~pl.col("feature_id").is_in(list(ids))).select("feature_id").unique().sort("feature_id")
    every = pl.concat([every, others.select(pl.lit(None, pl.Int64).alias("feature"), "feature_id")])
    table = every.join(lines, on="feature_id", how="left", maintain_order="left_right").with_columns(
        pl.col("grade").fill_null("untested"),
        pl.when(pl.col("grade").is_null()).then(pl.lit("no_outcome")).otherwise("codes").alias("codes"),
    )
    return table.to_dict(as_series=True)


def grade_counts(columns: Mapping[str, Any]) -> dict[str, int]:
    """How many lines have each grade."""
    from collections import Counter

    found = Counter(columns["grade"])
    return {grade: found[grade] for grade in GRADES["causal"] if found[grade]}


def responses(judged: Causal) -> dict[str, Response]:
    """Dose-response of every feature's first outcome on the half that judges, beside what its controls reach."""
    import polars as pl

    if not len(judged.doses):
        return {}
    half = "confirm" if (judged.doses["split"] == "confirm").any() else "discover"
    table = judged.doses.filter((pl.col("split") == half) & pl.col("dose").is_not_null()).sort(
        "feature_id", "outcome", "dose", nulls_last=True
    )
    bands = _bands(judged)
    out: dict[str, Response] = {}
    for (feature,), own in table.partition_by("feature_id", as_dict=True, maintain_order=True).items():
        first = own.filter(pl.col("outcome").eq_missing(own["outcome"][0]))
        points = tuple(_point(row, bands.get(str(feature))) for row in first.iter_rows(named=True))
        out[str(feature)] = Response(
            outcome=first["outcome"][0] or "outcome",
            unit=first["outcome_unit"][0] or "",
            dose_unit=first["dose_unit"][0] or "",
            points=tuple(point for point in points if point is not None),
        )
    return {feature: own for feature, own in out.items() if own.points}


def _bands(judged: Causal) -> dict[str, Band]:
    """The widest band of any family of controls."""
    out: dict[str, Band] = {}
    for row in judged.controls.iter_rows(named=True):
        known = out.get(row["feature_id"])
        if row["band"] is not None and (known is None or row["band"] > known.high):
            out[row["feature_id"]] = Band(low=-row["band"], high=row["band"], controls=row["n"])
    return out


def _point(row: Mapping[str, Any], band: Band | None) -> DosePoint | None:
    if row["change"] is None:
        return None
    # An effect is a change times the push: where it pushes down the bounds change places and signs.
    interval = None
    if row["low"] is not None and row["estimate"] is not None:
        turned = row["change"] * row["estimate"] < 0
        interval = (-row["high"], -row["low"]) if turned else (row["low"], row["high"])
    return DosePoint(dose=row["dose"], effect=row["change"], interval=interval, groups=row["groups"], band=band)


def _strength(finding: Finding) -> tuple[Any, ...]:
    s = finding.statistic
    p = 1.0 if s is None or s.p is None else s.p
    size = 0.0 if s is None else -abs(s.estimate)
    return (-_ORDER[finding.grade], p, size, finding.feature, finding.outcome or "")


def association_of(table: Mapping[str, Any]) -> dict[str, float]:
    """Signed association of every feature: of candidates on confirm, else on discover."""
    signed = table["z"].fill_null(table["discover_z"])
    pairs = zip(table["feature_id"].to_list(), signed.to_list(), strict=True)
    return {name: value for name, value in pairs if value is not None}
