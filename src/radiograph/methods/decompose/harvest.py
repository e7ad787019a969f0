"""What every weight component does over many tokens: counts, tokens in and out, co-firing, examples.

1. texts are tokenised and cut into windows as for `harvest`; a subset is drawn by hash, whole documents
2. one pass of the target, no gradients. A component fires where its importance exceeds `--fires`, on counted tokens:
   BOS and other special tokens are fed and not counted
3. raw counts of firings, tokens at firings, the model's next-token probability at firings, pairs that fire together;
   every ratio (density, precision, PMI, Jaccard) is computed when it is asked for
4. examples are the smallest keyed hashes of (seed, component, document, position): a uniform sample of its firings
5. shards commit one by one, sums are fixed-point and added exactly: workers, kills and order show in no byte
6. of some windows, drawn by hash, every firing is kept in `records/`: there silence is known, and `label` and `cluster`
   read it

Units: importance is in [0, 1]; h is the component's activation at unit ‖V‖; masses are expected counts.
Refuses when: the decomposition is of another model; nothing fires at all (exit 4). Stops at a value that is not finite.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import Field

from radiograph.core import Context, UserError, Workers
from radiograph.core.sizes import Count
from radiograph.evidence.components import FEW, ComponentHarvest, WeightCounts
from radiograph.methods._decomposed.options import ReadingOptions
from radiograph.methods._decomposed.target import target_of
from radiograph.methods.decompose._texts import folder_of, plan_of, shareable, texts_of

if TYPE_CHECKING:
    import numpy as np

    from radiograph.decompose import Decomposition
    from radiograph.decompose.statistics import Spec, Sums, Texts
    from radiograph.harvest import Plan
    from radiograph.models.masked import Target

PARTS = "parts"


class Config(ReadingOptions):
    """Which decomposition, on what, and how much is kept."""

    fires: float = Field(default=1e-6, ge=0, lt=1)
    """A component fires where its importance exceeds this."""
    output_tokens: int = Field(default=256, ge=1)
    """Output tokens listed of each component; the mass of the others is summed."""
    examples: int = Field(default=400, ge=0)
    """Most examples of each component."""
    around: int = Field(default=20, ge=1, le=256)
    """Tokens on each side of an example's centre."""
    record_tokens: Count = 20_000
    """Tokens whose firings are all kept; labels are scored and groups are found on them."""
    shard_tokens: Count = 65_536
    """Tokens of a shard, which is what a killed worker costs."""


def run(config: Config, ctx: Context) -> ComponentHarvest:
    """Plan, count, add up, write."""
    from radiograph.decompose import statistics

    if not config.data:
        raise UserError("decompose harvest needs --data", fix="as --data world:story#20000", code="bad_value")
    workers = Workers.parse(config.workers)
    decomposition = ctx.decomposition(config.decomposition)
    target = target_of(ctx, decomposition, config.model)
    earlier = None if config.resume is None else ctx.locate(config.resume)
    home, records = (folder_of(ctx, earlier, name) for name in (PARTS, "records"))
    corpus = ctx.corpus(config.data)
    with ctx.measure("tokenise"):
        plan = plan_of(ctx, target, corpus, config.max_length, config.tokens)
        texts = texts_of(plan, ctx.seed, config.record_tokens)
    spec = _spec(config, ctx, decomposition, target, plan, home, records if texts.recorded.any() else None)
    statistics.begin(home, spec.facts)
    texts.save(home)
    with ctx.measure("count", tokens=plan.counted.kept):
        sums = _counted(config, ctx, spec, texts, (target, decomposition), workers)
    _write(config, ctx, sums, texts, decomposition, target)
    shutil.rmtree(home)
    return _result(config, ctx, plan, spec, sums, decomposition, target, corpus.hashes)


def _spec(
    config: Config,
    ctx: Context,
    decomposition: Decomposition,
    target: Target,
    plan: Plan,
    home: Path,
    records: Path | None,
) -> Spec:
    from radiograph.decompose.statistics import Spec
    from radiograph.evidence import document_sha256

    assert target.model is not None, "it reads tokens"
    shareable(target, Workers.parse(config.workers))
    facts = {
        "model": target.sha256,
        "decomposition": decomposition.sha256,
        "texts": plan.sha256,
        "seed": ctx.seed,
        **{name: getattr(config, name) for name in ("fires", "examples", "around", "record_tokens")},
        **{name: getattr(config, name) for name in ("batch_tokens", "shard_tokens")},
    }
    return Spec(
        model=str(target.model.folder or ""),
        decomposition=str(decomposition.folder or ""),
        home=home.resolve(),
        stated=tuple(facts.items()),
        sha256=document_sha256(facts),
        records=None if records is None else records.resolve(),
        device=ctx.device,
    )


def _counted(
    config: Config,
    ctx: Context,
    spec: Spec,
    texts: Texts,
    networks: tuple[Target, Decomposition],
    workers: Workers,
) -> Sums:
    """All shards, added up; records are finished."""
    from functools import partial

    import numpy as np

    from radiograph.decompose.statistics import Engine, Merged, Sums, fold, harvest_shard, part_of

    target, decomposition = networks
    engine = Engine(target, decomposition, spec, texts)
    bounds = engine.bounds
    merged = Merged(
        spec.home,
        spec.sha256,
        partial(Sums.empty, decomposition.size, engine.vocabulary, config.around),
        Sums.load,
        lambda total, path: total.take(path, config.examples),
    )
    if spec.records is not None:
        _begin_records(ctx, spec.records, decomposition, target)

    def make(number: int) -> int:
        sums = engine.shard(number)
        sums.save(part_of(spec.home, number), spec.sha256)
        return sums.counted

    tokens = np.add.reduceat(texts.lengths, bounds[:-1]).tolist()
    worker = partial(harvest_shard, spec)
    found = fold(merged, make, worker, len(bounds) - 1, workers, ctx.progress, "count", tokens)
    if spec.records is not None:
        _finish_records(spec, len(bounds) - 1, decomposition)
    return found


def _begin_records(ctx: Context, folder: Path, decomposition: Decomposition, target: Target) -> None:
    from radiograph.models import tokenizer_sha256
    from radiograph.store.records import Header, RecordsModel, begin_records

    assert target.model is not None, "it reads tokens"
    model = RecordsModel(ref=ctx.label(target.name), sha256=target.sha256)
    header = Header(
        model=model,
        tokenizer_sha256=tokenizer_sha256(target.model.tokenizer),
        sites=decomposition.weights,
        dictionary_sha256=decomposition.sha256,
        features=decomposition.size,
        private=ctx.private,
    )
    begin_records(folder, header)


def _finish_records(spec: Spec, shards: int, decomposition: Decomposition) -> None:
    import polars as pl

    from radiograph.store.records import finish_records

    assert spec.records is not None, "they were begun"
    names = pl.DataFrame(
        {
            "feature_id": [str(c) for c in decomposition.components],
            "site": [c.weight for c in decomposition.components],
        }
    )
    finish_records(spec.records, shards, spec.sha256, names)


def _write(
    config: Config, ctx: Context, sums: Sums, texts: Texts, decomposition: Decomposition, target: Target
) -> None:
    import numpy as np

    from radiograph.decompose.statistics import BITS
    from radiograph.models import token_text
    from radiograph.numerics.cofiring import as_real
    from radiograph.store.components import Windows, write_cofire, write_examples, write_tokens

    assert target.model is not None, "it reads tokens"
    folder = ctx.output.folder("tables").parent
    names = decomposition.components
    components: dict[str, Any] = {
        "component": [str(c) for c in names],
        "weight": [c.weight for c in names],
        "index": np.array([c.index for c in names], np.uint32),
        "firings": sums.firings,
        "importance": as_real(sums.importance, BITS["importance"]),
        "h": as_real(sums.h, BITS["h"]),
        "size": as_real(sums.size, BITS["size"]),
        "largest": sums.largest,
        "tokens": np.full(len(names), sums.counted, np.int64),
    }
    ctx.output.table("components", components)
    tokenizer = target.model.tokenizer
    tokens: dict[str, Any] = {
        "token": np.arange(len(sums.token_count), dtype=np.uint32),
        "text": [token_text(tokenizer, n) for n in range(len(sums.token_count))],
        "count": sums.token_count,
        "mass": as_real(sums.token_mass, BITS["token_mass"]),
    }
    ctx.output.table("tokens", tokens)
    component = np.repeat(np.arange(len(names)), np.diff(sums.inputs.indptr))
    write_tokens(folder, "tokens_in", component, sums.inputs.indices.astype(np.int64), sums.inputs.data, "count")
    write_tokens(folder, "tokens_out", *listed(sums.out_rows, sums.mass, config.output_tokens), "mass")
    write_cofire(folder, sums.pairs)
    windows = Windows(texts.documents, texts.parts, texts.tokens, texts.starts)
    write_examples(folder, sums.examples, windows, config.fires, len(names))


def listed(rows: np.ndarray, mass: np.ndarray, most: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The `most` tokens of the largest mass of each component, and what is left, as token -1, where anything is."""
    import numpy as np

    from radiograph.decompose.statistics import BITS
    from radiograph.numerics.cofiring import as_real

    n = min(most, mass.shape[1])
    top = np.argsort(-mass, axis=1, kind="stable")[:, :n]
    held = np.take_along_axis(mass, top, axis=1)
    rest = mass.sum(axis=1) - held.sum(axis=1)
    component = np.repeat(rows, n + 1)
    token = np.concatenate([top, np.full((len(rows), 1), -1)], axis=1).ravel()
    value = np.concatenate([held, rest[:, None]], axis=1).ravel()
    there = value > 0
    return component[there], token[there].astype(np.int64), as_real(value[there], BITS["mass"])


def _result(
    config: Config,
    ctx: Context,
    plan: Plan,
    spec: Spec,
    sums: Sums,
    decomposition: Decomposition,
    target: Target,
    data: dict[str, str],
) -> ComponentHarvest:
    from radiograph.models import tokenizer_sha256

    assert target.model is not None, "it reads tokens"
    weights: list[WeightCounts] = []
    for address, first in decomposition.offsets.items():
        own = sums.firings[first : first + decomposition.sizes[address]]
        weights.append(
            WeightCounts(
                address=address,
                components=len(own),
                alive=int((own > 0).sum()),
                few=int(((own > 0) & (own < FEW)).sum()),
                firings=int(own.sum()),
            )
        )
    counted = plan.counted
    few = sum(w.few for w in weights)
    notes = (f"{few} components fired fewer than {FEW} times: too few to score a label on",) if few else ()
    return ComponentHarvest(
        model=ctx.label(target.name),
        model_sha256=target.sha256,
        decomposition=ctx.label(config.decomposition),
        decomposition_sha256=decomposition.sha256,
        tokenizer_sha256=tokenizer_sha256(target.model.tokenizer),
        weights=tuple(weights),
        fires=config.fires,
        tokens=sums.counted,
        tokens_fed=sums.fed,
        tokens_excluded=sums.fed - sums.counted,
        documents=counted.documents,
        documents_left_out=counted.left_out,
        windows=len(plan),
        shards=len(sums.shards),
        examples=config.examples,
        around=config.around,
        output_tokens=config.output_tokens,
        recorded=_recorded(spec),
        data=data,
        spec_sha256=spec.sha256,
        seed=ctx.seed,
        notes=notes,
    )


def _recorded(spec: Spec) -> int:
    from radiograph.store.records import open_records

    return 0 if spec.records is None else open_records(spec.records).header.rows


def recompute(result: dict[str, Any], folder: Path) -> list[str]:
    """Do the totals follow from the tables, and do the tables agree with each other?"""
    import numpy as np
    import polars as pl

    stored = ComponentHarvest.read(result)
    tables = folder / "tables"
    components = pl.read_parquet(tables / "components.parquet")
    out: list[str] = []
    firings = components["firings"].to_numpy()
    first = 0
    for weight in stored.weights:
        own = firings[first : first + weight.components]
        first += weight.components
        found = int((own > 0).sum()), int(((own > 0) & (own < FEW)).sum()), int(own.sum())
        if found != (weight.alive, weight.few, weight.firings):
            out.append(f"{weight.address}: alive, few, firings are stated otherwise than the table has them: {found}")
    tokens = pl.read_parquet(tables / "tokens.parquet")
    if int(tokens["count"].sum()) != stored.tokens:
        out.append(f"{stored.tokens} tokens are stated, {tokens['count'].sum()} are listed")
    inputs = pl.read_parquet(tables / "tokens_in.parquet").group_by("component").agg(pl.col("count").sum())
    on = np.zeros(len(firings), np.int64)
    on[inputs["component"].to_numpy()] = inputs["count"].to_numpy()
    if not np.array_equal(on, firings):
        out.append(f"firings by token and firings differ for {int((on != firings).sum())} components")
    pairs = pl.read_parquet(tables / "cofire.parquet")
    i, j, both = (pairs[name].to_numpy() for name in ("i", "j", "count"))
    if len(both) and (both > np.minimum(firings[i], firings[j])).any():
        out.append("two components fire together more often than one of them fires")
    return out
