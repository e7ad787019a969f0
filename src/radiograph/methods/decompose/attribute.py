"""The direct effect of every weight component on every later one, over many tokens.

1. texts as for `decompose harvest`; all masks are 1 and what the components leave of a weight (Δ) is on, so that
   effects do not depend on the importance being good
2. the forward is cut at every decomposed weight and made affine: norms, patterns and gates fixed, secants for pointwise
   functions. Effects are direct: what goes through another decomposed weight is that weight's
3. A = mean over tokens of (∂y/∂h) h, y a target's activation. One backward a target, summed over batch and positions
   first. `signed` is of y; `abs` of |y|, from a backward of its own; `modulating` goes through queries, keys and gates
4. tokens are sources too, scattered by id. Effects on logits are kept in residual space: multiply by the unembedding
5. error: the spread over windows of text, as of a ratio of sums; 95 % by Student's t, of each effect by itself
6. null: the source's effects on `--readers` random directions of norm 1 that read where the target reads;
   p = (1 + those as large)/(1 + readers). For effects in residual space there is neither
7. shards commit one by one and are added exactly in fixed point: workers, kills and order show in no byte

Units: of the target's activation at unit ‖V‖, per token; the residual stream as the unembedding reads it. Source of 5:
Cochran 1977, 6.3.
Refuses when: decomposition, harvest and model do not belong together; a part of the model cannot be made affine
(exit 4).
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import Field

from radiograph.core import Context, Refusal, RunPath, UserError, Workers
from radiograph.core.sizes import Count
from radiograph.evidence.components import ComponentAttributions
from radiograph.methods._decomposed.options import ReadingOptions
from radiograph.methods._decomposed.target import target_of
from radiograph.methods.decompose._texts import folder_of, plan_of, shareable, texts_of

if TYPE_CHECKING:
    from radiograph.decompose import Decomposition
    from radiograph.decompose.attribution import Effects
    from radiograph.decompose.statistics import Spec, Texts
    from radiograph.models.masked import Target
    from radiograph.store.components import ComponentStatistics

PARTS = "parts"


class Config(ReadingOptions):
    """Which decomposition, on what, and which components are targets."""

    harvest: RunPath | None = None
    """A run of `decompose harvest`: only components that fired there are targets."""
    shard_tokens: Count = 16_384
    """Tokens of a shard, which is what a killed worker costs."""
    readers: int = Field(default=19, ge=1, le=10_000)
    """Random directions beside each matrix's components: what chance gives, two backward passes each."""


def run(config: Config, ctx: Context) -> ComponentAttributions:
    """Plan, pull, add up, write."""
    from radiograph.decompose import statistics
    from radiograph.methods.decompose._effects import written

    if not config.data:
        raise UserError("decompose attribute needs --data", fix="as --data world:story#200", code="bad_value")
    workers = Workers.parse(config.workers)
    decomposition = ctx.decomposition(config.decomposition)
    target = target_of(ctx, decomposition, config.model)
    given = _harvest(config, ctx, decomposition)
    targets = tuple(range(decomposition.size)) if given is None else tuple(sorted(given.alive().tolist()))
    home = folder_of(ctx, None if config.resume is None else ctx.locate(config.resume), PARTS)
    corpus = ctx.corpus(config.data)
    with ctx.measure("tokenise"):
        plan = plan_of(ctx, target, corpus, config.max_length, config.tokens)
        texts = texts_of(plan, ctx.seed, 1)
    shareable(target, workers)
    spec = _spec(config, ctx, decomposition, target, (plan.sha256, targets), home)
    statistics.begin(home, spec.facts)
    texts.save(home)
    with ctx.measure("attribute", tokens=plan.counted.kept):
        effects = _attributed(ctx, spec, texts, (target, decomposition), workers)
    found = written(ctx, effects, decomposition, config.readers)
    shutil.rmtree(home)
    return ComponentAttributions(
        model=ctx.label(target.name),
        model_sha256=target.sha256,
        decomposition=ctx.label(config.decomposition),
        decomposition_sha256=decomposition.sha256,
        sizes=decomposition.sizes,
        targets=len(targets),
        harvest=None if config.harvest is None else ctx.label(config.harvest),
        harvest_seal=None if given is None else given.seal,
        tokens=effects.counted,
        documents=plan.counted.documents,
        texts=effects.texts,
        readers=config.readers,
        shards=len(effects.shards),
        width=effects.sums["out.tokens"].shape[1],
        pairs=found.pairs,
        apart=found.apart,
        above_readers=found.above,
        connected=found.connected,
        strongest=found.strongest,
        data=corpus.hashes,
        spec_sha256=spec.sha256,
        seed=ctx.seed,
        notes=_notes(effects, plan.counted.documents),
    )


def _notes(effects: Effects, documents: int) -> tuple[str, ...]:
    from radiograph.numerics.cofiring import LEAST_TEXTS

    notes: list[str] = []
    if effects.texts < LEAST_TEXTS:
        notes.append(f"{effects.texts} texts are too few for intervals, which take {LEAST_TEXTS}")
    if effects.texts > documents:
        notes.append(
            f"{effects.texts} windows of {documents} texts are counted as independent: intervals are too narrow"
        )
    return tuple(notes)


def _harvest(config: Config, ctx: Context, decomposition: Decomposition) -> ComponentStatistics | None:
    from radiograph.store.components import open_statistics

    if config.harvest is None:
        return None
    given = open_statistics(ctx.path(config.harvest, "harvest"))
    if given.result.decomposition_sha256 != decomposition.sha256:
        raise Refusal(
            "decomposition_mismatch",
            "the harvest is of another decomposition",
            expected=decomposition.sha256,
            got=given.result.decomposition_sha256,
            fix="give the harvest of this decomposition",
            fixable=True,
        )
    return given


def _spec(
    config: Config,
    ctx: Context,
    decomposition: Decomposition,
    target: Target,
    what: tuple[str, tuple[int, ...]],
    home: Path,
) -> Spec:
    from radiograph.decompose.statistics import Spec
    from radiograph.evidence import document_sha256

    assert target.model is not None, "it reads tokens"
    facts: dict[str, Any] = {
        "model": target.sha256,
        "decomposition": decomposition.sha256,
        "texts": what[0],
        "seed": ctx.seed,
        "batch_tokens": config.batch_tokens,
        "shard_tokens": config.shard_tokens,
        "readers": config.readers,
        "targets": what[1],
    }
    return Spec(
        model=str(target.model.folder or ""),
        decomposition=str(decomposition.folder or ""),
        home=home.resolve(),
        stated=tuple(facts.items()),
        sha256=document_sha256(facts),
        device=ctx.device,
    )


def _attributed(
    ctx: Context, spec: Spec, texts: Texts, networks: tuple[Target, Decomposition], workers: Workers
) -> Effects:
    from functools import partial

    import numpy as np

    from radiograph.decompose.attribution import Attributor, Effects, attribute_shard
    from radiograph.decompose.statistics import Merged, fold, part_of

    engine = Attributor(*networks, spec, texts)
    merged = Merged(spec.home, spec.sha256, engine.empty, Effects.load, Effects.take)

    def make(number: int) -> int:
        effects = engine.shard(number)
        effects.save(part_of(spec.home, number), spec.sha256)
        return effects.counted

    tokens = np.add.reduceat(texts.lengths, engine.bounds[:-1]).tolist()
    worker = partial(attribute_shard, spec)
    return fold(merged, make, worker, len(engine.bounds) - 1, workers, ctx.progress, "attribute", tokens)


def recompute(result: dict[str, Any], folder: Path) -> list[str]:
    """Do counts, intervals and the strongest effects follow from the tables?"""
    from radiograph.methods.decompose._effects import problems

    return problems(ComponentAttributions.read(result), folder)
