"""Progress on a terminal: bars on stderr, and only when somebody is there to look."""

from __future__ import annotations

import sys
from collections.abc import Generator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from radiograph.core import Task, visible

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID


class Terminal:
    """Implements `core.Progress` with rich; plain lines when stderr is not a terminal."""

    def __init__(self, quiet: bool = False) -> None:
        self.quiet = quiet
        self.live = sys.stderr.isatty() and not quiet
        self._progress: Progress | None = None
        self._open = 0

    @contextmanager
    def task(self, title: str, total: float | None = None) -> Generator[Task]:
        """Show a bar while the work goes on; nested tasks share one display."""
        if not self.live:
            yield _Still()
            return
        progress = self._display()
        if self._open == 0:
            progress.start()
        self._open += 1
        task = progress.add_task(visible(title), total=total, note="")
        try:
            yield _Bar(progress, task)
        finally:
            progress.remove_task(task)
            self._open -= 1
            if self._open == 0:
                progress.stop()

    def say(self, text: str) -> None:
        """One line on stderr."""
        if self.quiet:
            return
        if self._open and self._progress is not None:
            self._progress.console.print(visible(text), markup=False, highlight=False)
        else:
            sys.stderr.write(visible(text) + "\n")
            sys.stderr.flush()

    def _display(self) -> Progress:
        if self._progress is None:
            from rich.console import Console
            from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeRemainingColumn

            self._progress = Progress(
                SpinnerColumn(),
                TextColumn("{task.description}", markup=False),
                BarColumn(bar_width=24),
                TimeRemainingColumn(compact=True),
                TextColumn("{task.fields[note]}", markup=False),
                console=Console(stderr=True),
                transient=True,
            )
        return self._progress


class _Bar:
    def __init__(self, progress: Progress, task: TaskID) -> None:
        self._progress = progress
        self._task = task

    def advance(self, amount: float = 1) -> None:
        self._progress.advance(self._task, amount)

    def note(self, text: str) -> None:
        self._progress.update(self._task, note=visible(text, 60))


class _Still:
    def advance(self, amount: float = 1) -> None:
        del amount

    def note(self, text: str) -> None:
        del text
