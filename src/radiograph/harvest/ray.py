"""Shards made by the actors of a Ray cluster.

Numbers of missing shards are the whole dataset: an actor loads the models once, makes a shard, writes it to the shared
folder and returns its receipt, so activations never enter the object store. An actor that is lost is started again and
its number dealt again: that is harmless, since a commit is atomic and the bytes depend on the spec alone.
The folder must be one path that every node sees.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from radiograph.core import RadiographError, Refusal, UserError, Workers
from radiograph.core.work.cluster import cluster, ray
from radiograph.harvest._run import Receipt, harvest_shard
from radiograph.harvest._spec import Spec

LOST_ACTORS = 2
"""How often the actor of one shard may be lost."""


class HarvestWorker:
    """An actor: the models of a spec, and a shard for each number."""

    def __init__(self, spec: Spec) -> None:
        self._spec = spec

    def __call__(self, batch: dict[str, Any]) -> dict[str, list[Any]]:
        """Receipts of the shards of a batch; what went wrong travels as a value, so that it is not tried again."""
        rows: list[int] = []
        errors: list[str] = []
        for number in batch["item"]:
            try:
                rows.append(harvest_shard(self._spec, int(number)).rows)
                errors.append("")
            except (UserError, Refusal) as error:
                rows.append(0)
                errors.append(str(error))
        return {"number": list(batch["item"]), "rows": rows, "error": errors}


def harvest_on_ray(spec: Spec, missing: Sequence[int], workers: Workers) -> Iterator[Receipt]:
    """The receipts of all missing shards, as they come.

    Raises:
        MissingExtra: Ray is not installed.
        RadiographError: a shard could not be made; an actor was lost too often.
    """
    with cluster(workers):
        data = ray("data")
        context = data.DataContext.get_current()
        context.enable_progress_bars = False
        context.print_on_execution_start = False
        strategy = data.ActorPoolStrategy(size=min(workers.count, len(missing)))
        made = data.from_items([int(n) for n in missing], override_num_blocks=len(missing)).map_batches(
            HarvestWorker,
            batch_size=1,
            compute=strategy,
            fn_constructor_args=(spec,),
            max_restarts=-1,
            max_task_retries=LOST_ACTORS,
            num_cpus=1,
            num_gpus=1 if spec.device.startswith("cuda") else None,
        )
        for row in made.iter_rows():
            if row["error"]:
                raise RadiographError(row["error"])
            yield Receipt(int(row["number"]), int(row["rows"]))
