"""What follows from the stored numbers, derived again.

1. from units and the options of the run: how many units, groups and classes, and what could have been seen
2. from z of discover and eligibility: the candidates, of real and of sham labels
3. from z and p of both: p to use, q, grades, codes, ranks, counts, sham count, outcome, and every finding
4. from the rows of the interventions: their tables, findings and responses
5. from records that lie in the bundle, or are folders it names that are what they were: everything that is measured,
   but for draws: p by permutation and limits by bootstrap; what cards show of them

Not derived: what is measured on other records, and what draws gave.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from radiograph.core import FormatError, UserError
from radiograph.core.shapes import Float64
from radiograph.evidence.features import Inspection, Ranking, Study
from radiograph.methods._inspect import causal as causes
from radiograph.methods._inspect.findings import counts, ranking
from radiograph.methods._inspect.sources import CLAIMS
from radiograph.methods._inspect.study import TABLE, UNITS, Measured, code_texts, measured_on, ranks
from radiograph.numerics.association import (
    Facts,
    Units,
    chosen_p,
    codes,
    dense_mde,
    draws_of,
    family_q,
    grades,
    held_up,
    null_value,
    outcome_of,
    rarer_share,
    units_needed,
)
from radiograph.numerics.association.estimates import two_sided

if TYPE_CHECKING:
    import polars

    from radiograph.methods._inspect.options import Options
    from radiograph.sources import Stored

CLOSE: Final = 1e-9
_SHOWN = 5
_OF_SOURCE: Final = frozenset({"toy_evidence", "claimed_by_source"})
_EVERYWHERE: Final = frozenset(
    {
        *("stored", "measured", "eligible", "candidate", "discover_active", "discover_estimate", "discover_z"),
        *("discover_r", "discover_g", "discover_detectable", "discover_sham_z"),
    }
)
_OF_RECORDS: Final = (
    *sorted(_EVERYWHERE),
    *("estimate", "z", "analytic_low", "analytic_high", "p_analytic", "r", "g", "active", "loose", "detectable"),
    *("needed", "lift", "selection", "agreement", "intraclass"),
    *(f"{name}{part}" for name in ("recall", "false_firing", "near") for part in ("", "_low", "_high")),
)
"""What records decide without a draw."""
_NOT_OF_RECORDS: Final = frozenset({"raised", "lowered", "similar", "response", "explanation"})
"""Of a card: what weights, interventions and labels say."""
_OPTIONS: Final = ("q", "fdr", "smallest_effect", "bootstrap")


def differences(result: Inspection, folder: Path, options: type[Options]) -> list[str]:
    """What does not follow; empty where all does."""
    from radiograph.store import Bundle

    manifest = Bundle(folder).manifest
    asked = manifest.config.get("model", result.model)
    found = [] if asked == result.model else [f"the model is {result.model}, asked was {asked}"]
    table: polars.DataFrame | None = None
    if result.study is not None:
        table = _table(folder, TABLE)
        units = _units(result.study, _table(folder, UNITS))
        found += _study(result.study, manifest.config, table, units)
        found += _correlational(result, result.study, table, units)
        found += _sources(result, table)
        found += _measured(result, folder, table, options.model_validate(manifest.config), manifest.seed)
    found += _claims(result, folder)
    if result.outcome != "compiled":
        found += _causal(result, folder, table, manifest.config, manifest.seed)
    return found


def _sources(result: Inspection, table: polars.DataFrame) -> list[str]:
    """How many features each source of records has; of a source that is named otherwise nothing could be compared."""
    stated: Counter[str] = Counter()
    for source in result.sources:
        if source.kind == "records":
            stated[source.source] += source.features
    held = Counter(table["source"].to_list())
    return [] if stated == held else [f"sources have {dict(stated)} features, the table {dict(held)}"]


def _claims(result: Inspection, folder: Path) -> list[str]:
    """Claims as their table has them, and how many are not listed."""
    rows = _table(folder, "claims").rows() if (folder / "tables" / "claims.parquet").is_file() else []
    listed = [(claim.feature, claim.source, claim.label, claim.text) for claim in result.claims]
    left = max(0, len(rows) - CLAIMS)
    said = [] if listed == rows[:CLAIMS] else ["the claims are not the first ones of tables/claims.parquet"]
    return (
        said if left == result.claims_left_out else [*said, f"{left} claims are left out, not {result.claims_left_out}"]
    )


def _study(study: Study, config: Mapping[str, Any], table: polars.DataFrame, units: Units) -> list[str]:
    """Counts, power and the choice of candidates."""
    halves = [units.among(units.discover), units.among(~units.discover)]
    family = min(int(config["candidates"]), len(table))
    eligible = table["eligible"].to_numpy()
    real, sham = (_strongest(_floats(table, name), eligible, family) for name in ("discover_z", "discover_sham_z"))
    pretended = table["sham_p"].is_not_null().to_numpy() | table["sham_z"].is_not_null().to_numpy()
    passed = held_up(
        _floats(table, "discover_sham_z")[sham],
        _floats(table, "sham_z")[sham],
        family_q(_floats(table, "sham_p")[sham], study.fdr),
        study.q,
    )
    dense = dense_mde(halves[1], study.q, family)
    size = [_size(half) for half in halves]
    measured = int(table["measured"].sum())
    design = study.design
    expected: dict[str, tuple[Any, Any]] = {
        **{name: (getattr(study, name), config[name]) for name in _OPTIONS},
        "permutations": (study.permutations, draws_of(int(config["permutations"]), family, study.q)),
        "candidates": (study.candidates, len(real)),
        "units": (design.units, tuple(size)),
        "groups": (design.groups, tuple(half.groups for half in halves)),
        "positive": (design.positive, tuple(half.positive for half in halves)),
        "negative": (design.negative, tuple(half.negative for half in halves)),
        "null_value": (design.null_value, null_value(halves[1])),
        "tested": (study.tested, measured),
        "eligible": (study.eligible, int(eligible.sum())),
        "few_active": (study.few_active, measured - int(eligible.sum())),
        "sham": (study.sham, int(passed.sum())),
        "detectable": (study.detectable, dense),
        "units_needed": (study.units_needed, math.ceil(size[1] * (dense / _smallest(study)) ** 2)),
    }
    said = [
        f"study.{name} is {own}, and {again} follows"
        for name, (own, again) in expected.items()
        if not _alike(own, again)
    ]
    chosen = np.flatnonzero(table["candidate"].to_numpy())
    if set(chosen.tolist()) != set(real.tolist()):
        said.append("the candidates are not the eligible features of the largest |z| on discover")
    if set(np.flatnonzero(pretended).tolist()) != set(sham.tolist()):
        said.append("the sham candidates are not the eligible features of the largest sham |z| on discover")
    return said


def _correlational(result: Inspection, study: Study, table: polars.DataFrame, units: Units) -> list[str]:
    chosen = table["candidate"].to_numpy()
    ids = table["feature_id"].to_list()
    names = table["feature_id"].filter(table["candidate"]).to_list()
    analytic, permutation, family, loose, z = (
        _floats(table, name)[chosen] for name in ("p_analytic", "p_permutation", "p_family", "loose", "z")
    )
    mixed, rarer = study.design.name == "mixed", rarer_share(units.among(~units.discover))
    p, apart = chosen_p(analytic, permutation, loose.astype(np.int64), study.permutations, mixed=mixed, rarer=rarer)
    said = [
        *_unlike("p_analytic", two_sided(z), analytic, names),
        *_unlike("p", p, _floats(table, "p")[chosen], names),
        *_unlike("q", family_q(p, study.fdr), _floats(table, "q")[chosen], names),
        *(f"{names[i]}: p_permutation is more than p_family" for i in np.flatnonzero(permutation > family + CLOSE)),
    ]
    effect = _floats(table, "estimate")[chosen] - study.design.null_value
    needed = units_needed(study.design.units[1], _floats(table, "detectable")[chosen], effect)
    said += _unlike("needed", needed, _floats(table, "needed")[chosen], names)
    facts = _facts(result, study, table, apart)
    if (facts.measured != (table["stored"].to_numpy() > 0)).any():
        said.append("measured does not follow from stored")
    if (facts.partial != (table["stored"].to_numpy() < len(units))).any():
        said.append("partial does not follow from stored")
    own = grades(facts)
    said += _unequal("grade", ids, table["grade"].to_list(), own.tolist())
    extra = tuple(dict.fromkeys(code for f in result.correlational.findings for code in f.codes if code in _OF_SOURCE))
    said += _unequal("codes", ids, table["codes"].to_list(), code_texts(codes(facts), extra, facts.measured))
    again = ranks(own, chosen, _floats(table, "p"), _floats(table, "z"), _floats(table, "discover_z"))
    said += _unequal("rank", ids, table["rank"].to_list(), again.tolist())
    if counts(own) != result.grades:
        said.append(f"grades {result.grades} do not follow, {counts(own)} do")
    outcome = outcome_of(facts, study.detectable)
    if outcome != result.outcome:
        said.append(f"outcome {result.outcome} does not follow, {outcome} does")
    criterion = "" if result.criterion is None else result.criterion.id
    return [*said, *_rankings(result.correlational, ranking(table, study, criterion))]


def _measured(result: Inspection, folder: Path, table: polars.DataFrame, config: Options, seed: int) -> list[str]:
    """What the records give, where they are at hand."""
    from radiograph.criteria import read_compiled, read_split

    assert result.study is not None
    stored, unlike = _records(result, folder, set(table["feature_id"].to_list()))
    if unlike:
        return unlike
    if not stored or result.study.design.name == "mixed":  # a mixed design has no p without draws
        return []
    place = folder / "criterion"
    labelled = (place / "criterion_rows.parquet").is_file()
    asked = config.asked(seed, None if labelled else read_split(place / "split.json"))
    asked = replace(asked, settings=replace(asked.settings, permutations=0, bootstrap=0))
    made = measured_on(stored, read_compiled(place / "criterion.json") if labelled else None, asked)
    again = _frame(made.columns)
    if again["feature_id"].to_list() != table["feature_id"].to_list():
        return [f"{TABLE}: its features are not those of the records"]
    kept = table["candidate"].to_list()
    said = [
        f"{TABLE}: {name} does not follow from the records"
        for name in _OF_RECORDS
        if not _alike(_chosen(table[name], kept, name), _chosen(again[name], kept, name))
    ][:_SHOWN]
    return [*said, *_counted(result, made), *_cards(result, made, seed)]


def _cards(result: Inspection, made: Measured, seed: int) -> list[str]:
    """What cards show of the records."""
    from radiograph.methods._inspect.cards import NOTHING, cards

    of = {name: number for number, name in enumerate(made.ids)}
    numbers = [of[finding.feature] for finding in result.correlational.findings[: len(result.cards)]]
    again = cards(numbers, made.rows, made.tables, made.ids, NOTHING, made.asked.block, seed)
    if len(again) != len(result.cards):
        return ["cards show other features than the strongest"]
    return [
        f"{card.feature}: the card's {name} does not follow from the records"
        for card, other in zip(result.cards, again, strict=True)
        for name, value in _plain(card).items()
        if name not in _NOT_OF_RECORDS and not _alike(value, _plain(other)[name])
    ][:_SHOWN]


def _counted(result: Inspection, made: Measured) -> list[str]:
    """What is said of rows, groups and sources, beside what the records give."""
    assert result.study is not None and result.criterion is not None
    own, design = result.criterion, result.study.design
    expected: dict[str, tuple[Any, Any]] = {
        "study.rank_stability": (result.study.rank_stability, made.found.rank_stability),
        "study.design.dropped": (design.dropped, made.found.dropped),
        "study.design.left": (design.left, made.units.left),
        "study.design.near_miss": (design.near_miss, made.found.near),
        "study.design.pool": (design.pool, ", ".join(dict.fromkeys(part.placed.pool for part in made.tables.parts))),
        **{f"criterion.{n}": (value, _plain(made.rows.criterion)[n]) for n, value in _plain(own).items()},
    }
    recorded = [source for source in result.sources if source.kind == "records"]
    if len(recorded) == len(made.tables.parts):
        for number, (source, part) in enumerate(zip(recorded, made.tables.parts, strict=True)):
            rows = int((part.placed.place >= 0).sum())
            found = {"features": part.size, "rows": rows, "unlabelled": part.placed.unlabelled}
            header = part.source.records.header
            found |= {"missing": made.rows.missing, "pool": part.placed.pool, "model": header.model.ref}
            found |= {"absent": header.absent, "sites": header.sites[:64]}
            expected |= {f"sources.{number}.{n}": (getattr(source, n), value) for n, value in found.items()}
    return [
        f"{name} is {held}, the records give {again}"
        for name, (held, again) in expected.items()
        if not _alike(held, again)
    ]


def _chosen(values: Any, kept: list[bool], name: str) -> list[Any]:
    """Values of all features on discover; of candidates on confirm."""
    found = values.to_list()
    if name in _EVERYWHERE:
        return found
    return [value for value, own in zip(found, kept, strict=True) if own]


def _records(result: Inspection, folder: Path, ids: set[str]) -> tuple[list[Stored], list[str]]:
    """The records of all sources, or none where some are not at hand as they were; and those that are as the run read
    them, but not as the result says.
    """
    from radiograph.sources import Stored
    from radiograph.store import Bundle, Workspace, folder_sha256
    from radiograph.store.records import open_records

    found: dict[str, Stored] = {}
    names: defaultdict[str, set[str]] = defaultdict(set)
    for source in result.sources:
        if source.kind != "records":
            continue
        named = source.source.removeprefix("records:")
        if not (Workspace.current().base / named).is_dir():
            named = named.rpartition("#")[0] or named
        place = folder / source.records if source.records is not None else Workspace.current().base / named
        if source.records is None and not (source.source.startswith("records:") and place.is_dir()):
            return [], []
        try:
            records = open_records(place, verify=True)
        except UserError:
            return [], []
        if records.header.features_sha256 != source.sha256:
            given = {one.sha256 for one in Bundle(folder).manifest.inputs if one.role.startswith("features")}
            same = source.records is not None or folder_sha256(place) in given
            return [], [f"{source.source}: its hash is not that of the records"] if same else []
        chosen = np.array([name in ids for name in records.features["feature_id"].to_list()])
        found.setdefault(str(place), Stored(source.source, records, None if chosen.all() else chosen))
        names[str(place)].add(source.source)
    # Of records that are named twice nobody knows which features each of the two chose.
    return (list(found.values()) if all(len(own) == 1 for own in names.values()) else []), []


def _causal(
    result: Inspection, folder: Path, correlational: polars.DataFrame | None, config: Mapping[str, Any], seed: int
) -> list[str]:
    """The tables of the interventions from their rows, and what the result says of them."""
    table = _table(folder, causes.TABLE)
    said: list[str] = []
    if causes.grade_counts({"grade": table["grade"].to_list()}) != result.causal_grades:
        said.append(f"causal grades {result.causal_grades} do not follow from the table")
    if not (folder / "tables" / f"{causes.ROWS}.parquet").is_file():
        moved = table.filter(table["grade"] != "untested")["feature_id"].to_list()
        said += [f"{name}: graded, and no intervention is stored" for name in moved[:_SHOWN]]
        return [*said, *_rankings(result.causal, Ranking(kind="causal"))]
    from radiograph.methods._causal.judge import judge

    signs = {} if correlational is None else causes.association_of(correlational.to_dict())
    judged = judge(_table(folder, causes.ROWS), seed=seed, fdr=config["fdr"], association=signs)
    ids = table.filter(table["feature"].is_not_null())["feature_id"].to_list()
    said += _frames(causes.TABLE, table, _frame(causes.columns_of(judged, ids)))
    said += _frames("causal_doses", _table(folder, "causal_doses"), judged.doses)
    said += _frames("causal_controls", _table(folder, "causal_controls"), judged.controls)
    responses = causes.responses(judged)
    said += [
        f"{card.feature}: its response does not follow from the interventions"
        for card in result.cards
        if not _alike(_plain(card.response), _plain(responses.get(card.feature)))
    ]
    criterion = None if result.criterion is None else result.criterion.id
    return [*said, *_rankings(result.causal, causes.ranking(judged, criterion))]


def _units(study: Study, table: polars.DataFrame) -> Units:
    """Units as they were counted, without their rows."""
    return Units(
        design=study.design.name,
        label=_floats(table, "label"),
        group=table["group"].to_numpy(),
        block=table["block"].to_numpy(),
        stratum=table["stratum"].to_numpy(),
        rows=table["rows"].to_numpy(),
        discover=table["discover"].to_numpy(),
        cell=np.zeros(0, np.int64),
    )


def _size(units: Units) -> int:
    return units.blocks if units.design == "within" else len(units)


def _smallest(study: Study) -> float:
    return (study.smallest_effect - 0.5) * (2 if study.design.name == "continuous" else 1)


def _strongest(z: Float64[np.ndarray, " feature"], eligible: np.ndarray, family: int) -> np.ndarray:
    """The eligible features of the largest |z|; ties go to the lower number."""
    places = np.flatnonzero(eligible)
    return places[np.argsort(-np.abs(z[places]), kind="stable")][:family]


def _facts(result: Inspection, study: Study, table: polars.DataFrame, apart: np.ndarray) -> Facts:
    spread = np.zeros(len(table), dtype=bool)
    spread[table["candidate"].to_numpy()] = apart
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
        smallest=_smallest(study),
        preselected=study.preselected,
        censored=study.censored,
        surface_labels=result.criterion is not None and "surface_labels" in result.criterion.warnings,
    )


def _rankings(stored: Ranking, again: Ranking) -> list[str]:
    """Findings that the tables do not give, field by field."""
    own, other = ([(f.feature, f.outcome) for f in one.findings] for one in (stored, again))
    if own != other:
        return [f"the {stored.kind} ranking does not hold the features of its table, in their order"]
    said: list[str] = []
    for finding, expected in zip(stored.findings, again.findings, strict=True):
        held, given = _plain(finding), _plain(expected)
        said += [
            f"{finding.feature}: {name} {held[name]} does not follow, {given[name]} does"
            for name in given
            if not _alike(held[name], given[name])
        ]
    return said[: 4 * _SHOWN]


def _frames(name: str, stored: polars.DataFrame, again: polars.DataFrame) -> list[str]:
    if stored.columns != again.columns or len(stored) != len(again):
        return [f"{name} does not have the lines and columns that follow from the interventions"]
    return [
        f"{name}: {column} does not follow from the interventions"
        for column in stored.columns
        if not _alike(stored[column].to_list(), again[column].to_list())
    ][:_SHOWN]


def _alike(one: Any, other: Any) -> bool:
    """Whether two plain values are the same, numbers but for rounding."""
    if isinstance(one, bool) or isinstance(other, bool):
        return one is other
    if isinstance(one, int | float) and isinstance(other, int | float):
        return math.isclose(one, other, rel_tol=CLOSE, abs_tol=0.0) or (math.isnan(one) and math.isnan(other))
    if isinstance(one, Mapping) and isinstance(other, Mapping):
        return one.keys() == other.keys() and all(_alike(value, other[key]) for key, value in one.items())
    if isinstance(one, list | tuple) and isinstance(other, list | tuple):
        return len(one) == len(other) and all(map(_alike, one, other))
    return one == other


def _plain(record: Any) -> Any:
    return None if record is None else record.model_dump()


def _unequal(what: str, ids: Sequence[str], stored: Sequence[Any], again: Sequence[Any]) -> list[str]:
    return [
        f"{name}: {what} {was!r} does not follow, {now!r} does"
        for name, was, now in zip(ids, stored, again, strict=True)
        if was != now
    ][:_SHOWN]


def _unlike(
    name: str, own: Float64[np.ndarray, " candidate"], stored: Float64[np.ndarray, " candidate"], ids: list[str]
) -> list[str]:
    alike = np.isclose(own, stored, rtol=CLOSE, atol=0, equal_nan=True)
    return [
        f"{ids[i]}: {name} {stored[i]:.6g} does not follow, {own[i]:.6g} does"
        for i in np.flatnonzero(~alike)[:_SHOWN].tolist()
    ]


def _floats(table: polars.DataFrame, name: str) -> Float64[np.ndarray, " feature"]:
    import polars as pl

    return table[name].cast(pl.Float64).fill_null(float("nan")).to_numpy()


def _frame(columns: Mapping[str, Any]) -> polars.DataFrame:
    import polars as pl

    return pl.DataFrame(columns)


def _table(folder: Path, name: str) -> polars.DataFrame:
    import polars as pl

    path = folder / "tables" / f"{name}.parquet"
    if not path.is_file():
        raise FormatError(f"{path.name} is missing", where=f"tables/{path.name}")
    return pl.read_parquet(path)
