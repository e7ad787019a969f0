"""Does a write rescue or break generation, beyond chance, beyond other units, beyond decoding otherwise?

1. cores of the grid are parted by lot: some choose the dose of each target (largest net), the others make the claims
   (`--confirm`: their share; 0: one and the same, and the result says so)
2. every prompt without a write and under every dose, in mixed batches that `--resume` goes on with
3. the calibrated score, fixed before, calls each text collapsed or fine; per condition fine a, rescued b, broken c,
   collapsed d, Wilson, exact McNemar, sides exchanged core by core, q over doses × targets
4. beside them what only models say: NLL a token under the model without writes (`--judge`: under another one too) in
   the band of healthy text, relevance to the prompt, and KL(without write ‖ with it) along the baseline's text
5. controls of each chosen write: matched units pushed as hard, random directions at `mlp_out` that follow the unit;
   p = (1 + #{net ≥ observed})/(M + 1), under 19 controls none; q over targets. The nearest `--band` of the units at
   every dose too: "rescued by some dose" stands beside the same maximum of theirs. Where the cores are not parted the
   best of several doses is compared with the best of each of those units, never with what they do at that one dose
6. other decoding without a write; the direct attribution of each chosen write
Source: the 2Smol study of baseline collapse recovery, with the broken texts counted too. Units: shares of pairs; nats.
`--require rescue` asks for net > 0, McNemar q < .05 and control q < .05 of one target, the controls being those of 5.
Under 19 controls, or claims of one core: the counts, and exit 4 unless the gate failed.
Refuses when: no pair of scored texts (exit 4); a write of several units or of a direction with controls (exit 3).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Literal

import numpy as np
from pydantic import Field

from radiograph.core import Context, FilePath, FolderPath, Input, ModelRef, Refusal, UserError, derive
from radiograph.evidence import Decoding
from radiograph.evidence.resonance import CollapseResult, CollapseRow
from radiograph.methods._texts.options import TextOptions
from radiograph.methods.collapse import _controls, _judged, _swept
from radiograph.methods.collapse._reading import judge_reader, own_reader

if TYPE_CHECKING:
    from pathlib import Path

    from radiograph.evidence import Condition, Grid, UnitAttribution
    from radiograph.interventions import BoundCondition
    from radiograph.methods.collapse._judged import JudgedRow
    from radiograph.numerics.repetition import CollapseScore

GridRef = Annotated[str, Input("file")]
DataRef = Annotated[str, Input("file")]
ALPHA = 0.05
SHOWN_PROMPTS = 64


class Config(TextOptions):
    """Which model, prompts, writes and controls."""

    model: ModelRef
    """The model: folder, hub id or bundled:NAME, with +ADAPTER."""
    grid: GridRef
    """A shipped grid by name, or a grid file."""
    write: tuple[str, ...] = Field(min_length=1)
    """SITE[unit]:op:dose@positions, repeatable; doses by comma, or by --dose."""
    dose: str | None = None
    """Doses of every write that names none, as -100,-10,0,10,100 or -3sd,3sd."""
    controls: int = Field(default=40, ge=0)
    """Matched units for each target; 0 gives no p from controls."""
    band: int = Field(default=19, ge=0)
    """Of the matched units, how many run at every dose too; without --controls none."""
    directions: int = Field(default=0, ge=0)
    """Random directions of each kind (sphere, covariance) for each target."""
    decoding_baselines: bool = False
    """Decode without a write in six other ways too."""
    confirm: float = Field(default=0.5, ge=0, lt=1)
    """Share of cores that make the claims; the others choose doses. 0: no split."""
    new_tokens: int = Field(default=50, ge=8)
    """Most new tokens a text."""
    run_on: bool = False
    """Let texts go on past the model's own end, so that all are as long."""
    statistics: FolderPath | None = None
    """A run of `neurons scan`: what is natural, for doses and matching."""
    natural: tuple[DataRef, ...] = ()
    """Natural text to measure that on instead, and healthy text for NLL: FILE, suite:FILE, world:DOMAIN#N."""
    judge: ModelRef | None = None
    """A second model that reads every text: how surprised it is (`judge_nll…`)."""
    calibrate: FilePath | None = None
    """A CSV of labels (text, collapsed, maybe group, nll_band) to fit the score on."""
    require: Literal["rescue"] | None = None
    """Fail (exit 2) unless a rescue is shown."""


@dataclass(frozen=True, eq=False)
class _Parted:
    """Numbers of the prompts that choose, and of those that claim."""

    choosing: list[int]
    claiming: list[int]
    cores: int | None
    note: str | None


def run(config: Config, ctx: Context) -> CollapseResult:
    """Sweep, choose, count, compare."""
    score, facts, labels = _judged.score_of(config.calibrate, ctx)
    grid: Grid = ctx.grid(config.grid)
    grid = grid if config.where is None else grid.where(config.where)
    conditions = parse(config)
    study, statistics, bound = _prepared(config, ctx, grid, conditions, score)
    parted = _parted(grid, config.confirm, ctx.seed)
    with ctx.measure("sweep"):
        texts = study.swept("texts", bound, range(len(grid.records)))
        study.forced(texts, bound, parted.claiming)
    groups = _judged.conditions(study.judged(texts))
    chosen = _chosen(conditions, groups, _ids(grid, parted.choosing))
    claims = {name: _among(own, _ids(grid, parted.claiming)) for name, own in groups.items()}
    base = claims[_judged.BASELINE]
    found = {name: _judged.paired(base, own) for name, own in claims.items() if name != _judged.BASELINE}
    lines = [row for name, pairs in found.items() if (row := _judged.condition_row(name, pairs, ctx.seed))]
    if not lines:
        raise Refusal("not_scored", "no pair of texts of 8 tokens or more", got=f"{len(texts['row'])} texts")
    table = _judged.with_q(lines)
    named = [condition for condition in chosen if condition.name in {row.condition for row in table}]
    beside, targets = _controls.Found(), _controls.by_target(conditions)
    if config.controls or config.directions:
        asked = _controls.Asked(config.controls, min(config.band, config.controls), config.directions)
        with ctx.measure("controls"):
            beside = _controls.controls_of(study, targets, named, found, base, parted.claiming, statistics, asked)
    plain: list[CollapseRow] = []
    if config.decoding_baselines:
        others = _swept.plain_decoding(study, base, parted.claiming, bound[0])
        plain = [row for name, pairs in others if (row := _judged.condition_row(name, pairs, ctx.seed))]
    pairs = _ordered_pairs(found, chosen)
    verdicts = [row for row in base if row.judged.collapsed is not None]
    special = _controls.deciding(targets, beside, {c.name for c in named}, parted=parted.cores is not None)
    attribution = _attributed(study, named, bound, parted.claiming)
    study.finish()
    _write(config, ctx, texts, claims, table, beside, attribution)
    return CollapseResult(
        source=ctx.label(config.model),
        n_prompts=len(grid.records),
        cores=len({record.core for record in grid.records}),
        confirmed_on=parted.cores,
        threshold=score.threshold,
        roc=facts["roc"],
        calibrated=labels,
        baseline_collapsed=sum(bool(row.judged.collapsed) for row in verdicts),
        baseline_n=len(verdicts),
        kinds=_judged.kinds(base),
        rows=table,
        chosen=tuple(condition.name for condition in named),
        controls=beside.controls,
        band=beside.band,
        maximum=beside.maximum,
        decoding=tuple(plain),
        pairs=tuple(pairs[: _judged.PAIRS]),
        pairs_left_out=max(0, len(pairs) - _judged.PAIRS),
        attribution=attribution,
        by_factor=_judged.by_factor({k: claims[k] for k in (_judged.BASELINE, *(c.name for c in named[:1]))}),
        baseline_means=_judged.means(base),
        curve=tuple((float(a), float(b)) for a, b in facts["curve"]),
        required=config.require is not None,
        met=_met(table, special),
        notes=_notes(base, table, parted, study, beside),
    )


def parse(config: Config) -> list[Condition]:
    """The conditions that are asked for, `none` first."""
    from radiograph.interventions import parse_conditions

    if config.tsv and config.samples > 1:
        raise UserError("rows.tsv has one text a prompt and dose", fix="leave --tsv or --samples out", code="bad_value")
    return parse_conditions([_with_dose(text, config.dose) for text in config.write])


def _prepared(
    config: Config, ctx: Context, grid: Grid, conditions: Sequence[Condition], score: CollapseScore
) -> tuple[_swept.Study, dict[str, Any], list[BoundCondition]]:
    """Model, prompts, readers, what is natural; everything that can be refused before a token is decoded."""
    from radiograph.interventions import bind, grid_prompts
    from radiograph.organisms import natural_sources

    decoding = Decoding.asked(config.model_dump(), seed=ctx.seed)
    model = ctx.model(config.model, "model")
    if model.tokenizer is None:
        raise UserError("a sweep needs a tokenizer", where=config.model)
    prompts = grid_prompts(
        model, grid, bos=config.bos, chat=config.chat, new_tokens=config.new_tokens, truncate=config.truncate
    )
    sources = natural_sources(model.tokenizer, config.natural)
    statistics: dict[str, Any] = {}
    if config.controls or config.directions or _natural_dose(conditions):
        statistics = _swept.natural(
            ctx, model, conditions, folder=config.statistics, sources=sources, cloud=config.directions > 0
        )
    bound = bind(model, conditions, statistics=statistics)
    if config.controls or config.directions:
        _controls.check(model, conditions, statistics)
    healthy = ctx.corpus(sources, role="natural") if sources else None
    lengths = [len(ids) for ids in prompts.ids]
    own = own_reader(model, healthy, lengths, config.new_tokens)
    other = None
    if config.judge is not None:
        other = judge_reader(ctx, config.judge, config.natural, lengths, config.new_tokens)
    study = _swept.Study(
        model,
        prompts,
        decoding,
        config.samples,
        _judged.Judge(score, own, other),
        config.batch_rows,
        ctx.output.folder("sweeps") if config.resume is None else ctx.output.adopt(ctx.locate(config.resume), "sweeps"),
        ctx,
        frozenset() if config.run_on else None,
    )
    return study, statistics, bound


def _write(
    config: Config,
    ctx: Context,
    texts: dict[str, Any],
    claims: dict[str, list[JudgedRow]],
    table: Sequence[CollapseRow],
    beside: _controls.Found,
    attribution: Sequence[UnitAttribution],
) -> None:
    """Every table, and if asked the original's."""
    ctx.output.table("rows", texts)
    ctx.output.table("metrics", _judged.metrics_table([row for own in claims.values() for row in own]))
    ctx.output.table("contingency", _judged.contingency_table(table))
    names = ("condition", "kind", "number", "control", "distance", "net", "rescued", "broken")
    ctx.output.table("controls", {name: [row[name] for row in beside.table] for name in names})
    ctx.output.table("dla", _dla_table(attribution))
    if config.tsv:
        from radiograph.store.collapse import study_tsv

        ctx.output.text("rows.tsv", study_tsv(texts))


def _with_dose(text: str, dose: str | None) -> str:
    """`SITE[unit]` and `SITE[unit]:op` take their doses from --dose; a full write keeps its own."""
    head, at, positions = text.partition("@")
    parts = head.split(":")
    if dose is None or len(parts) > 2:
        return text
    op = parts[1] if len(parts) == 2 else "set"
    return text if op.startswith(("ablate", "project")) else f"{parts[0]}:{op}:{dose}{at}{positions}"


def _natural_dose(conditions: Sequence[Condition]) -> bool:
    writes = [write for condition in conditions for write in condition.writes]
    return any(w.op == "ablate-mean" or (w.dose and w.dose.unit in ("sd", "quantile", "norm")) for w in writes)


def _parted(grid: Grid, confirm: float, seed: int) -> _Parted:
    cores = list(dict.fromkeys(record.core for record in grid.records))
    every = list(range(len(grid.records)))
    if confirm == 0 or len(cores) < 2:
        why = "one core" if len(cores) < 2 else "--confirm 0"
        note = f"{why}: doses are chosen and claimed on the same prompts, so that the chosen one is a maximum"
        return _Parted(every, every, None, note)
    drawn = np.random.default_rng(derive(seed, "confirm")).permutation(len(cores))
    count = min(len(cores) - 1, max(1, round(confirm * len(cores))))
    claiming = {cores[i] for i in drawn[:count]}
    own = [i for i in every if grid.records[i].core in claiming]
    return _Parted([i for i in every if grid.records[i].core not in claiming], own, count, None)


def _ids(grid: Grid, prompts: Sequence[int]) -> set[str]:
    return {grid.records[i].id for i in prompts}


def _among(rows: Sequence[JudgedRow], ids: set[str]) -> list[JudgedRow]:
    return [row for row in rows if row.row.prompt_id in ids]


def _chosen(conditions: Sequence[Condition], groups: dict[str, list[JudgedRow]], ids: set[str]) -> list[Condition]:
    """Per target the condition with the largest net on the choosing prompts; equal ones by order."""
    base = _among(groups[_judged.BASELINE], ids)

    def net(condition: Condition) -> float:
        found = _judged.net_of(_judged.paired(base, _among(groups[condition.name], ids)))
        return -2.0 if found is None else found

    return [max(own, key=net) for own in _controls.by_target(conditions).values()]


def _met(table: Sequence[CollapseRow], special: Mapping[str, float | None]) -> bool:
    """Whether some chosen condition has net > 0, McNemar q and control q below .05; a q of None is not below."""
    q = {name: value for name, value in special.items() if value is not None and value < ALPHA}
    return any(row.condition in q and row.net > 0 and row.q is not None and row.q < ALPHA for row in table)


def _attributed(
    study: _swept.Study, chosen: Sequence[Condition], bound: Sequence[BoundCondition], prompts: Sequence[int]
) -> tuple[UnitAttribution, ...]:
    """Of every chosen single unit of a hidden layer that is set: what it does to the next token."""
    from radiograph.interventions import attribute

    raw = {condition.name: condition.writes for condition in bound}
    tokens = [study.prompts.ids[i] for i in prompts[:SHOWN_PROMPTS]]
    out: list[UnitAttribution] = []
    for condition in chosen:
        writes = raw[condition.name]
        if len(writes) == 1 and writes[0].site.kind == "mlp_hidden" and writes[0].op == "set":
            one = writes[0]
            if one.basis is None and one.stop - one.start == 1:
                out.append(attribute(study.model, tokens, one.site, one.start, float(one.value[0])))
    return tuple(out)


def _dla_table(attribution: Sequence[UnitAttribution]) -> dict[str, list[Any]]:
    columns: dict[str, list[Any]] = {name: [] for name in ("unit", "value", "side", "token_id", "token", "change")}
    for one in attribution:
        for side in ("direct_raised", "direct_lowered", "raised", "lowered"):
            for token in getattr(one, side):
                row = (one.unit, one.value, side, token.token_id, token.token, token.change)
                for name, value in zip(columns, row, strict=True):
                    columns[name].append(value)
    return columns


def _ordered_pairs(found: dict[str, Any], chosen: Sequence[Condition]) -> list[Any]:
    """Moved pairs, those of chosen conditions first."""
    names = [condition.name for condition in chosen]
    order = [*(n for n in names if n in found), *(n for n in found if n not in names)]
    return [pair for name in order for pair in _judged.moved_pairs(found[name])]


def _notes(
    base: Sequence[JudgedRow],
    table: Sequence[CollapseRow],
    parted: _Parted,
    study: _swept.Study,
    beside: _controls.Found,
) -> tuple[str, ...]:
    notes = [] if parted.note is None else [parted.note]
    least = max((one.smallest for one in beside.maximum), default=0.0)
    if parted.cores is None and least >= ALPHA:
        notes.append(
            f"a rescue cannot be shown: the best of several doses has {beside.maximum[0].n} matched units at every "
            f"dose beside it, whose smallest p is {least:.3g}; raise --band"
        )
    skipped = sum(row.judged.collapsed is None for row in base)
    if skipped:
        notes.append(f"{skipped} of {len(base)} baseline texts are not scored (under 8 tokens, or not finite)")
    notes += _judged.core_notes(table)
    if few := min((c.n for c in beside.controls if c.kind == "units" and c.p is None), default=None):
        notes.append(f"{few} controls give no p: 19 or more by --controls")
    if study.judge.own is None or study.judge.own.band is None:
        notes.append("no band of NLL: under 20 documents of natural text")
    if study.prompts.truncated:
        notes.append(f"{study.prompts.truncated} prompts were cut at their beginning")
    return tuple(notes)


def recompute(result: dict[str, Any], folder: Path) -> list[str]:
    """Do the counts follow from the stored verdicts?"""
    import polars

    stored = CollapseResult.read(result)
    return _judged.recomputed(stored.rows, polars.read_parquet(folder / "tables" / "metrics.parquet"))
