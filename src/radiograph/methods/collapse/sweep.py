"""Does a write rescue or break generation, beyond chance, beyond other units, beyond decoding otherwise?

1. cores of the grid are parted by lot: some choose the dose of each target (largest net), the others make the claims
   (`--confirm`: their share; 0: one and the same, and the result says so)
2. every prompt without a write and under every dose, greedy, in mixed batches
3. the calibrated score, fixed before, calls each text collapsed or fine; per condition fine a, rescued b, broken c,
   collapsed d, Wilson, exact McNemar, sides exchanged core by core, q over doses × targets
4. controls of each chosen write: matched units pushed as hard, random directions at `mlp_out` that follow the unit;
   p = (1 + #{net ≥ observed})/(M + 1), under 19 controls none; q over targets
5. other decoding without a write; the direct attribution of each chosen write
Source: the 2Smol study of baseline collapse recovery, with the broken texts counted too. Units: shares of pairs.
`--require rescue` asks for net > 0, McNemar q < .05 and control q < .05 of one target.
Refuses when: no pair of scored texts (exit 4); a write of several units or of a direction with controls (exit 3).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Literal

import numpy as np
from pydantic import Field

from radiograph.core import Config as Base
from radiograph.core import Context, FilePath, Input, ModelRef, Refusal, UserError, derive
from radiograph.evidence import Decoding
from radiograph.evidence.resonance import CollapseControl, CollapseResult, CollapseRow
from radiograph.methods.collapse import _judged, _swept

if TYPE_CHECKING:
    from pathlib import Path

    from radiograph.evidence import Condition, Grid, UnitAttribution
    from radiograph.interventions import BoundCondition
    from radiograph.methods.collapse._judged import JudgedRow

GridRef = Annotated[str, Input("file")]
DataRef = Annotated[str, Input("file")]
ALPHA = 0.05
SHOWN_PROMPTS = 64


class Config(Base):
    """Which model, prompts, writes and controls."""

    model: ModelRef
    """The model: folder, hub id or bundled:NAME, with +ADAPTER."""
    grid: GridRef
    """A shipped grid by name, or a grid file."""
    write: tuple[str, ...] = Field(min_length=1)
    """SITE[unit]:op:dose@positions, repeatable; doses by comma, or by --dose."""
    dose: str | None = None
    """Doses of every write that names none, as -100,-10,0,10,100 or -3sd,3sd."""
    where: str | None = None
    """Prompts of the grid to keep, as type=declarative,level>=4."""
    controls: int = Field(default=40, ge=0)
    """Matched units for each target; 0 gives no p from controls."""
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
    natural: tuple[DataRef, ...] = ()
    """Natural text for doses and matching: FILE, suite:FILE, world:DOMAIN#N."""
    calibrate: FilePath | None = None
    """A CSV of labels (text, collapsed, maybe group, nll_band) to fit the score on."""
    batch_rows: int = Field(default=64, ge=1)
    """Rows of one batch."""
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
    from radiograph.interventions import bind, parse_conditions

    model = ctx.model(config.model, "model")
    if model.tokenizer is None:
        raise UserError("a sweep needs a tokenizer", where=config.model)
    grid: Grid = ctx.grid(config.grid)
    grid = grid if config.where is None else grid.where(config.where)
    score, facts, labels = _judged.score_of(config.calibrate, ctx)
    asked = parse_conditions([_with_dose(text, config.dose) for text in config.write])
    statistics: dict[str, Any] = {}
    if config.controls or config.directions or _natural_dose(asked):
        statistics = _swept.natural(ctx, model, asked, config.natural, config.directions > 0)
    bound = bind(model, asked, statistics=statistics)
    study = _swept.Study(
        model,
        grid,
        _swept.prompt_tokens(model, grid, config.new_tokens),
        score,
        config.batch_rows,
        ctx,
        frozenset() if config.run_on else None,
    )
    decoding = Decoding(new_tokens=config.new_tokens, seed=ctx.seed)
    parted = _parted(grid, config.confirm, ctx.seed)
    with ctx.measure("sweep"):
        rows = study.rows(bound, decoding, range(len(grid.records)))
    groups = _judged.conditions(rows)
    chosen = _chosen(asked, groups, _ids(grid, parted.choosing))
    claims = {name: _among(own, _ids(grid, parted.claiming)) for name, own in groups.items()}
    base = claims[_judged.BASELINE]
    found = {name: _judged.paired(base, own) for name, own in claims.items() if name != _judged.BASELINE}
    lines = [row for name, pairs in found.items() if (row := _judged.condition_row(name, pairs, ctx.seed))]
    if not lines:
        raise Refusal("not_scored", "no pair of texts of 8 tokens or more", got=f"{len(rows)} texts")
    table = _judged.with_q(lines)
    with ctx.measure("controls"):
        controls = _controls(config, study, chosen, table, base, decoding, parted.claiming, statistics)
    plain: list[CollapseRow] = []
    if config.decoding_baselines:
        others = _swept.plain_decoding(study, base, decoding, parted.claiming, bound[0])
        plain = [row for name, pairs in others if (row := _judged.condition_row(name, pairs, ctx.seed))]
    ctx.output.table("rows", _rows_table(rows, decoding))
    ctx.output.table("metrics", _judged.metrics_table([row for own in claims.values() for row in own]))
    ctx.output.table("contingency", _judged.contingency_table(table))
    pairs = _ordered_pairs(found, chosen)
    verdicts = [row for row in base if row.judged.collapsed is not None]
    named = tuple(condition.name for condition in chosen if condition.name in {row.condition for row in table})
    attribution = _attributed(study, chosen, bound, parted.claiming)
    ctx.output.table("dla", _dla_table(attribution))
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
        chosen=named,
        controls=controls,
        decoding=tuple(plain),
        pairs=tuple(pairs[: _judged.PAIRS]),
        pairs_left_out=max(0, len(pairs) - _judged.PAIRS),
        attribution=attribution,
        by_factor=_judged.by_factor({k: claims[k] for k in (_judged.BASELINE, *named[:1])}),
        curve=tuple((float(a), float(b)) for a, b in facts["curve"]),
        required=config.require is not None,
        met=_met(table, controls, named),
        notes=_notes(base, table, parted),
    )


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
    best: dict[str, tuple[float, Condition]] = {}
    for condition in conditions:
        if not condition.writes:
            continue
        net = _judged.net_of(_judged.paired(base, _among(groups[condition.name], ids)))
        target = "; ".join(write.target for write in condition.writes)
        value = -2.0 if net is None else net
        if target not in best or value > best[target][0]:
            best[target] = (value, condition)
    return [condition for _, condition in best.values()]


def _controls(
    config: Config,
    study: _swept.Study,
    chosen: Sequence[Condition],
    table: Sequence[CollapseRow],
    base: Sequence[JudgedRow],
    decoding: Decoding,
    prompts: Sequence[int],
    statistics: Any,
) -> tuple[CollapseControl, ...]:
    """Of every chosen write; q over targets, each kind by itself. Rows of the table `controls`."""
    from radiograph.numerics.multiplicity import q_values

    nets = {row.condition: row.net for row in table}
    found: list[CollapseControl] = []
    rows: list[dict[str, Any]] = []
    for condition in chosen:
        if not (config.controls or config.directions) or condition.name not in nets:
            continue
        if len(condition.writes) != 1:
            raise UserError(
                "no controls are defined for writes that act together", got=condition.name, fix="--controls 0"
            )
        own, table_rows = _swept.controls_of(
            study,
            condition.writes[0],
            base,
            nets[condition.name],
            decoding,
            prompts,
            statistics=statistics,
            units=config.controls,
            directions=config.directions,
        )
        found += own
        rows += table_rows
    names = ("condition", "kind", "control", "distance", "net")
    study.ctx.output.table("controls", {name: [row[name] for row in rows] for name in names})
    out = list(found)
    for kind in ("units", "haar", "covariance"):
        places = [k for k, one in enumerate(found) if one.kind == kind and one.p is not None]
        q = q_values(np.array([found[k].p for k in places], dtype=float)) if places else []
        for place, value in zip(places, q, strict=True):
            out[place] = found[place].model_copy(update={"q": float(value)})
    return tuple(out)


def _met(table: Sequence[CollapseRow], controls: Sequence[CollapseControl], chosen: Sequence[str]) -> bool:
    special = {c.condition for c in controls if c.kind == "units" and c.q is not None and c.q < ALPHA}
    return any(
        row.condition in chosen and row.net > 0 and (row.q if row.q is not None else 1.0) < ALPHA
        for row in table
        if row.condition in special
    )


def _attributed(
    study: _swept.Study, chosen: Sequence[Condition], bound: Sequence[BoundCondition], prompts: Sequence[int]
) -> tuple[UnitAttribution, ...]:
    """Of every chosen single unit of a hidden layer that is set: what it does to the next token."""
    from radiograph.interventions import attribute

    raw = {condition.name: condition.writes for condition in bound}
    tokens = [study.ids[i] for i in prompts[:SHOWN_PROMPTS]]
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


def _rows_table(rows: Sequence[JudgedRow], decoding: Decoding) -> dict[str, list[Any]]:
    """Every text, in the columns of a capture."""
    texts = [row.row for row in rows]
    factors = [name for name, _ in texts[0].factors]
    columns: dict[str, list[Any]] = {"row": list(range(len(texts)))}
    columns |= {name: [getattr(row, name) for row in texts] for name in ("prompt_id", "core")}
    columns |= {name: [dict(row.factors)[name] for row in texts] for name in factors}
    columns["variant"] = [1] * len(texts)
    columns |= {name: [getattr(row, name) for row in texts] for name in ("sample", "condition", "target")}
    columns["seed"] = [decoding.seed] * len(texts)
    columns["dose_raw"], columns["dose_sd"] = [row.dose for row in texts], [row.dose_sd for row in texts]
    columns |= {name: [getattr(row, name) for row in texts] for name in ("prompt", "text")}
    columns["ids"] = [list(row.ids or ()) for row in texts]
    columns["stop"] = ["non-finite" if row.broken else "" for row in texts]
    return columns


def _ordered_pairs(found: dict[str, Any], chosen: Sequence[Condition]) -> list[Any]:
    """Moved pairs, those of chosen conditions first."""
    names = [condition.name for condition in chosen]
    order = [*(n for n in names if n in found), *(n for n in found if n not in names)]
    return [pair for name in order for pair in _judged.moved_pairs(found[name])]


def _notes(base: Sequence[JudgedRow], table: Sequence[CollapseRow], parted: _Parted) -> tuple[str, ...]:
    notes = [] if parted.note is None else [parted.note]
    skipped = sum(row.judged.collapsed is None for row in base)
    if skipped:
        notes.append(f"{skipped} of {len(base)} baseline texts are not scored (under 8 tokens, or not finite)")
    if any(row.net_low is None for row in table):
        notes.append("under 4 cores: no interval of net")
    return tuple(notes)


def recompute(result: dict[str, Any], folder: Path) -> list[str]:
    """Do the counts follow from the stored verdicts?"""
    import polars

    stored = CollapseResult.read(result)
    return _judged.recomputed(stored.rows, polars.read_parquet(folder / "tables" / "metrics.parquet"))
