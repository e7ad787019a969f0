"""The direct effect of every weight component on every later one, over many tokens.

1. texts as for `decompose harvest`; all masks are 1 and what the components leave of a weight (Δ) is on, so that
   effects do not depend on the importance being good
2. the forward is cut at every decomposed weight and made affine: norms, patterns and gates fixed, secants for pointwise
   functions. Effects are direct: what goes through another decomposed weight is that weight's
3. A = mean over tokens of (∂y/∂h) h, y a target's activation. One backward a target, summed over batch and positions
   first. `signed` is of y; `abs` of |y|, from a backward of its own; `modulating` goes through queries, keys and gates
4. tokens are sources too, scattered by id. Effects on logits are kept in residual space: multiply by the unembedding
5. shards commit one by one and are added exactly in fixed point: workers, kills and order show in no byte

Units: of the target's activation at unit ‖V‖, per token; the residual stream as the unembedding reads it.
Refuses when: decomposition, harvest and model do not belong together; a part of the model cannot be made affine
(exit 4).
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

from radiograph.core import Context, Refusal, RunPath, UserError, Workers
from radiograph.core.sizes import Count
from radiograph.evidence.components import ComponentAttributions, ShownEffect
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
SHOWN = 20


class Config(ReadingOptions):
    """Which decomposition, on what, and which components are targets."""

    harvest: RunPath | None = None
    """A run of `decompose harvest`: only components that fired there are targets."""
    shard_tokens: Count = 16_384
    """Tokens of a shard, which is what a killed worker costs."""


def run(config: Config, ctx: Context) -> ComponentAttributions:
    """Plan, pull, add up, write."""
    from radiograph.decompose import statistics

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
    pairs, connected, strongest = _write(ctx, effects, decomposition)
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
        shards=len(effects.shards),
        width=effects.sums["out.tokens"].shape[1],
        pairs=pairs,
        connected=connected,
        strongest=strongest,
        data=corpus.hashes,
        spec_sha256=spec.sha256,
        seed=ctx.seed,
    )


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


def _write(
    ctx: Context, effects: Effects, decomposition: Decomposition
) -> tuple[int, tuple[tuple[str, str], ...], tuple[ShownEffect, ...]]:
    import numpy as np

    from radiograph.decompose.attribution import BITS
    from radiograph.numerics.cofiring import as_real

    sums = {name: as_real(values, BITS) for name, values in effects.sums.items()}
    signed, size, modulating = (sums[f"components.{name}"] for name in ("signed", "abs", "modulating"))
    source, target = np.nonzero((signed != 0) | (size != 0) | (modulating != 0))
    at = source, target
    table: dict[str, Any] = {
        "source": source.astype(np.uint32),
        "target": target.astype(np.uint32),
        "signed": signed[at],
        "abs": size[at],
        "modulating": modulating[at],
    }
    ctx.output.table("attributions", table)
    token, aim = np.nonzero((sums["tokens.signed"] != 0) | (sums["tokens.abs"] != 0))
    tokens: dict[str, Any] = {
        "token": token.astype(np.uint32),
        "target": aim.astype(np.uint32),
        "signed": sums["tokens.signed"][token, aim],
        "abs": sums["tokens.abs"][token, aim],
    }
    ctx.output.table("token_attributions", tokens)
    kinds: list[str] = []
    numbers: list[int] = []
    rows: list[list[float]] = []
    for kind in ("component", "token"):
        held = sums[f"out.{kind}s"]
        own = np.flatnonzero(held.any(axis=1)).tolist()
        kinds += [kind] * len(own)
        numbers += own
        rows += held[own].tolist()
    ctx.output.table("residual", {"kind": kinds, "number": numbers, "effect": rows})
    weights = np.array([c.weight for c in decomposition.components])
    found = dict.fromkeys(zip(weights[source].tolist(), weights[target].tolist(), strict=True))
    order = np.lexsort((target, source, -np.abs(signed[at])))[:SHOWN]
    names = decomposition.components
    n = max(1, effects.counted)
    strongest = tuple(
        ShownEffect(
            source=str(names[source[i]]),
            target=str(names[target[i]]),
            signed=float(signed[source[i], target[i]]) / n,
            abs=float(size[source[i], target[i]]) / n,
            modulating=float(modulating[source[i], target[i]]) / n,
        )
        for i in order.tolist()
    )
    return len(source), tuple(found), strongest


def recompute(result: dict[str, Any], folder: Path) -> list[str]:
    """Do the counts and the strongest effects follow from the table?"""
    import polars as pl

    stored = ComponentAttributions.read(result)
    table = pl.read_parquet(folder / "tables" / "attributions.parquet")
    out: list[str] = []
    if table.height != stored.pairs:
        out.append(f"{stored.pairs} effects are stated, {table.height} are listed")
    names = [f"{weight}:{n}" for weight, size in stored.sizes.items() for n in range(size)]
    found = {
        (names[source], names[target]): (signed, size)
        for source, target, signed, size in table.select("source", "target", "signed", "abs").iter_rows()
    }
    for shown in stored.strongest:
        signed, size = found.get((shown.source, shown.target), (None, None))
        if signed is None or (signed / stored.tokens, size / stored.tokens) != (shown.signed, shown.abs):
            out.append(f"{shown.source} on {shown.target} is stated otherwise than the table has it")
    largest = table["signed"].abs().max() if table.height else None
    if stored.strongest and largest != abs(stored.strongest[0].signed * stored.tokens):
        top = abs(stored.strongest[0].signed) * stored.tokens
        if abs(float(largest or 0.0) - top) > 1e-9 * top:  # type: ignore[arg-type]
            out.append("the strongest effect of the table is another one")
    return out
