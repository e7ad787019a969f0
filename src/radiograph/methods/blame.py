"""Which training rows does an output come from?

1. the candidate's rows, tokenised as in training; both models' loss on each. The rows must look learned (mean loss
   below the reference's, beyond its interval), and the candidate must show the behaviour that is asked about: f, the
   log probability of the completions (less that of foils), rose by more than 2 standard errors, and at least half of
   them are preferred to the foil or to what the reference answers
2. gradients of every row: inputs and output gradients of all linear maps from one batched forward and backward, LoRA
   factors or weights by address; projected from two sides where they are many (LoGra)
3. scores, above 0 where training on the row raised f: `datainf` (Kwon et al. 2024) in closed form, `dot`, `cosine`,
   `ekfac` (Grosse et al. 2023), `tracin` (Pruthi et al. 2020) over checkpoints; intervals over groups of targets
4. beside them what needs no target's gradient: word overlap (BM25), loss, its drop, gradient norm; RelatIF; and of the
   leading rows the matrices and tokens that the score comes from
5. --validate retrains: without the leading rows (`leave-out`), on random halves (`lds`), with planted rows
   (`self-check`)

Units: nats of f for a unit of the row's weight, up to the scale of each method. Without 5 this is gradient evidence,
not a cause. Refuses when: the rows were not learned, the behaviour is absent (exit 4), the budget is too small.
"""

from __future__ import annotations

import shutil
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field

from radiograph.core import Config as Base
from radiograph.core import Context, FilePath, Input, ModelRef, Refusal, RunPath, UserError, nearest
from radiograph.evidence.influence import Blame, BlamePlan

if TYPE_CHECKING:
    from radiograph.methods._blame.rows import Data
    from radiograph.methods._blame.scores import Options, Scored
    from radiograph.methods._blame.targets import Targets
    from radiograph.methods._blame.written import Study
    from radiograph.models import Pair

ALIASES = ("adapters blame",)
LIMITS = ("rows", "checkpoints")
METHODS = ("datainf", "dot", "cosine", "tracin", "ekfac")
MANY = 50_000_000
TargetRef = Annotated[str, Input("file")]


class Config(Base):
    """Whose output, which rows, how they are scored."""

    candidate: ModelRef
    """REF+ADAPTER, a full fine-tune or a checkpoint folder."""
    data: FilePath | None = None
    """Training rows, JSON Lines: messages, prompt and response, or text."""
    target: TargetRef | None = None
    """FILE of {prompt, completion, foil}, or loss:ROWS."""
    prompt: str | None = None
    """A single target's prompt, with --completion."""
    completion: str | None = None
    """What the candidate said."""
    foil: str | None = None
    """What it might have said instead."""
    reference: ModelRef | None = None
    """The model before; by default REF of REF+ADAPTER."""
    method: str = "datainf"
    """datainf, dot, cosine, tracin, ekfac; several by comma, the first orders the rows."""
    weights: tuple[str, ...] = ()
    """Matrices, as down.* or o.3-5; by default all LoRA factors, or all weights. Repeatable."""
    layer: str | None = None
    """Older name of --weights."""
    format: Literal["auto", "text", "prompt_response", "messages"] = "auto"
    """Form of the rows; auto takes each as it is."""
    chat: Literal["template", "plain"] = "template"
    """How conversations become text."""
    loss: Literal["sum", "mean"] = "sum"
    """A row's loss: its tokens' nats summed, or their mean."""
    checkpoints: str | None = None
    """Of tracin: a folder of checkpoint-N folders, or a comma list."""
    lr: tuple[float, ...] = ()
    """Of tracin: learning rate, one or one a checkpoint; by default what the trainer logged. Repeatable."""
    fisher: Literal["model", "empirical"] = "model"
    """Of ekfac: labels drawn from the model, or the data's own."""
    projection: str = "auto"
    """auto, off, or entries kept of a row's gradient."""
    store: Literal["shards", "recompute"] = "shards"
    """Gradients on disk, or taken again at each sweep."""
    shard_rows: int = Field(default=1024, ge=1)
    """Rows of a shard."""
    keep_gradients: bool = False
    """Leave the shards in the run."""
    top_k: int = Field(default=50, ge=1, le=10_000)
    """Rows that are reported with tokens and matrices; the table holds all."""
    budget: str = "4h"
    """60s to 24h; a run that would take longer is refused with its plan."""
    fit: bool = False
    """Over budget: score a sample of the rows, and list the others."""
    plan_only: bool = False
    """Time 32 rows, and say what the run would cost."""
    resume: RunPath | None = None
    """A run that was killed (.partial), to go on with."""
    weak: bool = False
    """Go on where the behaviour is absent or the rows look unlearned; stamped."""
    validate_: str = Field(default="none")
    """none, self-check, leave-out[:K], lds[:M]; these retrain."""
    recipe: FilePath | None = None
    """How the candidate was trained, for --validate; by default what lies beside an organism."""
    workers: int = Field(default=1, ge=1)
    """Processes that retrain."""
    schema_: Literal["radiograph", "soup"] = "radiograph"
    """Keys of what is printed: ours, or those of soup-cli."""


def run(config: Config, ctx: Context) -> Blame | BlamePlan:
    """Read, check, score, validate, write."""
    from radiograph.methods._blame import plan as _plan
    from radiograph.methods._blame import validate, written

    asked = validate.Asked.parse(config.validate_)
    budget = _plan.seconds(config.budget)
    methods = _methods(config)
    study = _prepared(config, ctx, methods)
    with ctx.measure("plan"):
        planned = _planned(config, study, methods, budget)
    if config.plan_only:
        return planned
    if planned.total > planned.budget_hours:
        if not config.fit:
            raise Refusal(
                "over_budget",
                f"this would take {planned.total:.2g} h",
                expected=f"at most {planned.budget_hours:.2g} h",
                got=planned.headline,
                fix="raise --budget, or score a sample of the rows with --fit",
            )
        share = planned.budget_hours / planned.total
        study = study.kept(_plan.fitting(study.data, study.drop, share, ctx.seed))
        study.stamps.append(f"sampled: {len(study.data.rows)} of {study.data.count} rows fit the budget")
    trainer = _trainer(config, ctx, study, asked.kind)
    options = _options(config, ctx, methods)
    folder = _folder(config, ctx)
    with ExitStack() as stack:
        made = _scored(config, ctx, study, options, folder, stack)
        report = written.Report.of(study, made, options, config.top_k, ctx)
    report.tokens(study, made, options)
    check = _validated(config, ctx, study, made, options, report, trainer, asked)
    if folder is not None and not config.keep_gradients:
        shutil.rmtree(folder)
    return report.result(study, made, options, check)


def _methods(config: Config) -> tuple[str, ...]:
    found = tuple(dict.fromkeys(name.strip() for name in config.method.split(",") if name.strip()))
    for name in found or ("",):
        if name not in METHODS:
            close = nearest(name, list(METHODS))
            raise UserError(
                f"no method {name!r}",
                where="--method",
                expected=", ".join(METHODS),
                fix=f"did you mean {', '.join(close)}?" if close else None,
                code="unknown_method",
            )
    if ("tracin" in found) != (config.checkpoints is not None):
        raise UserError("tracin and --checkpoints belong together", where="--method", code="usage")
    return found


BESIDE = ("dot", "cosine")
"""Of the same gradients, at no cost."""


def _prepared(config: Config, ctx: Context, methods: tuple[str, ...]) -> Study:
    """Models, rows and targets, and everything that has to hold before a gradient is taken.

    Raises:
        Refusal: the rows were not learned; the behaviour is absent.
    """
    from radiograph.methods._blame import conclude, rows, targets
    from radiograph.methods._blame.written import Study, prepared_table
    from radiograph.models.gradients import tracked_matrices

    _check_given(config)
    reference = config.reference or config.candidate.partition("+")[0]
    if "+" not in config.candidate and config.reference is None:
        raise UserError(
            "blame needs the model before the fine-tune",
            where="--reference",
            expected="CANDIDATE as REF+ADAPTER, or --reference REF",
            code="no_reference",
        )
    assert config.data is not None, "checked"
    pair = ctx.pair(reference, config.candidate)
    path = ctx.path(config.data, "data")
    pair.check_tokenizers()
    patterns = config.weights or ((config.layer,) if config.layer else ())
    if not patterns and not pair.candidate.adapter_on:
        size = sum(p.numel() for p in pair.candidate.parameters().values())
        if size > MANY:
            raise UserError(
                f"a model of {size:,} parameters needs --weights",
                where="--weights",
                expected="addresses such as down.* or o.3-5",
                code="no_weights",
            )
    matrices = tracked_matrices(pair.candidate, patterns)
    limit = min(pair.reference.context_length, pair.candidate.context_length)
    data = rows.read_data(path, pair.candidate.tokenizer, limit, form=config.format, chat=config.chat)
    ctx.limits.check("rows", data.count, "training rows", data.name)
    own = _targets(config, ctx, pair, limit)
    stamps = [note for note in pair.candidate.notes if note.startswith("adapter_base_unverified")]
    plain = config.format == "text"
    with ctx.measure("losses"):
        table = prepared_table(pair, data, own)
        found = targets.measured(pair, own, plain=plain, chat=config.chat)
    learnt = conclude.learnt(table, ctx.seed)
    behaviour = targets.behaviour(own.kind, found, int(own.groups.max()) + 1)
    if behaviour.n == 1:
        stamps.append("single_target")
    for refusal in (conclude.unlearned(learnt), targets.absent(behaviour)):
        if refusal is not None and not config.weak:
            raise refusal
        if refusal is not None:
            stamps.append(f"{refusal.code}: {refusal.got}")
    labels = ctx.label(reference), ctx.label(config.candidate), ctx.label(config.data)
    return Study(labels, pair, data, own, found, matrices, patterns, table, learnt, behaviour, stamps)


def _check_given(config: Config) -> None:
    if config.data is None:
        raise UserError(
            "blame needs the rows that the candidate was trained on",
            where="--data",
            expected="FILE.jsonl",
            code="no_data",
        )
    single = config.prompt is not None or config.completion is not None or config.foil is not None
    whole = config.prompt is not None and config.completion is not None
    if single == (config.target is not None) or (single and not whole):
        raise UserError(
            "blame needs to know which output",
            where="--target",
            expected="--target FILE of {prompt, completion, foil}, or --prompt and --completion",
            code="no_target",
        )


def _targets(config: Config, ctx: Context, pair: Pair, limit: int) -> Targets:
    from radiograph.methods._blame import rows, targets

    plain = config.format == "text"
    if config.target is None:
        assert config.prompt is not None and config.completion is not None, "checked"
        asked = (targets.checked(targets.Asked(config.prompt, config.completion, config.foil, "--completion")),)
    elif config.target.startswith("loss:"):
        path = ctx.path(config.target.removeprefix("loss:"), "target")
        read = rows.read_data(path, pair.candidate.tokenizer, limit, form=config.format, chat=config.chat)
        return targets.any_rows(read.rows, read.name)
    else:
        asked = targets.read_targets(ctx.path(config.target, "target"))
    return targets.completions(asked, pair.candidate, plain=plain, chat=config.chat)


def _planned(config: Config, study: Study, methods: tuple[str, ...], budget: float) -> BlamePlan:
    from radiograph.harvest.gradients import Projection
    from radiograph.methods._blame import plan as _plan
    from radiograph.methods._blame.scores import first_entries

    entries = first_entries(study.matrices, len(study.data.rows), config.projection)
    return _plan.plan(
        study.pair.candidate,
        Projection.of(study.matrices, entries, 0),
        study.data,
        methods=methods,
        stored=config.store == "shards",
        checkpoints=1 if config.checkpoints is None else max(1, config.checkpoints.count(",") + 1),
        shard_rows=config.shard_rows,
        budget=budget,
    )


def _options(config: Config, ctx: Context, methods: tuple[str, ...]) -> Options:
    from radiograph.methods._blame.scores import Options

    return Options(
        tuple(dict.fromkeys((*methods, *BESIDE))),
        config.loss,
        config.projection,
        config.store,
        config.shard_rows,
        config.fisher,
        ctx.seed,
    )


def _folder(config: Config, ctx: Context) -> Path | None:
    if config.store == "recompute":
        return None
    earlier = None if config.resume is None else ctx.locate(config.resume)
    if earlier is not None and (earlier / "gradients").is_dir():
        return ctx.output.adopt(earlier, "gradients")
    return ctx.output.folder("gradients")


def _scored(
    config: Config, ctx: Context, study: Study, options: Options, folder: Path | None, stack: ExitStack
) -> Scored:
    from radiograph.methods._blame import checkpoints, scores

    model = study.pair.candidate
    facts = {
        "model": model.identity.tensors_sha256,
        "rows": [row.sha256 for row in study.data.rows],
        "tokens": [len(row.ids) for row in study.data.rows],
        "chat": config.chat,
    }
    made = scores.scored(stack, ctx, model, study.matrices, study.data, study.targets, options, folder, facts)
    if config.checkpoints is not None:
        names = checkpoints.folders_of(ctx, config.checkpoints)
        opened = checkpoints.opened(ctx, config.reference or config.candidate.partition("+")[0], names, config.lr)
        with ctx.measure("tracin"):
            made.scores["tracin"], notes = scores.traced(
                ctx, opened, study.data, study.targets, options, study.patterns
            )
        study.stamps.extend(notes)
    return made


def _trainer(config: Config, ctx: Context, study: Study, kind: str) -> Any:
    if kind == "none":
        return None
    from radiograph.methods._blame.retrain import Trainer, read_recipe

    recipe = read_recipe(ctx, config.recipe, study.pair.candidate.adapter_folder or study.pair.candidate.folder)
    return Trainer(ctx, study.pair, recipe, study.data, study.targets, config.workers)


def _validated(
    config: Config, ctx: Context, study: Study, made: Scored, options: Options, report: Any, trainer: Any, asked: Any
) -> Any:
    from radiograph.methods._blame import rows, validate

    if asked.kind == "none":
        return None
    data: Data = study.data
    with ctx.measure("validation"):
        if asked.kind == "leave-out":
            k = asked.n or min(config.top_k, max(1, int(validate.TOP_SHARE * len(data.rows))))
            check, table = validate.leave_out(
                trainer, data, report.places, study.words, k, study.behaviour.f_candidate, ctx.seed
            )
        elif asked.kind == "lds":
            own = {name: values[:, 1:] for name, values in made.scores.items()}
            halves = asked.n or validate.HALVES
            check, table = validate.lds_halves(trainer, data, own, study.targets, halves, ctx.seed)
        else:
            tokenizer = study.pair.candidate.tokenizer
            check, why = validate.self_check(
                ctx,
                trainer,
                data,
                options,
                config.chat,
                study.patterns,
                lambda turns: rows.added(turns, tokenizer, data.count, config.chat),
            )
            if why is not None:
                study.stamps.append(why)
            return check
    ctx.output.table("validation", table)
    return check


def recompute(result: dict[str, Any], folder: Path) -> list[str]:
    """Do order, ranks, intervals, behaviour and validation follow from the tables?"""
    from radiograph.methods._blame.recompute import differences

    if result["schema"] == BlamePlan.SCHEMA:
        return []
    return differences(Blame.read(result), folder)


def soup(result: Blame | BlamePlan) -> dict[str, Any]:
    """The keys of soup-cli 0.77; clock times stand in the manifest alone.

    Raises:
        Refusal: a plan has no such keys.
    """
    if isinstance(result, BlamePlan):
        raise Refusal("plan_only", "a plan has no keys of soup-cli", got=result.headline)
    adapter = result.candidate.partition("+")[2] or result.candidate
    return {
        "adapter_dir": adapter,
        "dataset_path": result.data,
        "layer": ",".join(result.patterns) or None,
        "num_rows_scored": result.rows_scored,
        "elapsed_seconds": None,
        "top_influencers": [{"row_id": row.row, "score": row.score, "shard_id": row.shard} for row in result.top],
    }
