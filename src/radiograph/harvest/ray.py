"""Shards made by the actors of a Ray cluster.

Numbers of missing shards are the whole dataset: an actor loads the models once, makes a shard, writes it to the shared
folder and returns its receipt, so activations never enter the object store. An actor that is lost is started again and
its number dealt again: that is harmless, since a commit is atomic and the bytes depend on the spec alone.
The folder must be one path that every node sees.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from radiograph.core import RadiographError, Workers
from radiograph.core.work.cluster import cluster, ray
from radiograph.harvest._run import PLAN, Receipt, harvest_shard
from radiograph.harvest._spec import Spec

ATTEMPTS = 3
"""How often a shard is begun: Ray itself would deal it again for ever."""


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
                _count(self._spec, int(number))
                rows.append(harvest_shard(self._spec, int(number)).rows)
                errors.append("")
            except RadiographError as error:
                rows.append(0)
                errors.append(str(error))
        return {"number": list(batch["item"]), "rows": rows, "error": errors}


def _count(spec: Spec, number: int) -> None:
    """Note that a shard is begun, where every node sees it."""
    with (spec.home / PLAN / f"{number:05d}.begun").open("ab") as handle:
        handle.write(b".")
        if handle.tell() > ATTEMPTS:
            raise RadiographError(f"shard {number} lost {ATTEMPTS} actors: see the logs of the cluster")


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
            **({"num_gpus": 1} if spec.device.startswith("cuda") else {"num_cpus": 1}),
        )
        for row in made.iter_rows():
            if row["error"]:
                raise RadiographError(row["error"])
            yield Receipt(int(row["number"]), int(row["rows"]))
