"""From a configuration to the evidence: sides, dictionary, passes, sample, result."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from radiograph.core import Context, Refusal, Source, UserError
from radiograph.evidence import RefusalRecord
from radiograph.evidence.probes.shift import FeatureShift
from radiograph.methods.dictionary._evaluation import requirements
from radiograph.methods.probe._sae_diff import dictionary, measure, sample, sides, written

if TYPE_CHECKING:
    from radiograph.dictionaries.plain import PlainDictionary
    from radiograph.methods.probe._sae_diff.options import Config
    from radiograph.store.activations import ActivationStore

METRICS = (
    *("moved", "carried", "share_carried", "share_seen", "share_outside", "l2_drift", "l2_excess", "effect_rms"),
    *("activation_drift", "fvu_ref", "fvu_cand"),
)
SAMPLE, SMALL_SAMPLE = 512, 64


def compare(config: Config, ctx: Context) -> FeatureShift:
    """Measure what moved.

    Raises:
        UserError: the sides or the dictionary do not belong together. Refusal: the same, where another file would do.
    """
    from threadpoolctl import threadpool_limits

    # Products of tiles are too small to share out: a second thread waits more than it works, four times as much
    # processor time where others want the cores too.
    with threadpool_limits(1):
        return _compare(config, ctx)


def _compare(config: Config, ctx: Context) -> FeatureShift:
    wanted = requirements.parse(config.require, METRICS)
    ctx.limits.check("top-k", config.top_k, "--top-k")
    if config.schema_ == "soup" and config.depth != "full":
        config = config.model_copy(update={"depth": "full"})
    site, target = dictionary.site_of(config, ctx), dictionary.target_of(config, ctx)
    places = stored(config, ctx, site, target)
    with ctx.measure("read"):
        inputs = sides.opened(ctx, places, site)
        held = dictionary.opened(config, ctx, inputs[0])
        targets = _targets(ctx, places, held, target)
    if held.kind == "crosscoder":
        from radiograph.methods.probe._sae_diff import crosscoder

        return crosscoder.compare(config, ctx, held, inputs, wanted)
    stamps = dictionary.stamps(config, held, inputs[0])
    both = sides.together(config, inputs, targets, config.memory)
    recorded = held.metadata.neutral or held.metadata.quality
    most = SAMPLE if config.depth == "full" or recorded is not None else SMALL_SAMPLE
    with ctx.measure("sums", tokens=both.tokens):
        both, sums = measure.gathered(config, ctx, held, both, most)
    gaps: list[RefusalRecord] = []
    rebuilt, more, able = _rebuilt(config, ctx, held, both, sums, gaps)
    with ctx.measure("features"):
        directions = held.directions() if _writes(held, both) else None
        found = measure.tested(config, ctx, held, both, sums, directions)
    if directions is None:
        gaps.append(_gap("carried", held, both))
    written_ = written.Parts(config, ctx, held, both, sums, found, rebuilt if able else None, directions)
    return written.shift(written_, [*both.stamps, *stamps, *more], gaps, wanted)


def stored(config: Config, ctx: Context, site: str | None, target: str | None) -> tuple[str, str]:
    """Where both sides' rows lie: as given, or harvested now.

    Raises:
        UserError: one side is a store and the other a model, or models without texts.
    """
    kinds = [sides.is_store(ctx, side) for side in (config.reference, config.candidate)]
    if all(kinds):
        if config.data:
            raise UserError("--data is of models, and both sides are stored activations", fix="leave it out")
        return config.reference, config.candidate
    if any(kinds):
        raise UserError(
            "one side is stored activations and the other a model",
            expected="two stores or two models",
            fix="harvest the model on the same tokens first",
            code="sides_differ",
        )
    if not config.data:
        raise UserError("models need texts", expected="--data, as world:mixture#300", code="bad_value")
    if site is None:
        raise UserError("the dictionary does not say which site it reads", fix="give --site", code="bad_value")
    if config.paired == "off":
        raise UserError("two models see the same tokens", fix="leave out --paired off", code="bad_value")
    one, two = (side.removeprefix("model:") for side in (config.reference, config.candidate))
    step = ctx.step(
        "harvest",
        model=one,
        candidate=[two],
        site=list(dict.fromkeys([site, *([target.rpartition("/")[2]] if target else [])])),
        data=list(config.data),
        max_tokens=config.max_tokens,
        rows=config.keep,
    )
    if isinstance(step.result, RefusalRecord) or step.exit_code:
        text = getattr(step.result, "text", "the harvest refused")
        raise Refusal(getattr(step.result, "code", "not_harvested"), text)
    folder = f"{ctx.output.folder('steps').parent}/{step.path}"  # pyright: ignore[reportAttributeAccessIssue]
    return f"{folder}#reference/{site}", f"{folder}#candidate/{site}"


def _targets(
    ctx: Context, places: tuple[str, str], held: PlainDictionary, target: str | None
) -> tuple[ActivationStore, ActivationStore] | None:
    """Rows of the site that a transcoder writes, where both sides have them."""
    target = target or held.target
    if held.kind != "transcoder" or target is None:
        return None
    own = str(Source.parse(target).site)
    found: list[ActivationStore] = []
    for place, role in zip(places, ("reference", "candidate"), strict=True):
        path, mark, source = place.partition("#")
        if not mark:
            return None
        try:
            found.append(ctx.activations(f"{path}#{source.partition('/')[0]}/{own}", f"{role}.target"))
        except UserError:
            return None
    return found[0], found[1]


def _writes(held: PlainDictionary, both: sides.Sides) -> bool:
    """Whether the rows that the decoder writes are known."""
    return held.decoder is not None and (held.kind != "transcoder" or both.targets is not None)


def _gap(what: str, held: PlainDictionary, both: sides.Sides) -> RefusalRecord:
    if held.decoder is None:
        return RefusalRecord(
            code="no_decoder", what=what, text="the dictionary has no decoder", fix="a file with W_dec"
        )
    del both
    return RefusalRecord(
        code="no_target",
        what=what,
        text=f"rows of {held.target}, which the transcoder writes, were not stored",
        fix="harvest both sites into one folder",
    )


def _rebuilt(
    config: Config,
    ctx: Context,
    held: PlainDictionary,
    both: sides.Sides,
    sums: measure.Sums,
    gaps: list[RefusalRecord],
) -> tuple[sample.Rebuilt | None, list[str], bool]:
    """What the sample says, stamps, and whether the reconstruction may be spoken of."""
    if not _writes(held, both):
        gaps.append(_gap("reconstruction", held, both))
        return None, [], False
    if not held.encodes:
        text = f"codes of a {held.sigma} dictionary are not made from pre-activations"
        gaps.append(RefusalRecord(code="no_codes", what="codes and reconstruction", text=text))
        return None, [], False
    with ctx.progress.task("reconstruction"):
        found = sample.rebuilt(held, sums.sample, both.paired)
    if not all(np.isfinite(part).all() for part in (*found.errors, *found.distances)):
        text = "the reconstruction of the sampled rows is too large for float32"
        gaps.append(RefusalRecord(code="too_large", what="reconstruction", text=text))
        return None, [], False
    if not all(d.sum() > 0 for d in found.distances):
        gaps.append(RefusalRecord(code="no_variance", what="fvu", text="the sampled rows do not vary"))
        return None, [], False
    stamps = sample.check_quality(held, found, config.transfer, ctx.seed)
    if "unchecked_dictionary" in stamps:
        text = f"the reconstruction of the reference is worse than its mean (FVU {found.fvu[0]:.3g})"
        gaps.append(RefusalRecord(code="unchecked_dictionary", what="reconstruction", text=text))
        return found, stamps, False
    return found, stamps, True
