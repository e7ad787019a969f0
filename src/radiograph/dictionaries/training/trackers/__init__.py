"""Mirrors of the log in other people's dashboards: one file a tracker, found by its name, imported when asked for.

A file defines `open_run(folder, name, config) -> Sink`. All write to a local folder and none goes online: what has been
written is uploaded, if at all, by the tracker's own command. A tracker that fails is a warning, and training goes on.
What it prints goes to stderr: stdout is for the result.
"""

from __future__ import annotations

import pkgutil
import sys
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager, redirect_stdout
from importlib import import_module
from pathlib import Path
from typing import Any, Protocol

from radiograph.core import MissingExtra, UserError, nearest

Tracked = Callable[[int, Mapping[str, float]], None]


class Sink(Protocol):
    """Where numbers go."""

    def log(self, step: int, numbers: Mapping[str, float]) -> None:
        """Take the numbers of one step."""
        ...

    def close(self) -> None:
        """Write what is still held."""
        ...


def names() -> list[str]:
    """Every tracker that has a file here."""
    return sorted(m.name for m in pkgutil.iter_modules(__path__) if not m.name.startswith("_"))


@contextmanager
def tracking(
    name: str, folder: Path, run: str, config: Mapping[str, Any], warn: Callable[[str], None]
) -> Generator[Tracked]:
    """A function that takes (step, numbers) while the tracker is open. What it raises becomes one warning.

    Raises:
        UserError: no such tracker.
        MissingExtra: its package is not installed.
    """
    if name not in names():
        close = nearest(name, names()) or names()
        raise UserError(f"unknown tracker {name!r}", expected=", ".join(names()), fix=f"did you mean {close[0]}?")
    try:
        with redirect_stdout(sys.stderr):
            sink: Sink | None = import_module(f"{__name__}.{name}").open_run(folder, run, config)
    except MissingExtra:
        raise
    except Exception as error:  # noqa: BLE001 - whatever a dashboard does, training is not stopped by it
        warn(f"{name} could not be opened and is left out: {error}")
        sink = None

    def track(step: int, numbers: Mapping[str, float]) -> None:
        nonlocal sink
        if sink is None:
            return
        try:
            with redirect_stdout(sys.stderr):
                sink.log(step, numbers)
        except Exception as error:  # noqa: BLE001
            warn(f"{name} failed at step {step} and is left out from here: {error}")
            sink = None

    try:
        yield track
    finally:
        try:
            if sink is not None:
                with redirect_stdout(sys.stderr):
                    sink.close()
        except Exception as error:  # noqa: BLE001
            warn(f"{name} could not be closed: {error}")
