"""Training: config, start, step, schedule and loop, one file each. Config and presets need no torch."""

from __future__ import annotations

from typing import TYPE_CHECKING

from radiograph.core import deferred
from radiograph.dictionaries.training._config import PRESETS, TrainingConfig, preset

if TYPE_CHECKING:
    from radiograph.dictionaries.training._rows import Rows, Split
    from radiograph.dictionaries.training._train import LogRow, Trained, WorseThanMean, train

_LAZY = {"_rows": ("Rows", "Split"), "_train": ("LogRow", "Trained", "WorseThanMean", "train")}
_HOME = {name: module for module, names in _LAZY.items() for name in names}

__all__ = ["PRESETS", "LogRow", "Rows", "Split", "Trained", "TrainingConfig", "WorseThanMean", "preset", "train"]

__getattr__ = deferred(__name__, _HOME)
