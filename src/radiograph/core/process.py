"""The one door to child processes of our own: a function over many inputs, several at a time.

Children are started fresh (`spawn`), so that no thread, lock or random state of the parent reaches them; `function`
and its inputs must be importable and picklable. What a child raises reaches the parent; a child whose parent is gone,
killed or not, ends at once. With one job nothing is started: the function runs here, one input after the other.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

Given = TypeVar("Given")
Made = TypeVar("Made")


def spread(function: Callable[[Given], Made], inputs: Sequence[Given], jobs: int = 1) -> Iterator[tuple[int, Made]]:
    """(place in `inputs`, result) of every input, as they finish."""
    if jobs < 2 or len(inputs) < 2:
        for place, given in enumerate(inputs):
            yield place, function(given)
        return
    from concurrent.futures import ProcessPoolExecutor, as_completed
    from multiprocessing import get_context

    workers = min(jobs, len(inputs))
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn"), initializer=_end_with_parent) as pool:
        places = {pool.submit(function, given): place for place, given in enumerate(inputs)}
        try:
            for done in as_completed(places):
                yield places[done], done.result()
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


def _end_with_parent() -> None:
    import os
    from multiprocessing import parent_process
    from threading import Thread

    parent = parent_process()
    assert parent is not None, "runs in a child alone"

    def wait() -> None:
        parent.join()
        os._exit(1)

    Thread(target=wait, daemon=True).start()
