"""A harvest onto disk: shards made here, by processes of this machine, or by a cluster.

1. the plan is saved, the index begun   2. shards that a killed run committed are kept   3. the missing ones are made:
`harvest_shard(spec, number)` is all that a worker does, wherever it runs; here capture goes on while a thread writes
4. when all are there the statistics are merged in the order of the shards, and the index is complete

Every shard depends on its spec alone, and a commit is atomic: who made it, when, and how often does not show.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from radiograph.core import REFERENCE, Progress, Task, Workers
from radiograph.core.codec import Codec
from radiograph.evidence import pretty_json
from radiograph.harvest._capture import CODES, Engine
from radiograph.harvest._plan import Limits, Plan, open_plan
from radiograph.harvest._records import part_of
from radiograph.harvest._spec import ModelSpec, Spec, check_same
from radiograph.models import ModelRef, load_family, tokenizer_sha256
from radiograph.store.records import (
    Header,
    RecordsModel,
    begin_records,
    committed_parts,
    finish_records,
    write_part,
)
from radiograph.store.shards import (
    Index,
    ModelRecord,
    ShardData,
    ShardWriter,
    SourceRecord,
    begin,
    committed,
    finish,
    write_shard,
)

PLAN = "plan"
FACTS = "harvest.json"


def plan_folder(folder: Path) -> Path:
    """A fresh folder for the plan of the harvest in `folder`."""
    path = folder / PLAN
    shutil.rmtree(path, ignore_errors=True)
    path.mkdir(parents=True)
    return path


def facts_of(folder: Path) -> dict[str, Any] | None:
    """What an unfinished harvest was asked for; None where there is none."""
    path = folder / PLAN / FACTS
    return json.loads(path.read_bytes()) if path.is_file() else None


def spec_of(
    engine: Engine,
    plan: Plan,
    limits: Limits,
    *,
    shards: Path | None,
    records: Path | None = None,
    workers: Workers | None = None,
    device: str = "cpu",
    open_codec: Callable[[], Codec] | None = None,
) -> Spec:
    """The spec of a harvest by models that are in memory; workers get the codec from `open_codec`.

    Raises:
        UserError: other processes cannot load them.
    """
    workers = workers or Workers()
    shared = workers.ray or workers.count > 1
    models = tuple(ModelSpec.of(role, model, shared=shared) for role, model in engine.models.items())
    return Spec(
        models=models,
        recipe=engine.recipe,
        reading=plan.reading,
        limits=limits,
        plan_sha256=plan.sha256,
        dictionary_sha256=None if engine.codec is None else engine.codec.hash,
        shards=None if shards is None else shards.resolve(),
        records=None if records is None else records.resolve(),
        device=device,
        threads=max(1, torch.get_num_threads() // workers.count),
        open_codec=open_codec,
    )


def index_of(engine: Engine, spec: Spec, names: Mapping[str, str], data: Mapping[str, str]) -> Index:
    """The index of a harvest that begins. `names` are references of the models as they may be stored, by role."""
    tokenizer = engine.models[REFERENCE].tokenizer
    template = getattr(tokenizer, "chat_template", None)
    return Index(
        models=tuple(ModelRecord(role=m.role, reference=names[m.role], sha256=m.sha256) for m in spec.models),
        sources=tuple(
            SourceRecord(source=str(source), width=engine.width(source), dtype=CODES[engine.dtype(source)])
            for source in engine.sources
        ),
        tokenizer_sha256=None if tokenizer is None else tokenizer_sha256(tokenizer),
        template_sha256=None if template is None else hashlib.sha256(str(template).encode()).hexdigest(),
        config_sha256=spec.sha256,
        data_sha256=dict(data),
        split_salt=spec.limits.salt,
        validation=spec.limits.validation,
        bos=spec.reading.bos,
        shards=0,
    )


def header_of(engine: Engine, spec: Spec, names: Mapping[str, str], *, private: bool = False) -> Header:
    """The header of records that begin; `private` is a mark of what they are made of."""
    codec, pool = engine.codec, engine.recipe.pool
    assert codec is not None, "records need a codec"
    tokenizer = engine.models[REFERENCE].tokenizer
    return Header(
        model=RecordsModel(ref=names[REFERENCE], sha256=spec.models[0].sha256),
        tokenizer_sha256=None if tokenizer is None else tokenizer_sha256(tokenizer),
        absent="zero" if engine.recipe.keep is None else "below",
        kept_per_row=engine.recipe.keep,
        level="token" if pool is None else "prompt",
        pool=pool,
        sites=codec.sites,
        dictionary_sha256=codec.hash,
        value_unit=getattr(codec, "value_unit", "raw"),
        features=codec.size,
        private=private,
    )


@dataclass(frozen=True, slots=True)
class Receipt:
    """What a worker returns: the shard is on disk."""

    number: int
    rows: int
    """That nobody was told of yet."""


def write(
    spec: Spec,
    plan: Plan,
    engine: Engine,
    *,
    index: Index,
    header: Header | None = None,
    workers: Workers | None = None,
    before: Mapping[str, Any] | None = None,
    verify: bool = False,
    progress: Progress,
) -> tuple[Index | None, Header | None]:
    """Make every missing shard; complete the index of the shards and the header of the records.

    Args:
        spec: what to make, and where.
        plan: its windows, with tokens in `plan_folder(spec.home)`.
        engine: the models; run where shards are made in this process.
        index: an index that is not complete.
        header: a header that is not complete, where the spec asks for records.
        workers: who makes the shards.
        before: the facts of the run that is resumed.
        verify: hash the shards that are there already.
        progress: is told of rows.

    Raises:
        UserError: another harvest lies in the folder; a value that is not finite.
        RadiographError: the disk refuses; a worker died three times at one shard.
    """
    if before is not None:
        check_same(dict(before), json.loads(json.dumps(spec.facts)), str(spec.home))
    bounds = plan.shards(engine.row_bytes, spec.recipe.shard_bytes)
    count = len(bounds) - 1
    if spec.shards is not None:
        begin(spec.shards, index.model_copy(update={"shards": count}), plan.prompts)
    if spec.records is not None:
        assert header is not None, "records have a header"
        begin_records(spec.records, header)
    plan.save(spec.home / PLAN)
    (spec.home / PLAN / FACTS).write_text(pretty_json(spec.facts))
    missing = _missing(spec, count, verify)
    with progress.task("harvest", plan.counted.kept) as task:
        there = np.setdiff1d(np.arange(count), missing)
        task.advance(float(sum(plan.rows[bounds[n] : bounds[n + 1]].sum() for n in there)))
        for receipt in _made(spec, plan, engine, missing, workers or Workers(), task):
            task.advance(receipt.rows)
    done = None if spec.shards is None else finish(spec.shards, spec.sha256)
    recorded = None if spec.records is None else finish_records(spec.records, count, spec.sha256)
    shutil.rmtree(spec.home / PLAN)
    return done, recorded


def harvest_shard(spec: Spec, number: int) -> Receipt:
    """Make one shard, and return its receipt when it is on disk."""
    engine, plan = _opened(spec)
    data = _make(spec, engine, plan, number)
    if data is not None:
        write_shard(spec.home, data, spec.sha256)
    first, last = plan.shards(engine.row_bytes, spec.recipe.shard_bytes)[number : number + 2]
    return Receipt(number, int(plan.rows[first:last].sum()))


def _make(spec: Spec, engine: Engine, plan: Plan, number: int, task: Task | None = None) -> ShardData | None:
    """Run the models over one shard; its records are written here, its dense rows, if wanted, are returned."""
    first, last = plan.shards(engine.row_bytes, spec.recipe.shard_bytes)[number : number + 2].tolist()
    found = engine.capture(plan, first, last, task)
    if spec.records is not None:
        write_part(spec.records, number, *part_of(found, plan, first, spec.recipe.pool, spec.recipe.keep), spec.sha256)
    if spec.shards is None:
        return None
    held = (plan.prompts["split"][first:last] == "validation").to_numpy()
    return ShardData(
        number=number,
        rows=found.rows,
        tokens=found.token,
        prompts=found.prompt,
        positions=found.position,
        span=(first, last - 1),
        fed=int(plan.lengths[first:last].sum()),
        validation=int(held[found.prompt - np.uint32(first)].sum()),
    )


def _missing(spec: Spec, count: int, verify: bool) -> list[int]:
    """Shards that are not on disk in every form that is asked for."""
    there = set(range(count))
    if spec.shards is not None:
        there &= set(committed(spec.shards, spec.sha256, verify=verify))
    if spec.records is not None:
        there &= set(committed_parts(spec.records, spec.sha256))
    return [number for number in range(count) if number not in there]


def _made(
    spec: Spec, plan: Plan, engine: Engine, missing: Sequence[int], workers: Workers, task: Task
) -> Iterator[Receipt]:
    """Receipts of the missing shards, as they come; here `task` hears of rows before the shard is whole."""
    if not missing:
        return
    if workers.ray:
        from radiograph.harvest.ray import harvest_on_ray

        yield from harvest_on_ray(spec, missing, workers)
    elif workers.count > 1:
        from radiograph.core.work.process import deal

        yield from (receipt for _, receipt in deal(partial(harvest_shard, spec), missing, workers.count))
    else:
        with ShardWriter(spec.home, spec.sha256) as writer:
            for number in missing:
                data = _make(spec, engine, plan, number, task)
                if data is not None:
                    writer.submit(data)
                yield Receipt(number, 0)


@lru_cache(maxsize=1)
def _opened(spec: Spec) -> tuple[Engine, Plan]:
    """The models of a spec, loaded once a process, and its plan."""
    torch.set_num_threads(spec.threads)
    refs = [ModelRef(model.folder, model.adapter) for model in spec.models]
    loaded = load_family(refs[0], refs[1:], device=spec.device)
    models = {model.role: view for model, view in zip(spec.models, loaded, strict=True)}
    codec = None if spec.open_codec is None else spec.open_codec()
    plan = open_plan(spec.home / PLAN, spec.reading)
    return Engine(models, spec.recipe, codec), plan
