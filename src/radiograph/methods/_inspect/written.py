"""From opened sources to the tables and the result of the run."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

from radiograph.core import Context
from radiograph.evidence import CRITERION_WARNINGS, RefusalRecord
from radiograph.evidence.features import Card, Inspection, InspectionSource, Ranking, Requirement
from radiograph.methods._inspect import causal as causes
from radiograph.methods._inspect import findings, sources
from radiograph.methods._inspect.study import TABLE, UNITS, Measured, measured_on, units_table

if TYPE_CHECKING:
    from radiograph.criteria import Compiled
    from radiograph.methods._inspect.causal import Tested
    from radiograph.methods._inspect.options import Asked, Options
    from radiograph.methods._inspect.rows import StudyRows
    from radiograph.sources import Dumped, Given, Stored

STEPS: Final = "steps/"


def inspection(
    config: Options,
    ctx: Context,
    asked: Asked,
    given: Sequence[Given],
    originals: Sequence[Given],
    compiled: Compiled | None,
    require: Requirement | None,
) -> Inspection:
    """Measure what has activations, judge what was intervened on, quote the rest."""
    from radiograph.sources import Dumped, Stored

    stored = [one for one in given if isinstance(one, Stored)]
    dumps = [one for one in given if isinstance(one, Dumped)]
    quoted, more, quotes = sources.claims(dumps)
    if quotes["feature_id"]:
        ctx.output.table("claims", quotes)
    measured = _measured(ctx, asked, stored, compiled) if stored else None
    tested, refused, notes = _tested(config, ctx, asked, measured, originals, compiled)
    columns = causes.columns_of(None if tested is None else tested.judged, _ids(measured, dumps))
    _write(ctx, measured, tested, columns)
    criterion = measured.rows.criterion if measured else compiled.criterion if compiled else None
    tables = [part.source.records.features for part in measured.tables.parts] if measured else []
    quoting = tuple(map(sources.dumped_source, dumps))
    result = Inspection(
        model=ctx.label(config.model),
        criterion=criterion,
        outcome="not_measured",
        sources=quoting,
        causal_grades=causes.grade_counts(columns),
        causal=Ranking(kind="causal") if tested is None else tested.ranking,
        claims=quoted,
        claims_left_out=more,
        search=None if config.search is None else sources.search(config.search, [*tables, *(d.table for d in dumps)]),
        refusals=(*(() if measured else (_no_activations(dumps),)), *refused),
        require=require,
        notes=(*_notes(criterion, measured, config), *notes),
    )
    if measured is None:
        return result
    return result.model_copy(update=_said(config, ctx, measured, tested, quoting))


def _measured(ctx: Context, asked: Asked, stored: Sequence[Stored], compiled: Compiled | None) -> Measured:
    """The study; a criterion that the records bring themselves is written down."""

    def seen(rows: StudyRows) -> None:
        if compiled is None:
            ctx.output.json("criterion/criterion.json", rows.criterion)
            ctx.output.json("criterion/split.json", rows.split)

    return measured_on(stored, compiled, asked, timed=ctx.measure, seen=seen)


def _tested(
    config: Options,
    ctx: Context,
    asked: Asked,
    measured: Measured | None,
    originals: Sequence[Given],
    compiled: Compiled | None,
) -> tuple[Tested | None, tuple[RefusalRecord, ...], list[str]]:
    """What the interventions show that were given or made, and what to say of them."""
    from radiograph.methods._inspect.live import intervened
    from radiograph.store import untouched
    from radiograph.store.interventions import read_interventions

    criterion = measured.rows.criterion if measured else compiled.criterion if compiled else None
    signs = {} if measured is None else causes.association_of(measured.columns)
    notes: list[str] = []
    if config.interventions is not None:
        path = ctx.path(config.interventions, "interventions")
        untouched(path)
        given = read_interventions(path)
        models = [] if measured is None else [p.source.records.header.model for p in measured.tables.parts]
        given = given.of_model(
            ctx.label(config.model), *(m.ref for m in models), *(m.sha256 for m in models if m.sha256)
        )
    elif measured is None:
        given = None
    else:
        given, said = intervened(config, ctx, measured.found, measured.ids, originals, compiled)
        notes += said
    if given is None:
        return None, (), notes
    if isinstance(given, RefusalRecord):
        return None, (given,), notes
    if given.no_push:
        notes.append(f"{given.no_push} intervention rows moved nothing and were left out (no_push)")
    with ctx.measure("interventions"):
        found = causes.tested(
            given,
            asked,
            criterion_id=None if criterion is None else criterion.id,
            association=signs,
            any_criterion=config.any_criterion,
        )
    if found is None:
        total = len(given.table)
        said = f"all {total} intervention rows were made for another criterion, so every feature stays untested"
        return None, (), [*notes, f"{said}; --any-criterion uses them"]
    if found.left_out:
        notes.append(f"{found.left_out} intervention rows were made for another criterion and were left out")
    return found, (), notes


def _said(
    config: Options, ctx: Context, measured: Measured, tested: Tested | None, quoting: tuple[InspectionSource, ...]
) -> dict[str, Any]:
    """Fields of the result that a study has."""
    import polars as pl

    parts = measured.tables.parts
    pools = tuple(dict.fromkeys(part.placed.pool for part in parts))
    record = findings.study_record(measured.found, measured.units, ", ".join(pools), measured.asked)
    ranking = findings.ranking(pl.DataFrame(measured.columns), record, measured.rows.criterion.id)
    inside = _inside(ctx)
    with ctx.measure("cards"):
        shown = _cards(config, ctx, measured, ranking, tested)
    return {
        "outcome": measured.found.outcome,
        "sources": (
            *(
                sources.recorded_source(
                    part.source,
                    part.placed,
                    part.size,
                    missing=measured.rows.missing,
                    inside=inside(part.source),
                )
                for part in parts
            ),
            *quoting,
        ),
        "study": record,
        "grades": findings.counts(measured.found.grade),
        "correlational": ranking,
        "cards": shown,
    }


def _cards(
    config: Options, ctx: Context, measured: Measured, ranking: Ranking, tested: Tested | None
) -> tuple[Card, ...]:
    from radiograph.methods._inspect.cards import cards
    from radiograph.methods._inspect.live import extras

    of = {name: number for number, name in enumerate(measured.ids)}
    numbers = [of[finding.feature] for finding in ranking.findings[: config.cards]]
    known = extras(config, ctx, measured.tables, numbers)
    shown = cards(numbers, measured.rows, measured.tables, measured.ids, known, measured.asked.block, ctx.seed)
    if tested is None:
        return shown
    return tuple(card.model_copy(update={"response": tested.responses.get(card.feature)}) for card in shown)


def _write(ctx: Context, measured: Measured | None, tested: Tested | None, columns: dict[str, Any]) -> None:
    if measured is not None:
        ctx.output.table(TABLE, measured.columns)
        ctx.output.table(UNITS, units_table(measured.units))
    ctx.output.table(causes.TABLE, columns)
    if tested is not None:
        for name in ("doses", "controls"):
            table: dict[str, Any] = getattr(tested.judged, name).to_dict()
            ctx.output.table(f"causal_{name}", table)
        rows: dict[str, Any] = tested.rows.to_dict()
        ctx.output.table(causes.ROWS, rows)


def _inside(ctx: Context) -> Any:
    """Says where records lie inside this bundle; None for those outside."""
    root = ctx.output.folder("criterion").parent

    def inside(source: Stored) -> str | None:
        folder = source.records.folder
        return folder.relative_to(root).as_posix() if folder.is_relative_to(root) else None

    return inside


def _ids(measured: Measured | None, dumps: Sequence[Dumped]) -> list[str]:
    own = [] if measured is None else measured.ids
    return list(dict.fromkeys([*own, *(name for dump in dumps for name in dump.table["feature_id"].to_list())]))


def _no_activations(dumps: Sequence[Dumped]) -> RefusalRecord:
    names = ", ".join(dump.name for dump in dumps) or "no source"
    return RefusalRecord(
        code="no_activations",
        text=f"{names} gives no activations, so no association can be measured",
        what="correlational evidence",
        fix="give records, or features that MODEL can be run through",
    )


def _notes(criterion: Any, measured: Measured | None, config: Options) -> list[str]:
    notes: list[str] = []
    if criterion is not None:
        notes += [CRITERION_WARNINGS[name] for name in criterion.warnings]
    if measured is None:
        return notes
    if measured.rows.missing:
        total = measured.rows.missing + len(measured.rows)
        notes.append(f"{measured.rows.missing} of {total} rows of the criterion have no record and were left out")
    if measured.found.near is None and measured.rows.near_miss.any() and not measured.rows.continuous:
        notes.append("near misses are too few for an interval: no feature can be told from one of the form")
    notes += dict.fromkeys(text for part in measured.tables.parts for text in part.source.notes)
    for part in measured.tables.parts:
        notes += part.source.records.header.said_of(part.source.name)
        if part.placed.unlabelled:
            rows = part.placed.unlabelled
            notes.append(f"{rows} rows of {part.source.name} are not labelled and were left out")
    if measured.asked.settings.preselected:
        notes.append(
            "the features were chosen with the labels of all rows: they stay candidates, nothing can confirm them"
        )
    if measured.asked.settings.censored:
        notes.append("only the largest values of each row were kept; what is missing counts as a tie at zero")
    if config.cards and not measured.found.candidates.resampled.any() and config.bootstrap:
        notes.append("intervals are analytic: units are too few, or nothing varies, for a bootstrap")
    return notes
