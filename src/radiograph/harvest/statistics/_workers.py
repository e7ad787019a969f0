"""A measurement that several processes share, or the tasks of a Ray cluster: the bytes are those of one.

1. every worker has the same rows, hence the same plan, and takes every n-th batch of it (`measure(part=…)`)
2. what it measured comes back whole, and merges in any order. A worker that is lost is asked again
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial

import torch

from radiograph.core import Progress, RadiographError, Silent, Workers
from radiograph.core.work.cluster import cluster
from radiograph.core.work.process import deal
from radiograph.harvest._spec import ModelSpec
from radiograph.harvest.statistics._measure import Measured, Scan, measure
from radiograph.harvest.statistics._rows import Rows
from radiograph.models import LanguageModel, ModelRef, load, plan


@dataclass(frozen=True, slots=True)
class _Job:
    model: ModelSpec
    rows: Rows
    scan: Scan
    parts: int
    device: str
    threads: int


def measure_shared(
    model: LanguageModel, rows: Rows, scan: Scan, workers: Workers, *, progress: Progress | None = None
) -> Measured:
    """What `measure` gives, by as many workers as there are.

    Raises:
        UserError: as `measure`; a model that other processes cannot load.
        WorkerLost: a part lost three processes.
    """
    parts = min(workers.count, len(plan([len(ids) for ids in rows.tokens], scan.batch_tokens)))
    if parts < 2 and not workers.ray:
        return measure(model, rows, scan, progress=progress)
    spec = ModelSpec.of("model", model, shared=True)
    threads = max(1, torch.get_num_threads() // parts)
    job = _Job(spec, rows, scan, parts, str(model.device), threads)
    whole = Measured(model, rows, scan)
    with (progress or Silent()).task("statistics", parts) as task:
        for part in _on_ray(job, workers) if workers.ray else _here(job):
            whole.merge(part)
            task.advance()
    return whole


def _here(job: _Job) -> Iterator[Measured]:
    yield from (part for _, part in deal(partial(_part, job), range(job.parts), job.parts))


def _on_ray(job: _Job, workers: Workers) -> Iterator[Measured]:
    with cluster(workers) as ray:
        held = ray.put(job)
        task = ray.remote(**({"num_gpus": 1} if job.device.startswith("cuda") else {"num_cpus": 1}))(_sent)
        waiting = [task.remote(held, number) for number in range(job.parts)]
        while waiting:
            (done,), waiting = ray.wait(waiting)
            found = ray.get(done)
            if isinstance(found, RadiographError):
                raise found
            yield found


def _sent(job: _Job, number: int) -> Measured | RadiographError:
    """A part, or what went wrong: a value, so that it is not tried again and arrives as what it is."""
    try:
        return _part(job, number)
    except RadiographError as error:
        return error


def _part(job: _Job, number: int) -> Measured:
    torch.set_num_threads(job.threads)
    model = load(ModelRef(job.model.folder, job.model.adapter), device=job.device)
    return measure(model, job.rows, job.scan, part=(number, job.parts))
