"""Model, prompts, doses and neutral text made ready, and the order: everything that is to be done, told beforehand."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import islice
from typing import TYPE_CHECKING, Any

from radiograph.core import Context, Refusal, UserError
from radiograph.evidence import document_sha256
from radiograph.evidence.interventions import InterventionOrder, LimitsRecord, OrderedCondition, OrderedFeature
from radiograph.methods._causal.guards import Guard
from radiograph.methods._intervene.options import Options, continuations, doses_of, require_outcome
from radiograph.methods._intervene.outcomes import outcome_of
from radiograph.methods._intervene.prompts import counts, prompts_of
from radiograph.methods._intervene.study import Study
from radiograph.methods._intervene.tested import Tested, excluded, opened

if TYPE_CHECKING:
    from radiograph.criteria import Compiled
    from radiograph.criteria.judging import Judge
    from radiograph.interventions.features import Control
    from radiograph.methods._intervene.measure import Planned
    from radiograph.models import LanguageModel
    from radiograph.probing import Probe
    from radiograph.store.chat import ChatClient

NEUTRAL_TOKENS = 64
FOLDER = "sweeps"


def study_of(
    config: Options,
    ctx: Context,
    model: LanguageModel,
    compiled: Compiled,
    reference: str,
    *,
    verb: str,
    chat: ChatClient | None,
) -> Study:
    """The prompts with their outcome, neutral text, and where measured rows go; `chat` judges what is said.

    Raises:
        UserError: no targets, or an unknown outcome. Refusal: too few positives, or a judge who is not to be trusted.
    """
    require_outcome(config.outcome)
    judge = _judge(config, ctx, compiled, chat)
    targets = continuations(ctx, config.targets, "targets")
    foils = continuations(ctx, config.foils, "foils")
    prompts = prompts_of(model, compiled, most=config.rows, seed=ctx.seed, targets=targets, foils=foils)
    carry = verb == "steer" and config.positions in ("all", "last")
    outcome = outcome_of(
        model,
        prompts,
        config.outcome,
        lambda text: opened(ctx, model, [text]),
        lambda text: _probe(ctx, text),
        new=config.new_tokens,
        carry=carry,
        judge=judge,
    )
    neutral = _neutral(config, ctx, model)
    folder = ctx.output.folder(FOLDER) if config.resume is None else ctx.output.adopt(ctx.locate(config.resume), FOLDER)
    identity = {
        "model": ctx.label(reference),
        "model_sha256": model.identity.tensors_sha256,
        "criterion_id": compiled.criterion.id,
        "criterion": compiled.criterion.text,
        "seed": ctx.seed,
    }
    return Study(
        ctx=ctx,
        model=model,
        prompts=prompts,
        outcome=outcome,
        neutral=neutral,
        reference=[*neutral, *(one.ids for one in prompts if one.half == "discover")],
        verb=verb,
        positions=config.positions,
        limits=config.limits,
        controls=config.controls,
        band=config.band,
        guards=[
            Guard.of(model, ctx.suite(name, "guard" if len(config.guard) == 1 else f"guard.{place}"))
            for place, name in enumerate(config.guard)
        ],
        continued=config.continue_,
        new_tokens=config.new_tokens,
        carry=carry,
        folder=folder,
        identity=identity,
        judged=None if judge is None else judge.record,
    )


def conditions_of(study: Study, tested: Tested, dose: str, unit: str) -> list[OrderedCondition]:
    """The conditions of one feature, in raw numbers.

    Raises:
        UserError: a dose that cannot be read, or that has no size for this feature.
    """
    natural = tested.natural(study.natural(tested))
    values: Sequence[float | None] = doses_of(dose, study.verb) or (None,)
    out: list[OrderedCondition] = []
    for value in values:
        raw, share, kind = None, None, None
        if value is not None:
            # A factor has no unit; everything else counts in what is natural.
            raw = value if study.verb == "amplify" else natural.raw(value, unit, tested.id)
            kind = "factor" if study.verb == "amplify" else unit
            share = natural.share(raw) if study.verb == "steer" else None
        facts = [study.identity["model_sha256"], tested.id, tested.codec.hash, study.verb, raw, study.positions]
        sha256 = document_sha256(facts)
        out.append(
            OrderedCondition(id=sha256[:16], verb=study.verb, dose=value, unit=kind, raw=raw, norm_fraction=share)
        )
    return out


def controls_for(
    study: Study, tested: Tested, every: Sequence[Tested], seed: int, barred: Mapping[str, Sequence[int]]
) -> list[Control]:
    """The controls of one feature; of a group only those that no feature is matched to.

    `barred` are features that are no controls though they are not tested, by the hash of their codec.
    """
    from radiograph.interventions.features import controls_of

    found = controls_of(
        tested.numbers[0],
        study.natural(tested),
        tested.write,
        count=study.controls,
        seed=seed,
        exclude=[*excluded(every, tested), *barred.get(tested.codec.hash, ())],
        shuffled=tested.shuffled,
    )
    if len(tested.numbers) > 1 or tested.shuffled is not None:
        found = [one for one in found if one.feature is None]
    return found


def order_of(
    study: Study,
    compiled: Compiled,
    planned: Sequence[Planned],
    *,
    config: Options,
    codes: tuple[str, ...],
    targets: Sequence[str],
    association: Mapping[str, float] | None = None,
    options: Mapping[str, Any] | None = None,
) -> InterventionOrder:
    """Everything that is to be done, with the number of rows that pass through the model; `options` make it."""
    features: list[OrderedFeature] = []
    size = {half: study.rows_of(study.half(half)) for half in ("discover", "confirm")}
    positive = study.rows_of(study.half("confirm", positive=True))
    forwards = study.rows_of(range(len(study.prompts)))
    for number, one in enumerate(planned):
        tested, conditions, controls = one.tested, one.conditions, one.controls
        families: dict[str, int] = {}
        for control in controls:
            families[control.family] = families.get(control.family, 0) + 1
        features.append(
            OrderedFeature(
                id=f"{number:04d}",
                feature=tested.id,
                label=tested.label,
                association=(association or {}).get(tested.id),
                conditions=tuple(conditions),
                controls=families,
            )
        )
        graded = len(conditions) if study.band else 1
        forwards += (sum(size.values()) + len(study.neutral)) * len(conditions) + len(study.neutral)
        forwards += positive * (2 + len(controls) * graded)
    limits = study.limits
    return InterventionOrder(
        model=study.identity["model"],
        model_sha256=study.identity["model_sha256"],
        criterion=compiled.criterion.text,
        criterion_id=compiled.criterion.id,
        outcome=study.outcome.name,
        outcome_unit=study.outcome.unit,
        targets=tuple(targets),
        foils=tuple(dict.fromkeys(foil for one in study.prompts for foil in one.foils)),
        positions=study.positions,
        prompts=counts(study.prompts),
        prompts_sha256=study.sha256,
        neutral=len(study.neutral),
        neutral_tokens=sum(map(len, study.neutral)),
        limits=LimitsRecord(kl=limits.kl, ppl=limits.ppl, negative=limits.negative),
        control_doses="all" if config.band else "chosen",
        forwards=forwards,
        seed=study.ctx.seed,
        features=tuple(features),
        codes=codes,
        cut=sum(one.cut > 0 for one in study.prompts),
        judge=study.judged,
        options=dict(options or {}),
    )


def targets_of(study: Study) -> tuple[str, ...]:
    """Every target of any prompt, sorted."""
    return tuple(sorted({target for one in study.prompts for target in one.targets}))


def _judge(config: Options, ctx: Context, compiled: Compiled, chat: ChatClient | None) -> Judge | None:
    """Who judges continuations, if somebody is to.

    Raises:
        UserError: nothing is to be judged. Refusal: the judge does not agree with the labels.
    """
    if chat is None:
        return None
    if config.outcome != "rate":
        raise UserError(
            "a judge says which continuations meet the criterion",
            got=f"--outcome {config.outcome} with --endpoint",
            expected="--outcome rate",
            code="bad_value",
        )
    from radiograph.criteria.judging import Judge

    with ctx.measure("judge"):
        return Judge.checked(compiled, chat, ctx.seed)


def _probe(ctx: Context, reference: str) -> Probe:
    """A probe's file.

    Raises:
        FormatError: no such file. Refusal: nothing that was ever measured.
    """
    from radiograph.probing import Probe
    from radiograph.store.probes import read_probe

    with ctx.opened(reference, "probe") as file:
        return Probe.of(read_probe(file))


def _neutral(config: Options, ctx: Context, model: LanguageModel) -> list[tuple[int, ...]]:
    """Neutral texts as tokens, cut to what the context holds.

    Raises:
        Refusal: none of two tokens or more.
    """
    from radiograph.models import tokenize
    from radiograph.organisms import standard_neutral

    texts: Any
    if config.neutral:
        texts = (text.text for text in ctx.corpus(config.neutral, role="neutral"))
    else:
        texts = iter(standard_neutral(model.tokenizer))
    most = min(NEUTRAL_TOKENS, model.context_length)
    found = [tokenize(model.tokenizer, text).ids[:most] for text in islice(texts, config.neutral_texts)]
    kept = [ids for ids in found if len(ids) > 1]
    if not kept:
        raise Refusal("no_neutral", "no neutral text of two tokens or more", fix="give others with --neutral")
    return kept
