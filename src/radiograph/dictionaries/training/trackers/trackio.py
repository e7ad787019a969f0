"""Trackio, whose dashboard and database are local: `trackio show` with TRACKIO_DIR set to the folder."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from radiograph.core import require


class LocalRun:
    """One run in a local database."""

    def __init__(self, folder: Path, name: str, config: Mapping[str, Any]) -> None:
        # The package reads its folder when it is imported; without a space id nothing leaves the machine.
        os.environ.setdefault("TRACKIO_DIR", str(folder / "trackio"))
        self._run = require("trackio", "trackio").init(project="radiograph", name=name, config=dict(config))

    def log(self, step: int, numbers: Mapping[str, float]) -> None:
        """The numbers of one step."""
        self._run.log(dict(numbers), step=step)

    def close(self) -> None:
        """Finish the run."""
        self._run.finish()


def open_run(folder: Path, name: str, config: Mapping[str, Any]) -> LocalRun:
    """A run below the folder."""
    return LocalRun(folder, name, config)
