"""The one door to child processes of our own: a function over many inputs, several at a time.

Children are started fresh (`spawn`), so that no thread, lock or random state of the parent reaches them; `function`
and its inputs must be importable and picklable. What a child raises reaches the parent. With one job nothing is
started: the function runs here, one input after the other.
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

    with ProcessPoolExecutor(min(jobs, len(inputs)), mp_context=get_context("spawn")) as pool:
        places = {pool.submit(function, given): place for place, given in enumerate(inputs)}
        try:
            for done in as_completed(places):
                yield places[done], done.result()
        finally:
            pool.shutdown(wait=True, cancel_futures=True)
