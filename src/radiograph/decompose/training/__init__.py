"""Training: with what (`Settings`), on what (`Data`), from where (`started`), and the loop (`train`)."""

from __future__ import annotations

from radiograph.decompose.training._checkpoint import Checkpoints
from radiograph.decompose.training._chosen import chosen
from radiograph.decompose.training._data import Data, Documents, Vectors, documents
from radiograph.decompose.training._loop import Trained, evaluate, frozen, new_state, scene_of, train
from radiograph.decompose.training._presets import PRESETS, preset_of
from radiograph.decompose.training._settings import Settings
from radiograph.decompose.training._start import started, untrained
from radiograph.decompose.training._state import LogRow, State

__all__ = [
    "PRESETS",
    "Checkpoints",
    "Data",
    "Documents",
    "LogRow",
    "Settings",
    "State",
    "Trained",
    "Vectors",
    "chosen",
    "documents",
    "evaluate",
    "frozen",
    "new_state",
    "preset_of",
    "scene_of",
    "started",
    "train",
    "untrained",
]
