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
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from radiograph.core import REFERENCE, Progress, UserError, Workers
from radiograph.evidence import pretty_json
from radiograph.harvest._capture import CODES, Engine
from radiograph.harvest._plan import Limits, Plan, open_plan
from radiograph.harvest._spec import ModelSpec, Spec, check_same
from radiograph.models import ModelRef, load_family, tokenizer_sha256
from radiograph.store.shards import (
    PROMPTS,
    Commit,
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


def spec_of(engine: Engine, plan: Plan, limits: Limits, workers: Workers, folder: Path, device: str = "cpu") -> Spec:
    """The spec of a harvest by models that are in memory.

    Raises:
        UserError: other processes cannot load them.
    """
    shared = workers.ray or workers.count > 1
    for role, model in engine.models.items():
        if shared and model.folder is None:
            raise UserError(f"the {role} is in memory alone", fix="save it to a folder, or use one worker")
    models = tuple(
        ModelSpec(
            role=role,
            sha256=model.identity.tensors_sha256,
            folder=str(model.folder.resolve()) if model.folder else "",
            adapter=str(model.adapter_folder.resolve()) if model.adapter_on and model.adapter_folder else None,
        )
        for role, model in engine.models.items()
    )
    return Spec(
        models=models,
        recipe=engine.recipe,
        reading=plan.reading,
        limits=limits,
        plan_sha256=plan.sha256,
        folder=folder.resolve(),
        device=device,
        threads=max(1, torch.get_num_threads() // workers.count),
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


def write(
    spec: Spec,
    plan: Plan,
    index: Index,
    engine: Engine,
    *,
    workers: Workers | None = None,
    before: Mapping[str, Any] | None = None,
    verify: bool = False,
    progress: Progress,
) -> Index:
    """Make every missing shard and complete the index.

    Args:
        spec: what to make, and where.
        plan: its windows, with tokens in `plan_folder(spec.folder)`.
        index: an index that is not complete.
        engine: the models; only used where shards are made in this process.
        workers: who makes them.
        before: the facts of the run that is resumed.
        verify: hash the shards that are there already.
        progress: is told of rows.

    Raises:
        UserError: another harvest lies in the folder; a value that is not finite.
        RadiographError: the disk refuses; a worker died three times at one shard.
    """
    workers = workers or Workers()
    folder = spec.folder
    if before is not None:
        check_same(dict(before), json.loads(json.dumps(spec.facts)), str(folder))
    bounds = plan.shards(engine.row_bytes, spec.recipe.shard_bytes)
    begin(folder, index.model_copy(update={"config_sha256": spec.sha256, "shards": len(bounds) - 1}), plan.prompts)
    plan.save(folder / PLAN)
    (folder / PLAN / FACTS).write_text(pretty_json(spec.facts))
    there = committed(folder, spec.sha256, verify=verify)
    missing = [number for number in range(len(bounds) - 1) if number not in there]
    with progress.task("harvest", plan.counted.kept) as task:
        task.advance(sum(commit.rows for commit in there.values()))
        for commit in _made(spec, plan, engine, missing, workers):
            task.advance(commit)
    done = finish(folder, spec.sha256)
    shutil.rmtree(folder / PLAN)
    return done


def harvest_shard(spec: Spec, number: int) -> Commit:
    """Make one shard, and return its receipt when it is on disk."""
    engine, plan = _opened(spec)
    return write_shard(spec.folder, shard(engine, plan, number, spec.recipe.shard_bytes), spec.sha256)


def shard(engine: Engine, plan: Plan, number: int, shard_bytes: int) -> ShardData:
    """One shard in memory."""
    first, last = plan.shards(engine.row_bytes, shard_bytes)[number : number + 2].tolist()
    found = engine.capture(plan, first, last)
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


def _made(spec: Spec, plan: Plan, engine: Engine, missing: Sequence[int], workers: Workers) -> Iterator[int]:
    """Rows of each shard as it is made."""
    if not missing:
        return
    if workers.ray:
        from radiograph.harvest.ray import harvest_on_ray

        yield from (commit.rows for commit in harvest_on_ray(spec, missing, workers))
    elif workers.count > 1:
        from radiograph.core.work.process import deal

        yield from (commit.rows for _, commit in deal(partial(harvest_shard, spec), missing, workers.count))
    else:
        with ShardWriter(spec.folder, spec.sha256) as writer:
            for number in missing:
                data = shard(engine, plan, number, spec.recipe.shard_bytes)
                writer.submit(data)
                yield len(data.tokens)


@lru_cache(maxsize=1)
def _opened(spec: Spec) -> tuple[Engine, Plan]:
    """The models of a spec, loaded once a process, and its plan."""
    torch.set_num_threads(spec.threads)
    refs = [ModelRef(model.folder, model.adapter) for model in spec.models]
    loaded = load_family(refs[0], refs[1:], device=spec.device)
    models = {model.role: view for model, view in zip(spec.models, loaded, strict=True)}
    codec = None if spec.open_codec is None else spec.open_codec()
    plan = open_plan(spec.folder / PLAN, spec.folder / PROMPTS, spec.reading)
    return Engine(models, spec.recipe, codec), plan
