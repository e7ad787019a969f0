"""Does a write rescue or break generation? Judged from texts that exist already.

1. texts of a run (`collapse sweep`, `resonance capture`), of the original's table, or of its Markdown log with its grid
2. metrics of each text, by `--judge MODEL` too; the calibrated score, whose threshold is fixed beforehand, says
   collapsed or fine
3. per condition against the baseline row of the same prompt: fine a, rescued b, broken c, collapsed d; Wilson
   intervals, net with a bootstrap over cores, exact McNemar, sides exchanged core by core, q over conditions
4. every rescued and every broken prompt with both texts
"Rescued by some dose" is a maximum over doses: beside controls only, which a table of texts has not.
Source: Welleck et al. 2020 (rep-n); the original's rule and metrics stand as columns. Texts below 8 tokens (estimated
where a file holds text alone) are `not scored` and counted. `--calibrate LABELS.csv` (text, collapsed) fits the score
anew.
Refuses when: no baseline row, or no pair of scored texts (exit 4). Texts of one core are counted, without an interval
(exit 4 too).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any, Literal

from radiograph.core import Config as Base
from radiograph.core import Context, FilePath, Input, ModelRef, Refusal, RunPath, UserError
from radiograph.evidence.resonance import CollapseResult
from radiograph.methods.collapse import _judged
from radiograph.methods.collapse._reading import judge_reader
from radiograph.numerics.repetition import token_count

if TYPE_CHECKING:
    from pathlib import Path

    from radiograph.methods.collapse._judged import JudgedRow, TextRow

GridRef = Annotated[str, Input("file")]
DataRef = Annotated[str, Input("file")]


class Config(Base):
    """Where the texts are."""

    run: RunPath | None = None
    """A run of `collapse sweep` or `resonance capture`."""
    tsv: FilePath | None = None
    """The original's table: core_id, type, level, sweep, prompt, output."""
    log: FilePath | None = None
    """The original's Markdown log; --grid gives its prompts."""
    grid: GridRef | None = None
    """The grid of a log: a file, or a shipped one by name."""
    calibrate: FilePath | None = None
    """A CSV of labels (text, collapsed, maybe group, nll_band) to fit the score on."""
    judge: ModelRef | None = None
    """A model that reads every text: how surprised it is (`judge_nll…`), and whether the text stays with its prompt."""
    natural: tuple[DataRef, ...] = ()
    """Healthy text for the judge's band: FILE, suite:FILE, world:DOMAIN#N."""
    require: Literal["rescue"] | None = None
    """Fail (exit 2) unless a rescue is shown; without controls it never is."""


def run(config: Config, ctx: Context) -> CollapseResult:
    """Read, judge, count."""
    given = [name for name in ("run", "tsv", "log") if getattr(config, name) is not None]
    if len(given) != 1:
        raise UserError("which texts?", expected="RUN, --tsv FILE, or --log FILE --grid GRID", got=", ".join(given))
    source, texts = _texts(config, ctx)
    score, facts, labels = _judged.score_of(config.calibrate, ctx)
    other = None
    if config.judge is not None:
        prompts, longest = [token_count(row.prompt) for row in texts], max(token_count(row.text) for row in texts)
        other = judge_reader(ctx, config.judge, config.natural, prompts, longest)
    rows = _judged.Judge(score, other=other)(texts)
    groups = _judged.conditions(rows)
    if _judged.BASELINE not in groups:
        raise Refusal("no_baseline_rows", "no text without a write", got=f"{len(rows)} rows, none under `none`")
    base = groups[_judged.BASELINE]
    found = {name: _judged.paired(base, own) for name, own in groups.items() if name != _judged.BASELINE}
    lines = [row for name, pairs in found.items() if (row := _judged.condition_row(name, pairs, ctx.seed))]
    if found and not lines:
        raise Refusal("not_scored", "no pair of texts of 8 tokens or more", got=f"{len(rows)} texts")
    table = _judged.with_q(lines)
    pairs = [pair for each in found.values() for pair in _judged.moved_pairs(each)]
    ctx.output.table("metrics", _judged.metrics_table(rows))
    ctx.output.table("contingency", _judged.contingency_table(table))
    best = max(table, key=lambda row: row.net, default=None)
    verdicts = [row for row in base if row.judged.collapsed is not None]
    return CollapseResult(
        source=source,
        n_prompts=len({row.row.prompt_id for row in rows}),
        cores=len({row.row.core for row in rows}),
        confirmed_on=None,
        threshold=score.threshold,
        roc=facts["roc"],
        calibrated=labels,
        baseline_collapsed=sum(bool(row.judged.collapsed) for row in verdicts),
        baseline_n=len(verdicts),
        kinds=_judged.kinds(base),
        rows=table,
        chosen=() if best is None else (best.condition,),
        pairs=tuple(pairs[: _judged.PAIRS]),
        pairs_left_out=max(0, len(pairs) - _judged.PAIRS),
        by_factor=_judged.by_factor({k: groups[k] for k in (_judged.BASELINE, *([best.condition] if best else []))}),
        curve=tuple((float(a), float(b)) for a, b in facts["curve"]),
        baseline_means=_judged.means(base),
        required=config.require is not None,
        notes=_notes(base, table),
    )


def _notes(base: Sequence[JudgedRow], table: Sequence[Any]) -> tuple[str, ...]:
    notes = ["the condition named first is the best of all on the same texts: a maximum, shown without controls"]
    skipped = sum(row.judged.collapsed is None for row in base)
    if skipped:
        notes.append(f"{skipped} of {len(base)} baseline texts are not scored (under 8 tokens, or not finite)")
    return (*notes, *_judged.core_notes(table))


def _texts(config: Config, ctx: Context) -> tuple[str, list[TextRow]]:
    from radiograph.store.collapse import read_study_log, read_study_tsv

    if config.run is not None:
        return ctx.label(config.run), _of_run(ctx.path(config.run, "run"))
    if config.tsv is not None:
        return ctx.label(config.tsv), _of_study(read_study_tsv(ctx.path(config.tsv, "tsv")))
    if config.grid is None:
        raise UserError("a log holds no prompts", expected="--grid FILE or a shipped grid")
    grid = ctx.grid(config.grid)
    prompts = {(r.core, str(r.factors.get("type", "")), str(r.factors.get("level", ""))): r.text for r in grid.records}
    return ctx.label(config.log or ""), _of_study(read_study_log(ctx.path(config.log or "", "log"), prompts))


def _of_study(rows: Sequence[Any]) -> list[TextRow]:
    out: list[TextRow] = []
    for row in rows:
        try:
            dose = None if row.sweep is None else float(row.sweep)
        except ValueError:
            dose = None
        out.append(
            _judged.TextRow(
                prompt_id="/".join((row.core, row.type, row.level, row.prompt)),
                core=row.core,
                factors=(("type", row.type), ("level", row.level)),
                prompt=row.prompt,
                condition=_judged.BASELINE if row.sweep is None else row.sweep,
                text=row.output,
                target=None if row.sweep is None else "sweep",
                dose=dose,
            )
        )
    return out


def _of_run(folder: Path) -> list[TextRow]:
    import polars

    path = folder / "tables" / "rows.parquet"
    if not path.is_file():
        raise UserError(f"{folder.name} holds no texts", expected="a run of collapse sweep or resonance capture")
    table = polars.read_parquet(path)
    return _judged.text_rows(table.to_dict(as_series=False))


def recompute(result: dict[str, Any], folder: Path) -> list[str]:
    """Do the counts follow from the stored verdicts?"""
    import polars

    stored = CollapseResult.read(result)
    return _judged.recomputed(stored.rows, polars.read_parquet(folder / "tables" / "metrics.parquet"))
