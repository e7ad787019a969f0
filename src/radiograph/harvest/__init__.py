"""Floor 3: a model and texts in, rows of activations out."""

from __future__ import annotations

from typing import TYPE_CHECKING

from radiograph.core import deferred
from radiograph.harvest._datasets import Dataset
from radiograph.harvest._plan import Limits, Plan, Split, Window, plan, windows
from radiograph.harvest._sources import Corpus, Fields, Text, read, subset, texts_of
from radiograph.harvest._tokens import Keep, Reading

if TYPE_CHECKING:
    from radiograph.harvest._memory import MemoryShards, harvest

_HOME = {"MemoryShards": "_memory", "harvest": "_memory"}

__all__ = [
    "Corpus",
    "Dataset",
    "Fields",
    "Keep",
    "Limits",
    "MemoryShards",
    "Plan",
    "Reading",
    "Split",
    "Text",
    "Window",
    "harvest",
    "plan",
    "read",
    "subset",
    "texts_of",
    "windows",
]

__getattr__ = deferred(__name__, _HOME)
