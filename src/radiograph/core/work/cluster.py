"""How many workers and where, and the one door to Ray.

    1        in this process
    N        N processes of this machine
    ray[:N]  N actors of the Ray cluster that RAY_ADDRESS names, else of one that is started here and stopped again

Ray sends no usage statistics: that is switched off before it is imported.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from types import ModuleType
from typing import Any, TypeVar

from radiograph.core.errors import UserError
from radiograph.core.extras import require

Given = TypeVar("Given")
Made = TypeVar("Made")
_FORM = re.compile(r"(?P<ray>ray)(?::(?P<actors>[1-9]\d*))?|(?P<processes>[1-9]\d*)")
RAY_WORKERS = 2


@dataclass(frozen=True, slots=True)
class Workers:
    """A parsed `--workers`."""

    count: int = 1
    ray: bool = False

    @classmethod
    def parse(cls, text: str | int) -> Workers:
        """Read `1`, `N` or `ray[:N]`.

        Raises:
            UserError: another form.
        """
        match = _FORM.fullmatch(str(text).strip())
        if match is None:
            raise UserError("not a number of workers", expected="1, N, ray or ray:N", got=repr(text), code="bad_value")
        if match["ray"]:
            return cls(int(match["actors"] or RAY_WORKERS), ray=True)
        return cls(int(match["processes"]))

    def __str__(self) -> str:
        return f"ray:{self.count}" if self.ray else str(self.count)


def ray(part: str = "") -> Any:
    """The package `ray`, or a part of it (`data`, `train.torch`).

    Raises:
        MissingExtra: it is not installed.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    package = require("ray", "ray")
    return package if not part else _part(part)


def _part(name: str) -> ModuleType:
    from importlib import import_module

    return import_module(f"ray.{name}")


def dealt(function: Callable[[Given], Made], inputs: Sequence[Given], workers: Workers) -> Iterator[tuple[int, Made]]:
    """(place in `inputs`, result) of every input, as they finish, from at most `workers.count` Ray tasks at a time.

    What a task writes has to lie where every machine of the cluster sees it.
    """
    with cluster(workers) as module:
        task = module.remote(num_cpus=1, max_retries=0)(function)
        left = list(enumerate(inputs))
        running: dict[Any, int] = {}
        while left or running:
            while left and len(running) < workers.count:
                place, given = left.pop(0)
                running[task.remote(given)] = place
            done, _ = module.wait(list(running), num_returns=1)
            yield running.pop(done[0]), module.get(done[0])


@contextmanager
def cluster(workers: Workers, **options: Any) -> Generator[Any]:
    """Connected to Ray: to what is connected already, to RAY_ADDRESS, or to one node started here with a core a worker.

    `options` go to `ray.init` where a node is started.
    """
    module = ray()
    if module.is_initialized():
        yield module
        return
    if os.environ.get("RAY_ADDRESS"):
        module.init(log_to_driver=False, logging_level="ERROR")
    else:
        # Loopback, so that no firewall question is asked and nobody else can join.
        local = {"num_cpus": max(workers.count, os.cpu_count() or 1), "_node_ip_address": "127.0.0.1"}
        quiet = {"include_dashboard": False, "log_to_driver": False, "logging_level": "ERROR"}
        module.init(**{**local, **quiet, **options})
    try:
        yield module
    finally:
        module.shutdown()
