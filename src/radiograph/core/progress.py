"""Progress: what a long step tells whoever waits for it. The work reports; a surface decides how it looks."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import AbstractContextManager, contextmanager
from typing import Protocol, runtime_checkable


@runtime_checkable
class Task(Protocol):
    """One piece of work under way."""

    def advance(self, amount: float = 1) -> None:
        """Add to what is done."""
        ...

    def note(self, text: str) -> None:
        """Replace the short remark beside the bar (a loss, a rate)."""
        ...


@runtime_checkable
class Progress(Protocol):
    """Hands out tasks; says one line."""

    def task(self, title: str, total: float | None = None) -> AbstractContextManager[Task]:
        """Open a task; `total` in the caller's own units, None when unknown."""
        ...

    def say(self, text: str) -> None:
        """One line to whoever watches (never to stdout)."""
        ...


class _Quiet:
    def advance(self, amount: float = 1) -> None:
        del amount

    def note(self, text: str) -> None:
        del text


class Silent:
    """A progress that shows nothing: for libraries, tests and `--quiet`."""

    @contextmanager
    def task(self, title: str, total: float | None = None) -> Generator[Task]:
        """A task that nobody sees."""
        del title, total
        yield _Quiet()

    def say(self, text: str) -> None:
        """Say nothing."""
        del text
