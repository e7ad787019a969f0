"""Which training rows does an output come from?

1. the candidate's rows, tokenised as in training; both models' loss on each. The rows must look learned (mean loss
   below the reference's, beyond its interval), and the candidate must show the behaviour that is asked about: f, the
   log probability of the completions (less that of foils) or what a probe or feature reads of texts, rose by more than
   2 standard errors, and at least half of the completions are preferred to the foil or to what the reference answers
2. gradients of every row, at a point of the path from the reference to the candidate (--at): inputs and output
   gradients of all linear maps from one batched forward and backward, LoRA factors or weights by address; projected
   from two sides where they are many (LoGra)
3. scores, above 0 where training on the row raised f: `datainf` (Kwon et al. 2024) in closed form, `dot`, `cosine`,
   `ekfac` (Grosse et al. 2023), `tracin` (Pruthi et al. 2020) over checkpoints; intervals over groups of targets. Rows
   are ordered by relative scores (RelatIF), largest over those groups
4. beside them what needs no target's gradient: word overlap (BM25), loss, its drop, gradient norm; and of the leading
   rows the matrices and tokens that the score comes from
5. --validate retrains: without the leading rows (`leave-out`), on random halves (`lds`), with planted rows
   (`self-check`)

--screen probe:FILE ranks rows before anything is trained: by ⟨w, x(the row's answer) − x(the reference's own greedy
answer)⟩, x the mean over an answer's tokens at the probe's site (Chen et al. 2025), beside random directions.

Units: nats of f (the unit of what is read, where f is that) for a unit of the row's weight, up to the scale of each
method; of a screen those of the probe's score. Without 5 this is gradient evidence, not a cause. Refuses when: the rows
were not learned, the behaviour is absent, a probe is of another model (exit 4), the budget is too small. Exit 4 also
where --validate was asked for and retraining could not say: planted rows not learned, a candidate not given again.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

from radiograph.core import Context, Refusal, UserError, nearest
from radiograph.evidence.influence import Blame, BlamePlan, BlameScreen
from radiograph.methods._blame.options import Config

if TYPE_CHECKING:
    from radiograph.methods._blame.checkpoints import Between
    from radiograph.methods._blame.plan import Copies
    from radiograph.methods._blame.rows import Data
    from radiograph.methods._blame.scores import Options, Scored
    from radiograph.methods._blame.targets import Targets
    from radiograph.methods._blame.written import Study
    from radiograph.models import Pair

__all__ = ["Config", "recompute", "run", "soup"]
RULES = {"blame": 2}
ALIASES = ("adapters blame",)
LIMITS = ("rows", "checkpoints")
METHODS = ("datainf", "dot", "cosine", "tracin", "ekfac")
MANY = 50_000_000


def run(config: Config, ctx: Context) -> Blame | BlamePlan | BlameScreen:
    """Read, check, score, validate, write."""
    if config.screen is not None:
        from radiograph.methods._blame.screen import screened

        return screened(config, ctx)
    from radiograph.methods._blame import checkpoints, validate, written
    from radiograph.methods._blame import plan as _plan

    asked = validate.Asked.parse(config.validate_)
    budget = _plan.seconds(config.budget)
    if config.interval is not None and config.checkpoints is not None:
        raise UserError("--interval tells its own checkpoints", where="--checkpoints", code="usage")
    methods = _methods(config)
    inside = None if config.interval is None else checkpoints.between(ctx, config.interval, config.order)
    config = _of_interval(config, ctx, inside)
    names: Sequence[str] = [] if inside is None or "tracin" not in methods else inside.names
    names = checkpoints.folders_of(ctx, config.checkpoints) if config.checkpoints is not None else names
    study = _prepared(config, ctx, methods, None if inside is None else inside.lines)
    study.stamps.extend(() if inside is None else inside.stamps)
    trainer = _trainer(config, ctx, study, asked.kind)
    with ctx.measure("plan"):
        copies = None if trainer is None else trainer.timed(validate.trainings(asked), config.workers)
        planned = _planned(config, study, methods, budget, len(names), copies)
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
        made = _scored(config, ctx, study, options, folder, stack, names)
        report = written.Report.of(study, made, options, config.top_k, ctx)
    report.tokens(study, made, options, ctx)
    check = _validated(config, ctx, study, made, options, report, trainer, asked)
    if folder is not None and not config.keep_gradients:
        shutil.rmtree(folder)
    return report.result(study, made, options, check)


def _of_interval(config: Config, ctx: Context, inside: Between | None) -> Config:
    """The candidate is the first broken checkpoint, unless one was given."""
    if config.candidate is not None or inside is None:
        return config
    broken = inside.names[-1]
    if (ctx.locate(broken) / "adapter_config.json").is_file():
        if config.reference is None:
            raise UserError(
                "the adapters of --interval need the model they lie on", where="--reference", code="no_reference"
            )
        broken = f"{config.reference}+{broken}"
    return config.model_copy(update={"candidate": broken})


def _methods(config: Config) -> tuple[str, ...]:
    given = config.method if config.method is not None else "tracin" if config.interval is not None else "datainf"
    found = tuple(dict.fromkeys(name.strip() for name in given.split(",") if name.strip()))
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
    told = config.checkpoints is not None or ("tracin" in found and config.interval is not None)
    if ("tracin" in found) != told:
        raise UserError("tracin and --checkpoints belong together", where="--method", code="usage")
    if config.order is not None and config.interval is None:
        raise UserError("--order tells rows of an interval", where="--order", expected="--interval", code="usage")
    return found


BESIDE = ("dot", "cosine")
"""Of the same gradients, at no cost."""


def _prepared(config: Config, ctx: Context, methods: tuple[str, ...], lines: frozenset[int] | None) -> Study:
    """Models, rows and targets, and everything that has to hold before a gradient is taken. `lines`: of rows to score.

    Raises:
        Refusal: the rows were not learned; the behaviour is absent.
    """
    from radiograph.methods._blame import conclude, retrain, rows, targets
    from radiograph.methods._blame.written import Study, prepared_table
    from radiograph.models.gradients import tracked_matrices

    _check_given(config)
    assert config.candidate is not None, "checked"
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
    if lines is not None:
        data = data.kept([number for number, row in enumerate(data.rows) if row.line in lines])
        if not data.rows:
            raise UserError("none of the rows was read between the checkpoints", where="--order", code="no_rows")
    own, remarks = _targets(config, ctx, pair, limit)
    stamps = [note for note in pair.candidate.notes if note.startswith("adapter_base_unverified")] + list(remarks)
    plain = config.format == "text"
    with ctx.measure("losses"):
        table = prepared_table(pair, data, own)
        found = targets.measured(pair, own, plain=plain, chat=config.chat)
    learnt = conclude.learnt(table, ctx.seed)
    read = None if own.reading is None else own.reading.name
    behaviour = targets.behaviour(own.kind, found, int(own.groups.max()) + 1, own.given, read)
    if behaviour.n == 1:
        stamps.append("single_target")
    for refusal in (conclude.unlearned(learnt), targets.absent(behaviour)):
        if refusal is not None and not config.weak:
            raise refusal
        if refusal is not None:
            stamps.append(f"{refusal.code}: {refusal.got}")
    recipe, _ = retrain.known_recipe(ctx, config.recipe, pair.candidate.adapter_folder or pair.candidate.folder)
    weights = None if recipe is None else (recipe.text_weight, recipe.prompt_weight)
    data = data if weights is None else data.weighed(*weights)
    labels = ctx.label(reference), ctx.label(config.candidate), ctx.label(config.data)
    return Study(labels, pair, data, own, found, matrices, patterns, table, learnt, behaviour, weights, stamps)


def _check_given(config: Config) -> None:
    if config.candidate is None:
        raise UserError(
            "blame needs a candidate",
            expected="REF+ADAPTER, --interval RUN, or --screen probe:FILE",
            code="no_candidate",
        )
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
            expected="--target FILE of {prompt, completion, foil}, loss:ROWS, probe:FILE or feature:SOURCE#N with"
            " --texts, or --prompt and --completion",
            code="no_target",
        )


INSIDE = ("probe", "feature")
"""Targets that are read of texts."""


def _targets(config: Config, ctx: Context, pair: Pair, limit: int) -> tuple[Targets, tuple[str, ...]]:
    """What is asked about, and remarks."""
    from radiograph.methods._blame import rows, targets

    plain = config.format == "text"
    if config.target is not None and config.target.partition(":")[0] in INSIDE:
        return targets.read_inside(ctx, pair, config.target, config.texts)
    if config.texts:
        raise UserError(
            "--texts is read by a probe or a feature",
            where="--target",
            expected="probe:FILE or feature:SOURCE#N",
            code="usage",
        )
    if config.target is None:
        assert config.prompt is not None and config.completion is not None, "checked"
        asked = (targets.checked(targets.Asked(config.prompt, config.completion, config.foil, "--completion")),)
    elif config.target.startswith("loss:"):
        path = ctx.path(config.target.removeprefix("loss:"), "target")
        read = rows.read_data(path, pair.candidate.tokenizer, limit, form=config.format, chat=config.chat)
        return targets.any_rows(read.rows, read.name), ()
    else:
        asked = targets.read_targets(ctx.path(config.target, "target"))
    return targets.completions(asked, pair.candidate, plain=plain, chat=config.chat), ()


def _planned(
    config: Config, study: Study, methods: tuple[str, ...], budget: float, names: int, copies: Copies | None
) -> BlamePlan:
    from radiograph.harvest.gradients import Projection
    from radiograph.methods._blame import plan as _plan
    from radiograph.methods._blame.gradients import first_entries

    entries = first_entries(study.matrices, len(study.data.rows), config.projection)
    return _plan.plan(
        study.pair.candidate,
        Projection.of(study.matrices, entries, 0),
        study.data,
        methods=methods,
        stored=config.store == "shards",
        checkpoints=names,
        shard_rows=config.shard_rows,
        budget=budget,
        tokens=config.top_k,
        copies=copies,
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
        config.at,
        config.rank,
        ctx.seed,
    )


def _folder(config: Config, ctx: Context) -> Path | None:
    if config.resume is not None and config.store == "recompute":
        raise UserError("a run without shards leaves nothing to go on with", where="--resume", code="usage")
    if config.store == "recompute":
        return None
    if config.resume is not None:
        return ctx.output.adopt(ctx.locate(config.resume), "gradients")
    return ctx.output.folder("gradients")


def _scored(
    config: Config,
    ctx: Context,
    study: Study,
    options: Options,
    folder: Path | None,
    stack: ExitStack,
    names: Sequence[str],
) -> Scored:
    from radiograph.methods._blame import checkpoints, gradients, scores

    model = study.pair.candidate
    facts = {
        "model": model.identity.tensors_sha256,
        "rows": [row.sha256 for row in study.data.rows],
        "tokens": [len(row.ids) for row in study.data.rows],
        "chat": config.chat,
        "weights": None if study.weights is None else list(study.weights),
    }
    made = scores.scored(stack, ctx, study.pair, study.matrices, study.data, study.targets, options, folder, facts)
    if names:
        opened = checkpoints.opened(ctx, config.reference or str(config.candidate).partition("+")[0], names, config.lr)
        with ctx.measure("tracin"):
            made.scores["tracin"], made.energies["tracin"], made.lengths["tracin"], notes = gradients.traced(
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
            ctx.output.table("validation_scores", validate.scores_table([row.place for row in data.rows], own))
        else:
            tokenizer = study.pair.candidate.tokenizer
            check, found = validate.self_check(
                ctx,
                trainer,
                data,
                options,
                config.chat,
                study.patterns,
                lambda turns: rows.added(turns, tokenizer, data.count, config.chat),
            )
            if isinstance(found, str):
                study.stamps.append(found)
                return None
            table = found
    ctx.output.table("validation", table)
    return check


def recompute(result: dict[str, Any], folder: Path) -> list[str]:
    """Do order, ranks, intervals, behaviour and validation follow from the tables?"""
    from radiograph.methods._blame.recompute import differences
    from radiograph.store import Bundle, derived

    config = Bundle(folder).manifest.config
    kind = BlamePlan if config["plan_only"] else Blame if config["screen"] is None else BlameScreen
    if result["schema"] != kind.SCHEMA:
        return [f"/schema is {result['schema']}, and {kind.SCHEMA} was asked for"]
    if kind is BlamePlan:
        return []
    if result["schema"] == BlameScreen.SCHEMA:
        from radiograph.methods._blame import screen

        return derived(lambda: screen.differences(BlameScreen.read(result), folder))
    return derived(lambda: differences(Blame.read(result), folder))


def soup(result: Blame | BlamePlan | BlameScreen) -> dict[str, Any]:
    """The keys of soup-cli 0.77; clock times stand in the manifest alone.

    Raises:
        Refusal: a plan or a screen has no such keys.
    """
    if isinstance(result, BlamePlan):
        raise Refusal("plan_only", "a plan has no keys of soup-cli", got=result.headline)
    if isinstance(result, BlameScreen):
        raise Refusal("screen_only", "a screen has no keys of soup-cli", got=result.headline)
    adapter = result.candidate.partition("+")[2] or result.candidate
    top = [
        {"row_id": row.row, "score": row.relative if result.rank == "relative" else row.score, "shard_id": row.shard}
        for row in result.top
    ]
    return {
        "adapter_dir": adapter,
        "dataset_path": result.data,
        "layer": ",".join(result.patterns) or None,
        "num_rows_scored": result.rows_scored,
        "elapsed_seconds": None,
        "top_influencers": top,
    }


def as_written(result: dict[str, Any], folder: Path) -> list[str]:
    """What needs the rows, the models or their gradients."""
    from radiograph.methods._blame.recompute import as_written as taken

    return taken(Blame.read(result)) if result["schema"] == Blame.SCHEMA else ["texts and counts"]
