"""TensorBoard event files: `tensorboard --logdir FOLDER`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from radiograph.core import require


class Events:
    """One event file."""

    def __init__(self, folder: Path, config: Mapping[str, Any]) -> None:
        require("tensorboard", "tensorboard")
        from torch.utils.tensorboard import SummaryWriter

        self._writer = SummaryWriter(str(folder))
        self._writer.add_text("config", "\n".join(f"    {name}: {value}" for name, value in config.items()), 0)

    def log(self, step: int, numbers: Mapping[str, float]) -> None:
        """One scalar a number."""
        for name, value in numbers.items():
            self._writer.add_scalar(name, value, step)

    def close(self) -> None:
        """Flush."""
        self._writer.close()


def open_run(folder: Path, name: str, config: Mapping[str, Any]) -> Events:
    """An event file in a folder of the run's name."""
    return Events(folder / name, config)
