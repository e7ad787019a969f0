"""What follows from the stored numbers, derived again: p to use, q, grades, codes, counts, outcome, the ranking."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from jaxtyping import Float64

from radiograph.core import FormatError
from radiograph.evidence.features import GRADES, Finding, Inspection, Study
from radiograph.methods._inspect.causal import TABLE as CAUSAL
from radiograph.methods._inspect.causal import grade_counts
from radiograph.methods._inspect.findings import counts
from radiograph.methods._inspect.study import TABLE, code_texts
from radiograph.numerics.association import Facts, chosen_p, codes, family_q, grades, outcome_of

if TYPE_CHECKING:
    import polars

CLOSE: Final = 1e-12
_SHOWN = 5


def differences(result: Inspection, folder: Path) -> list[str]:
    """What does not follow; empty where all does."""
    found: list[str] = []
    if result.study is not None:
        found += _correlational(result, result.study, _table(folder, TABLE))
    if result.outcome != "compiled":
        found += _causal(result, _table(folder, CAUSAL))
    return found


def _correlational(result: Inspection, study: Study, table: polars.DataFrame) -> list[str]:
    chosen = table["candidate"].to_numpy()
    held = {name: _floats(table, name)[chosen] for name in ("p_analytic", "p_permutation", "loose", "p", "q")}
    p, apart = chosen_p(
        held["p_analytic"],
        held["p_permutation"],
        held["loose"].astype(np.int64),
        study.permutations,
        mixed=study.design.name == "mixed",
    )
    said = [
        *_unlike("p", p, held["p"], table["feature_id"].filter(table["candidate"]).to_list()),
        *_unlike("q", family_q(p, study.fdr), held["q"], table["feature_id"].filter(table["candidate"]).to_list()),
    ]
    facts = _facts(result, study, table, apart)
    own = grades(facts)
    stored = table["grade"].to_list()
    ids = table["feature_id"].to_list()
    said += [
        f"{ids[i]}: grade {stored[i]!r} does not follow, {own[i]!r} does"
        for i in np.flatnonzero(own != np.array(stored, dtype=object))[:_SHOWN].tolist()
    ]
    extra = tuple(dict.fromkeys(code for f in result.correlational.findings for code in f.codes if code in _OF_SOURCE))
    expected = code_texts(codes(facts), extra, facts.measured)
    said += [
        f"{name}: codes {was!r} do not follow, {now!r} do"
        for name, was, now in zip(ids, table["codes"].to_list(), expected, strict=True)
        if was != now
    ][:_SHOWN]
    if counts(own) != result.grades:
        said.append(f"grades {result.grades} do not follow, {counts(own)} do")
    outcome = outcome_of(facts, study.detectable)
    if outcome != result.outcome:
        said.append(f"outcome {result.outcome} does not follow, {outcome} does")
    rows = {row["feature_id"]: row for row in table.filter("candidate").iter_rows(named=True)}
    for finding in result.correlational.findings:
        said += _unlike_row(finding, rows.get(finding.feature))
    return said[: 4 * _SHOWN]


_OF_SOURCE: Final = frozenset({"toy_evidence", "claimed_by_source"})
_FIELDS: Final = ("estimate", "p", "q")


def _facts(result: Inspection, study: Study, table: polars.DataFrame, apart: np.ndarray) -> Facts:
    spread = np.zeros(len(table), dtype=bool)
    spread[table["candidate"].to_numpy()] = apart
    scale = 2 if study.design.name == "continuous" else 1
    return Facts(
        measured=table["measured"].to_numpy(),
        eligible=table["eligible"].to_numpy(),
        candidate=table["candidate"].to_numpy(),
        discover_sign=np.sign(np.nan_to_num(_floats(table, "discover_z"))),
        sign=np.sign(_floats(table, "z")),
        q=_floats(table, "q"),
        low=_floats(table, "analytic_low"),
        detectable=_floats(table, "detectable"),
        near_low=_floats(table, "near_low"),
        near_high=_floats(table, "near_high"),
        selection=_floats(table, "selection"),
        agreement=_floats(table, "agreement"),
        p_disagreement=spread,
        partial=table["partial"].to_numpy(),
        level=study.q,
        smallest=(study.smallest_effect - 0.5) * scale,
        preselected=study.preselected,
        censored=study.censored,
        surface_labels=result.criterion is not None and "surface_labels" in result.criterion.warnings,
    )


def _causal(result: Inspection, table: polars.DataFrame) -> list[str]:
    said: list[str] = []
    if grade_counts({"grade": table["grade"].to_list()}) != result.causal_grades:
        said.append(f"causal grades {result.causal_grades} do not follow from the table")
    outcome = "outcome" in table.columns
    rows = {(row["feature_id"], row["outcome"] if outcome else None): row for row in table.iter_rows(named=True)}
    for finding in result.causal.findings:
        said += _unlike_row(finding, rows.get((finding.feature, finding.outcome)))
    untested = GRADES["causal"][0]
    if sum(row["grade"] != untested for row in rows.values()) != len(result.causal.findings):
        said.append("the causal ranking does not hold the features that were tested")
    return said[: 4 * _SHOWN]


def _unlike_row(finding: Finding, row: dict[str, Any] | None) -> list[str]:
    if row is None:
        return [f"{finding.feature}: not in the {finding.kind} table"]
    said: list[str] = []
    if row["grade"] != finding.grade:
        said.append(f"{finding.feature}: grade {finding.grade!r} is {row['grade']!r} in the table")
    if (row["codes"] or "") != ",".join(finding.codes):
        said.append(f"{finding.feature}: codes {','.join(finding.codes)!r} are {row['codes']!r} in the table")
    for name in _FIELDS:
        mine = None if finding.statistic is None else getattr(finding.statistic, name)
        if mine != row[name] and not (mine is not None and row[name] is not None and abs(mine - row[name]) <= CLOSE):
            said.append(f"{finding.feature}: {name} {mine} is {row[name]} in the table")
    return said


def _unlike(
    name: str, own: Float64[np.ndarray, " candidate"], stored: Float64[np.ndarray, " candidate"], ids: list[str]
) -> list[str]:
    alike = np.isclose(own, stored, rtol=1e-9, atol=0, equal_nan=True)
    return [
        f"{ids[i]}: {name} {stored[i]:.6g} does not follow, {own[i]:.6g} does"
        for i in np.flatnonzero(~alike)[:_SHOWN].tolist()
    ]


def _floats(table: polars.DataFrame, name: str) -> Float64[np.ndarray, " feature"]:
    import polars as pl

    return table[name].cast(pl.Float64).fill_null(float("nan")).to_numpy()


def _table(folder: Path, name: str) -> polars.DataFrame:
    import polars as pl

    path = folder / "tables" / f"{name}.parquet"
    if not path.is_file():
        raise FormatError(f"{path.name} is missing", where=f"tables/{path.name}")
    return pl.read_parquet(path)
