"""Progress of a call, and the place where a cancelled one stops.

A verb says how far it is through `core.Progress`; every such word is also a look at whether it should still go on. A
call that was cancelled, or has spent its session's seconds, stops there with an exception that no `except Exception`
of a verb holds up. What it had written stays a `.partial` folder, and the last look is right before the seal.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager

from radiograph.core import Task

Report = Callable[[float, str], None]
"""Seconds since the call began, and a line."""
_INTERVAL = 0.2


class Cancelled(BaseException):
    """Whoever asked no longer waits."""


class OutOfTime(BaseException):
    """The seconds of the session are spent."""


class Watch:
    """Implements `core.Progress` for one call; `cancel` may come from another thread."""

    def __init__(self, report: Report | None = None) -> None:
        self._report = report
        self._cancelled = threading.Event()
        self._began = time.monotonic()
        self._deadline: float | None = None
        self._last = 0.0

    def cancel(self) -> None:
        """Stop at the next look."""
        self._cancelled.set()

    def limit(self, seconds: float | None) -> None:
        """Stop at the next look after so many seconds from now."""
        self._deadline = None if seconds is None else time.monotonic() + seconds

    def look(self) -> None:
        """Go on, or stop.

        Raises:
            Cancelled: `cancel` was called. OutOfTime: the deadline has passed.
        """
        if self._cancelled.is_set():
            raise Cancelled
        if self._deadline is not None and time.monotonic() > self._deadline:
            raise OutOfTime

    @contextmanager
    def task(self, title: str, total: float | None = None) -> Generator[Task]:
        """A piece of work, reported as a line."""
        self.look()
        self._tell(title)
        yield _Step(self, title, total)

    def say(self, text: str) -> None:
        """One line to whoever asked."""
        self.look()
        self._tell(text, at_once=True)

    def _tell(self, text: str, *, at_once: bool = False) -> None:
        now = time.monotonic() - self._began
        if self._report is not None and (at_once or self._last == 0.0 or now - self._last >= _INTERVAL):
            self._last = now
            self._report(now, text)


class _Step:
    def __init__(self, watch: Watch, title: str, total: float | None) -> None:
        self._watch, self._title, self._total = watch, title, total
        self._done = 0.0
        self._note = ""

    def advance(self, amount: float = 1) -> None:
        self._done += amount
        self._tell()

    def note(self, text: str) -> None:
        self._note = text
        self._tell()

    def _tell(self) -> None:
        self._watch.look()
        share = f" {self._done:g}" + (f"/{self._total:g}" if self._total else "")
        self._watch._tell(f"{self._title}{share} {self._note}".rstrip())
