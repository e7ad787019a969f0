"""Does moving a feature move the outcome, more than moving anything else as far, and at what cost?

1. prompts of a criterion in two halves; an outcome (`logprob` of targets, `choice`, another feature's code, a probe's
   score, `rate`: the share of continuations that hold a target); without targets there is none, except for codes,
   probes, and `rate` by a judge: --endpoint and --chat-model name a language model, which is first held against the
   labels of the criterion's own prompts (Cohen's κ), and then asked of each continuation whether it meets the criterion
2. each feature is pushed at every dose (`steer`), or ablated, amplified, clamped, or patched from the other label's
   prompt of its group; the write adds W_dec·Δcode and keeps what a dictionary does not explain
3. directed effect = push × (with − without): positive where the feature promotes the outcome
4. discover chooses the dose: largest bound of the effect inside --max-kl, --max-ppl, --max-negative; perhaps none
5. confirm judges: effect with interval, p, q; controls of equal length position by position: placebo, random and
   covariance-matched directions, live features matched by norm and by frequency; dose-response; side effects
6. grades: no_effect, effect, beyond_controls, validated; a strong causal score in units of the outcome
Rows stand in tables/interventions.parquet (`radiograph.intervention/1`), and `verify` grades them again.

Source of p: Phipson and Smyth 2010. Units: nats (logprob), probability (choice), the code's own (feature:SOURCE).
Refuses when: no targets; too few positives in a half; the placebo moves anything; a feature has no natural unit; the
judge's κ is under .6, or a continuation was not judged.
What `patch` costs on neutral text, which has no partner: each position gets the mean of what positives get.
Exit 2: no dose of any feature is acceptable (`none_acceptable`), or --require is not met. Exit 4: nothing was measured.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field

from radiograph.core import Context, FeaturesRef, FilePath, ModelRef, RunPath, UserError, Workers, inputs_of, visible
from radiograph.core.config import Positional
from radiograph.evidence.features import Requirement
from radiograph.evidence.interventions import Effects
from radiograph.methods._intervene import conclude
from radiograph.methods._intervene.options import Options
from radiograph.methods.explain._endpoint import ChatOptions, chat_of

if TYPE_CHECKING:
    from radiograph.criteria import Compiled
    from radiograph.evidence.interventions import InterventionOrder
    from radiograph.methods._intervene.inspected import Inspected
    from radiograph.methods._intervene.shards import Runner
    from radiograph.methods._intervene.tested import Opened, Tested
    from radiograph.models import LanguageModel
    from radiograph.store.chat import ChatClient


_ASKING = frozenset(ChatOptions.model_fields) - {"chat_model"}
"""How a judge is asked, who is part of the order."""
_OF_A_RUN = _ASKING | {"order_only", "order", "shard", "merge", "dry_run", "resume", "require", "workers", "runner"}
"""Options that change nothing of what is measured."""


class Config(Options):
    """Which features, on which prompts, pushed how."""

    model: Annotated[ModelRef | None, Positional()] = None
    """Folder, hub id or bundled:NAME, with +ADAPTER."""
    features: tuple[FeaturesRef, ...] = ()
    """Sources, KIND[:WHERE][#650,700-720]: units:SITE, dictionary:REF, direction:FILE."""
    only: tuple[str, ...] = ()
    """Addresses of the features to move; else all of the sources."""
    from_: RunPath | None = None
    """A run of `inspect`: its candidates, its criterion, and its sources where none are named."""
    top: int = Field(default=5, ge=1)
    """With --from: candidates to move, the strongest on discover first."""
    group: int = Field(default=0, ge=0)
    """Move this many of them together, as one feature."""
    criterion: str | None = None
    """The concept in words, world:ATTRIBUTE, or a criterion.json."""
    verb: Literal["steer", "ablate", "amplify", "clamp", "patch"] = "steer"
    """What is done to a feature."""
    order_only: bool = False
    """Write order.json, what would be run, and stop."""
    order: FilePath | None = None
    """An order.json of --order-only: its options hold where none are given, and the order must come out the same."""
    shard: str | None = None
    """i/n: run only every n-th feature from the i-th on, for --merge."""
    merge: tuple[RunPath, ...] = ()
    """Runs of all shards of one order, put together; no model runs."""
    workers: str = "1"
    """1, N processes here, or ray[:N]: each takes a part of the features."""
    runner: str | None = None
    """Who runs the parts, --workers of them, where another package brings one: NAME of `radiograph.runners`."""


def run(config: Config, ctx: Context) -> Effects:
    """Prepare, measure feature by feature, judge all of them together."""
    if config.require is not None and Requirement.parse(config.require).kind != "causal":
        raise UserError("intervene measures what is causal", got=config.require, expected="causal:GRADE")
    if config.merge:
        from radiograph.methods._intervene.shards import merged

        order = merged(ctx, config.merge)
        ctx.output.json("order.json", order)
        return _concluded(ctx, order, shard=None, required=config.require)
    with chat_of(config, ctx) as chat:
        return _run(config, ctx, chat)


def recompute(result: dict[str, Any], folder: Path) -> list[str]:
    """Whether grades and numbers follow from the stored rows."""
    return conclude.differences(result, folder)


def _run(config: Config, ctx: Context, chat: ChatClient | None) -> Effects:
    from radiograph.methods._intervene import shards
    from radiograph.methods._intervene.measure import measure, planned_of
    from radiograph.methods._intervene.prepare import order_of, study_of, targets_of
    from radiograph.methods._intervene.tested import opened

    stored = None if config.order is None else shards.read_order(ctx.path(config.order, "order"))
    if stored is not None:
        config = _completed(config, stored.options)
    part = None if config.shard is None else shards.Shard.parse(config.shard)
    if config.runner is not None and part is not None:
        raise UserError("a runner hands out all parts", got="--runner with --shard", fix="give one", code="bad_value")
    runner = None if config.runner is None else shards.runner_of(config.runner)
    if config.model is None:
        raise UserError("no model to intervene on", expected="a folder, hub id or bundled:NAME", code="missing")
    model = ctx.model(config.model, "model")
    known = _inspected(config, ctx, model)
    sources, compiled, ids = _asked(config, ctx, known)
    study = study_of(config, ctx, model, compiled, config.model, verb=config.verb, chat=chat)
    found: Opened = opened(ctx, model, sources)
    with ctx.measure("natural"):
        barred = found.barred(() if known is None else known.association)
        planned = planned_of(study, _tested(config, model, found, ids), config, ctx.seed, barred)
    mine = range(len(planned)) if part is None else part.of(len(planned))
    order = order_of(
        study,
        compiled,
        planned,
        config=config,
        codes=found.codes,
        targets=targets_of(study),
        association=None if known is None else known.association,
        options=_options(config, ctx),
    )
    if stored is not None:
        shards.require_same(order, stored)
    ctx.output.json("order.json", order)
    if config.dry_run or config.order_only:
        study.clear()
        return conclude.planned(order)
    many = min(Workers.parse(config.workers).count, len(planned))
    if (many > 1 or runner is not None) and part is None:
        study.clear()
        return _spread(config, ctx, order, many, runner)
    with ctx.measure("forwards"):
        rows, costs, guards = measure(study, planned, mine, ctx.seed)
    conclude.write_rows(ctx.output.folder("tables"), rows, costs, guards)
    study.clear()
    return _concluded(ctx, order, shard=config.shard, required=config.require)


def _options(config: Config, ctx: Context) -> dict[str, Any]:
    """What was asked for, as another machine may ask again."""
    named = config.model_fields_set - _OF_A_RUN
    given = config.model_dump(mode="json", include=set(named))
    for name in inputs_of(Config).keys() & named:
        value = given[name]
        given[name] = [ctx.label(one) for one in value] if isinstance(value, list) else value and ctx.label(value)
    return {name: given[name] for name in sorted(given) if given[name] is not None}


def _completed(config: Config, options: Mapping[str, Any]) -> Config:
    """The options of an order under those that are given.

    Raises:
        UserError: it names a place outside the workspace.
    """
    named = config.model_fields_set
    held = {name: value for name, value in options.items() if name not in named | _OF_A_RUN}
    for name in inputs_of(Config).keys() & held.keys():
        for reference in held[name] if isinstance(held[name], list) else [held[name]]:
            if Path(str(reference)).is_absolute() or ".." in Path(str(reference)).parts:
                raise UserError(
                    f"the order names a place outside the workspace as {name}",
                    got=visible(str(reference), 80),
                    fix=f"give --{name.replace('_', '-').strip('-')} yourself",
                    code="path_outside_workspace",
                )
    return Config.model_validate(held | {name: getattr(config, name) for name in named})


def _spread(config: Config, ctx: Context, order: InterventionOrder, many: int, runner: Runner | None) -> Effects:
    """The order in as many parts, each run in a process of its own or by a runner, put together here."""
    from radiograph.methods._intervene import shards

    if config.resume is not None:
        raise UserError(
            "what other processes were doing cannot be resumed",
            got=f"--resume with --workers {config.workers}" + (f" --runner {config.runner}" if runner else ""),
            fix="resume with one worker, or run the parts yourself: --order-only, --order with --shard, --merge",
            code="bad_value",
        )
    root = ctx.output.folder("tables").parent
    named = config.model_fields_set - _OF_A_RUN
    told = named | (config.model_fields_set & _ASKING)
    asked = config.model_dump(mode="json", include=set(told)) | {"order": str(root / conclude.ORDER)}
    parts = [asked | {"shard": f"{n + 1}/{many}"} for n in range(many)]
    if runner is None:
        made = ctx.many_steps("intervene", parts, config.workers)
    else:
        made = shards.handed_out(ctx, runner, parts, order, str(config.runner))
    shards.put_together(made, ctx.output.folder("tables"))
    return _concluded(ctx, order, shard=None, required=config.require)


def _inspected(config: Config, ctx: Context, model: LanguageModel) -> Inspected | None:
    """The run of --from.

    Raises:
        UserError: it ran another model.
    """
    if config.from_ is None:
        return None
    from radiograph.methods._intervene.inspected import read_inspected

    known = read_inspected(ctx.path(config.from_, "from"), top=config.top)
    if known.model_sha256 not in (None, model.identity.tensors_sha256):
        raise UserError(
            f"{Path(config.from_).name} inspected another model",
            expected=known.model_sha256,
            got=model.identity.tensors_sha256,
            fix="give the model that was inspected, or name features and criterion without --from",
            code="another_model",
        )
    return known


def _asked(config: Config, ctx: Context, known: Inspected | None) -> tuple[list[str], Compiled, list[str]]:
    """Sources, criterion, and the features to move by address; no address: all of the sources."""
    sources, criterion, ids = list(config.features), config.criterion, list(config.only)
    if known is not None:
        ids = ids or list(known.candidates)
        sources = sources or list(known.sources)
        if criterion is None:
            criterion = str(known.criterion)
    if criterion is None:
        raise UserError(
            "no criterion: nothing says on which prompts, and which of them are positives",
            expected="--criterion world:unit, or words with --prompts FILE or --template FILE",
            code="missing",
        )
    compiled = ctx.criterion(
        criterion,
        prompts=config.prompts,
        template=config.template,
        split=config.split,
        threshold=config.threshold,
        count=8 * config.rows,
    )
    return sources, compiled, ids


def _tested(config: Config, model: LanguageModel, found: Opened, ids: list[str]) -> list[Tested]:
    """One entry a feature, or one for the group."""
    names = ids or list(found.places)
    if config.group:
        return [found.of(model, names[: config.group])]
    return [found.of(model, [name]) for name in names]


def _concluded(ctx: Context, order: InterventionOrder, *, shard: str | None, required: str | None) -> Effects:
    tables = ctx.output.folder("tables")
    result, judged = conclude.conclude(tables, order, shard=shard, required=required)
    for field, name in conclude.TABLES.items():
        ctx.output.table(name, getattr(judged, field).to_dict(as_series=True))
    return result
