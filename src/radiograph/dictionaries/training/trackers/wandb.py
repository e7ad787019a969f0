"""Weights & Biases, offline: `wandb sync FOLDER/wandb/offline-run-…` uploads it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from radiograph.core import require


class OfflineRun:
    """One run on disk."""

    def __init__(self, folder: Path, name: str, config: Mapping[str, Any]) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        wandb = require("wandb", "wandb")
        settings = wandb.Settings(silent=True, disable_git=True, disable_code=True, x_disable_meta=True)
        self._run = wandb.init(
            mode="offline", dir=str(folder), project="radiograph", name=name, config=dict(config), settings=settings
        )

    def log(self, step: int, numbers: Mapping[str, float]) -> None:
        """The numbers of one step."""
        self._run.log(dict(numbers), step=step)

    def close(self) -> None:
        """Finish the run."""
        self._run.finish()


def open_run(folder: Path, name: str, config: Mapping[str, Any]) -> OfflineRun:
    """An offline run below the folder."""
    return OfflineRun(folder, name, config)
