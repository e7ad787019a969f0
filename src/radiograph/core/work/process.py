"""The one door to child processes of our own: a function over many inputs, several at a time.

Children are started fresh (`spawn`), so that no thread, lock or random state of the parent reaches them; `function`
and its inputs must be importable and picklable. What a child raises reaches the parent; a child whose parent is gone,
killed or not, ends at once.

`spread` is for many small inputs: with one job nothing is started, the function runs here, one input after the other.
`deal` is for long work that may lose a process (memory, a kill): its input is dealt again.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from radiograph.core.errors import WorkerLost

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


LAST_LINES = 12


@dataclass(eq=False)
class _Child:
    process: Any
    pipe: Any
    log: Path
    place: int = -1
    """What it works on."""


def deal(
    function: Callable[[Given], Made], inputs: Sequence[Given], jobs: int, *, again: int = 2
) -> Iterator[tuple[int, Made]]:
    """(place in `inputs`, result) of every input, as they finish, from `jobs` children.

    The input of a child that died is dealt again, at most `again` times.

    Raises:
        WorkerLost: the same input lost one child more, with the last lines that the child wrote to stderr.
    """
    from multiprocessing.connection import wait
    from tempfile import TemporaryDirectory

    waiting, lost = deque(range(len(inputs))), Counter[int]()
    with TemporaryDirectory(prefix="radiograph-") as logs:
        children = [_start(function, Path(logs), number) for number in range(min(jobs, len(inputs)))]
        started = len(children)
        try:
            for child in children:
                _hand(child, waiting, inputs)
            while busy := [child for child in children if child.place >= 0]:
                ready = wait([child.pipe for child in busy])
                for child in [c for c in busy if c.pipe in ready]:
                    place = child.place
                    try:
                        made, error = child.pipe.recv()
                    except (EOFError, ConnectionResetError):
                        lost[place] += 1
                        if lost[place] > again:
                            raise _lost(child, place, lost[place]) from None
                        waiting.appendleft(place)
                        children.remove(child)
                        children.append(_start(function, Path(logs), started))
                        started += 1
                        _hand(children[-1], waiting, inputs)
                        continue
                    if error is not None:
                        raise error
                    _hand(child, waiting, inputs)
                    yield place, made
        finally:
            for child in children:
                child.process.kill()
                child.process.join()


def _start(function: Callable[..., Any], logs: Path, number: int) -> _Child:
    from multiprocessing import get_context

    context = get_context("spawn")
    ours, theirs = context.Pipe()
    log = logs / f"{number}.log"
    process = context.Process(target=_serve, args=(function, theirs, str(log)), daemon=True)
    process.start()
    theirs.close()  # the child holds the only other end: its death ends the pipe
    return _Child(process, ours, log)


def _hand(child: _Child, waiting: deque[int], inputs: Sequence[Any]) -> None:
    child.place = waiting.popleft() if waiting else -1
    if child.place >= 0:
        try:
            child.pipe.send(inputs[child.place])
        except BrokenPipeError:
            return  # it died while idle: the next read of its pipe says so


def _serve(function: Callable[[Any], Any], pipe: Any, log: str) -> None:
    """The life of a child: read an input, send (result, error), until the parent closes the pipe."""
    import os
    import pickle

    _end_with_parent()
    with Path(log).open("wb") as handle:
        os.dup2(handle.fileno(), 2)
    while True:
        try:
            given = pipe.recv()
        except EOFError:
            return
        try:
            answer: tuple[Any, BaseException | None] = (function(given), None)
        except Exception as error:  # noqa: BLE001 - whatever it is, the parent raises it
            answer = (None, error)
        try:
            pipe.send(answer)
        except (pickle.PicklingError, TypeError, AttributeError):
            pipe.send((None, RuntimeError(f"a worker's answer cannot be sent: {answer[1] or answer[0]!r}")))


def _lost(child: _Child, place: int, times: int) -> WorkerLost:
    child.process.join()
    lines = child.log.read_text(errors="replace").splitlines()[-LAST_LINES:] if child.log.exists() else []
    said = "\n".join(lines) or "nothing on stderr"
    return WorkerLost(f"input {place} lost {times} processes, the last with exit code {child.process.exitcode}", said)


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
