"""The one door to child processes: a function over many inputs, several at a time, and programs that a person names.

Children are started fresh (`spawn`), so that no thread, lock or random state of the parent reaches them; `function`
and its inputs must be importable and picklable. What a child raises reaches the parent; a child whose parent is gone,
killed or not, ends at once.

`spread` is for many small inputs: with one job nothing is started, the function runs here, one input after the other.
`deal` is for long work that may lose a process (memory, a kill): its input is dealt again.
`command` runs a program: an argument list, no shell, no input, a deadline, and a process group of its own that is ended
with it, on time-out and on an interrupt.
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


GRACE = 2.0
"""Seconds between asking a process group to end and ending it."""


@dataclass(frozen=True)
class Ended:
    """How a program ended, and what it wrote."""

    code: int | None
    """Exit code, negative for a signal; None: the deadline."""
    out: bytes
    err: bytes
    cut: bool
    """The middle of what it wrote was left out."""


class _Tail:
    """Head and tail of a stream, in `limit` bytes."""

    def __init__(self, limit: int) -> None:
        self.half = max(1, limit // 2)
        self.head, self.tail, self.left_out = bytearray(), bytearray(), 0

    def add(self, data: bytes) -> None:
        room = self.half - len(self.head)
        self.head += data[:room]
        self.tail += data[room:] if room > 0 else data
        if (over := len(self.tail) - self.half) > 0:
            self.left_out += over
            del self.tail[:over]

    def text(self) -> bytes:
        middle = f"\n[{self.left_out} bytes left out]\n".encode() if self.left_out else b""
        return bytes(self.head) + middle + bytes(self.tail)


def command(arguments: Sequence[str], *, seconds: float, folder: Path, limit: int) -> Ended:
    """Run a program in `folder` until it ends or `seconds` are over; of each stream `limit` bytes are kept.

    Raises:
        FileNotFoundError, PermissionError: there is no such program, or it cannot be run.
    """
    import selectors
    import subprocess
    from time import monotonic

    child = subprocess.Popen(
        list(arguments),
        cwd=folder,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )
    assert child.stdout is not None and child.stderr is not None, "both are pipes"
    kept = {child.stdout: _Tail(limit), child.stderr: _Tail(limit)}
    deadline, late = monotonic() + seconds, False
    last: float | None = None
    try:
        with selectors.DefaultSelector() as ready:
            for pipe in kept:
                ready.register(pipe, selectors.EVENT_READ)
            while ready.get_map() and not late:
                ended = child.poll() is not None
                if ended and last is None:
                    last = monotonic() + GRACE
                events = ready.select(0.0 if ended else min(max(deadline - monotonic(), 0.0), 0.5))
                if last is not None and (not events or monotonic() > last):
                    break  # a grandchild holds the pipes, or writes on and on: it is ended with the group
                for key, _ in events:
                    data = _available(key.fd)
                    kept[key.fileobj].add(data)  # type: ignore[index]
                    if not data:
                        ready.unregister(key.fileobj)
                late = last is None and monotonic() > deadline
        if not late:
            try:
                child.wait(max(0.0, deadline - monotonic()))
            except subprocess.TimeoutExpired:
                late = True
    finally:
        _end_group(child)
        child.stdout.close()
        child.stderr.close()
    out, err = kept[child.stdout], kept[child.stderr]
    return Ended(None if late else child.returncode, out.text(), err.text(), bool(out.left_out or err.left_out))


def _available(descriptor: int) -> bytes:
    """What a pipe holds now."""
    import os

    return os.read(descriptor, 1 << 16)


def _end_group(child: Any) -> None:
    """End every process of the group of a child, asking the child first if it still runs."""
    import os
    import signal
    import subprocess
    from contextlib import suppress

    with suppress(ProcessLookupError, PermissionError):
        if child.poll() is None:
            os.killpg(child.pid, signal.SIGTERM)
            with suppress(subprocess.TimeoutExpired):
                child.wait(GRACE)
        os.killpg(child.pid, signal.SIGKILL)
    child.wait()
