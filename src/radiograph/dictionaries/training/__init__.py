"""Training: config, start, step, schedule and loop, one file each. Config and presets need no torch."""

from __future__ import annotations

from typing import TYPE_CHECKING

from radiograph.core import deferred
from radiograph.dictionaries.training._config import PRESETS, TrainingConfig, preset

if TYPE_CHECKING:
    from radiograph.dictionaries.training._rows import Places, places
    from radiograph.dictionaries.training.loop import (
        Caution,
        Checkpoints,
        LogRow,
        TooFewRows,
        Trained,
        WorseThanMean,
        columns,
        train,
        validation_rows,
    )
    from radiograph.dictionaries.training.trackers import tracking


__all__ = [
    "PRESETS",
    "Caution",
    "Checkpoints",
    "LogRow",
    "Places",
    "TooFewRows",
    "Trained",
    "TrainingConfig",
    "WorseThanMean",
    "columns",
    "places",
    "preset",
    "tracking",
    "train",
    "validation_rows",
]

__getattr__ = deferred(__name__, __file__)
