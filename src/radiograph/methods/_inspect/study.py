"""The held-out protocol on streamed tables, and its numbers as a table of all features.

`correlational.parquet` holds what grades, codes and q follow from, so that anyone can derive them again
(`recompute`). NaN is null. Order: the features' own.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from radiograph.core.shapes import Bool, Float64, Int64
from radiograph.numerics.association import (
    CODES,
    GRADES,
    Findings,
    Units,
    conclude,
    joined,
    named,
    screen,
    select,
    study,
)

if TYPE_CHECKING:
    from radiograph.criteria import Compiled
    from radiograph.methods._inspect.options import Asked
    from radiograph.methods._inspect.rows import StudyRows
    from radiograph.methods._inspect.tables import Tables
    from radiograph.sources import Stored

TABLE = "correlational"
UNITS = "units"
"""What was counted: a line a unit."""
CONFIRMED = (
    *("estimate", "z", "low", "high", "resampled", "analytic_low", "analytic_high"),
    *("p_analytic", "p_permutation", "p_family", "p", "p_disagreement", "q", "r", "g"),
    *("active", "loose", "detectable", "needed", "lift", "selection", "agreement", "intraclass"),
)
"""Of candidates, on confirm."""
TRIPLES = ("recall", "false_firing", "near")
"""Estimate, low and high."""


@dataclass(frozen=True, eq=False)
class Measured:
    """The study on records."""

    asked: Asked
    rows: StudyRows
    tables: Tables
    found: Findings
    columns: dict[str, Any]
    """The table of all features."""
    units: Units

    @property
    def ids(self) -> list[str]:
        """Of all features."""
        return self.columns["feature_id"].to_list()


def measured_on(
    stored: Sequence[Stored],
    compiled: Compiled | None,
    asked: Asked,
    *,
    timed: Callable[[str], AbstractContextManager[Any]] = nullcontext,
    seen: Callable[[StudyRows], None] | None = None,
) -> Measured:
    """The study; `seen` gets the rows while they still know their split.

    Raises:
        Refusal: nothing labels a row, one class, too few units, no eligible feature.
    """
    from radiograph.methods._inspect.rows import placed_like, pooled_alike, study_rows
    from radiograph.methods._inspect.tables import beside

    with timed("rows"):
        alike = [part for one in stored for part in pooled_alike(one, asked)]
        rows, first = study_rows(alike[0], compiled, asked)
        others = [placed_like(one, rows, compiled, asked) for one in alike[1:]]
        tables = beside(list(zip(alike, (first, *others), strict=True)), len(rows))
        if any(one.records.header.private for one in stored):
            rows = replace(rows, criterion=rows.criterion.model_copy(update={"private": True}))
        if seen is not None:
            seen(rows)
        rows = replace(rows, split=None)
    settings = replace(
        asked.settings,
        preselected=any(one.records.header.preselected for one in stored),
        censored=any(one.records.header.absent == "below" for one in stored),
        surface_labels="surface_labels" in rows.criterion.warnings,
    )
    own = replace(asked, settings=settings, rows=len(rows))
    with timed("study"):
        found, units = associated(rows, tables, own)
    extra = tuple(dict.fromkeys(code for one in stored for code in one.codes))
    return Measured(own, rows, tables, found, columns_of(found, tables, extra), units)


def associated(rows: StudyRows, tables: Tables, asked: Asked) -> tuple[Findings, Units]:
    """Discover on one half, confirm on the other, a range of features at a time; and what was counted.

    Raises:
        Refusal: too few units, one class, no eligible feature.
    """
    given = study(
        rows.group,
        rows.label,
        rows.discover,
        features=tables.features,
        near_miss=None if rows.continuous else rows.near_miss,
        stratum=rows.stratum,
        name=rows.name,
        continuous=rows.continuous,
        settings=asked.settings,
    )
    screens = [screen(given, part, numbers) for part, numbers in tables.ranges(asked.block)]
    screened = screens[0] if len(screens) == 1 else joined(screens)
    real, sham = select(given, screened)
    return conclude(given, screened, real, sham, tables.of(np.union1d(real, sham), asked.block)), given.units


def units_table(own: Units) -> dict[str, Any]:
    """Units as a table."""
    return {name: getattr(own, name) for name in ("group", "label", "block", "stratum", "discover", "rows")}


def ranks(
    grade: np.ndarray,
    candidate: Bool[np.ndarray, " feature"],
    p: Float64[np.ndarray, " feature"],
    z: Float64[np.ndarray, " feature"],
    discover_z: Float64[np.ndarray, " feature"],
) -> Int64[np.ndarray, " feature"]:
    """1 for the first: by grade, p on confirm, |z| there; features that are no candidates by |z| on discover."""
    chance = np.where(candidate, np.nan_to_num(p, nan=1.0), np.inf)
    strength = np.nan_to_num(np.abs(np.where(candidate, z, discover_z)), nan=0.0, posinf=0.0)
    order = np.lexsort((np.arange(len(grade)), -strength, chance, -_rung(grade)))
    rank = np.empty(len(grade), np.int64)
    rank[order] = np.arange(1, len(grade) + 1)
    return rank


def columns_of(found: Findings, tables: Tables, extra: tuple[str, ...]) -> dict[str, Any]:
    """Every feature with all that was measured; `extra` are codes that all of them carry."""
    import polars as pl

    size = len(found.grade)
    candidates, screened = found.candidates, found.screen
    place = np.searchsorted(screened.feature, candidates.feature)

    def full(values: Float64[np.ndarray, " candidate"]) -> Float64[np.ndarray, " feature"]:
        out = np.full(size, np.nan)
        out[place] = values
        return out

    names = pl.concat([part.source.records.features[part.chosen] for part in tables.parts])
    owners = np.repeat(np.arange(len(tables.parts)), [part.size for part in tables.parts])
    sources = [part.source.name for part in tables.parts]
    columns: dict[str, Any] = {
        "feature": np.arange(size),
        "feature_id": names["feature_id"],
        "source": pl.Series([sources[0]] * size if len(sources) == 1 else [sources[i] for i in owners.tolist()]),
        "site": names["site"],
        "label": names["label"],
        "rank": ranks(found.grade, found.facts.candidate, full(candidates.p), full(candidates.z), screened.z),
        "grade": found.grade.astype(object),
        "codes": code_texts(found.codes, extra, found.facts.measured),
        "measured": found.facts.measured,
        "partial": found.facts.partial,
        "eligible": screened.eligible,
        "candidate": found.facts.candidate,
        "stored": screened.stored,
        "discover_active": screened.active,
    }
    for name in ("estimate", "z", "r", "g", "detectable"):
        columns[f"discover_{name}"] = _nulls(getattr(screened, name))
    columns["discover_sham_z"] = _nulls(screened.sham)
    sham = np.searchsorted(screened.feature, found.pretended.feature)
    columns["sham_z"], columns["sham_p"] = (_spread(own, sham, size) for own in (found.pretended.z, found.pretended.p))
    for name in CONFIRMED:
        columns[name] = _spread(getattr(candidates, name), place, size)
    for name in TRIPLES:
        values = getattr(candidates, name)
        for i, part in enumerate(("", "_low", "_high")):
            columns[f"{name}{part}"] = _spread(values[:, i], place, size)
    return columns


def code_texts(
    codes: Bool[np.ndarray, "feature code"], extra: tuple[str, ...], measured: Bool[np.ndarray, " feature"]
) -> list[str]:
    """The codes of every feature, by comma; those of its source last."""
    if not len(codes):
        return []
    packed = codes @ (1 << np.arange(len(CODES), dtype=np.int64)) * 2 + measured
    kinds, first, of = np.unique(packed, return_index=True, return_inverse=True)
    texts = [
        ",".join(dict.fromkeys((*named(codes[i]), *extra, *(() if measured[i] else ("no_activations",)))))
        for i in first.tolist()
    ]
    assert len(texts) == len(kinds)
    return [texts[i] for i in of.tolist()]


def _rung(grade: np.ndarray) -> Int64[np.ndarray, " feature"]:
    names = np.array(GRADES)
    order = np.argsort(names)
    return order[np.searchsorted(names, grade.astype(names.dtype), sorter=order)]


def _spread(values: np.ndarray, place: Int64[np.ndarray, " candidate"], size: int) -> Any:
    """Numbers of candidates over all features, null for the others."""
    import polars as pl

    kept = np.zeros(size, dtype=bool)
    kept[place] = True
    out = np.zeros(size, dtype=values.dtype)
    out[place] = values
    series = pl.Series(out)
    if values.dtype.kind == "f":
        series = series.fill_nan(None)
    return pl.select(pl.when(pl.Series(kept)).then(series)).to_series()


def _nulls(values: np.ndarray) -> Any:
    import polars as pl

    return pl.Series(np.where(np.isfinite(values), values, np.nan)).fill_nan(None)
