"""Floor 3: a model and texts in, rows of activations out."""

from __future__ import annotations

from typing import TYPE_CHECKING

from radiograph.core import deferred
from radiograph.harvest._datasets import Dataset
from radiograph.harvest._plan import Limits, Plan, Split, Window, plan, windows
from radiograph.harvest._sources import Corpus, Fields, Text, read, subset, texts_of
from radiograph.harvest._spec import Recipe, Spec
from radiograph.harvest._tokens import Keep, Reading, encode, pieces

if TYPE_CHECKING:
    from radiograph.harvest._capture import Engine, expand_sources
    from radiograph.harvest._memory import Harvested, harvest
    from radiograph.harvest._run import facts_of, harvest_shard, header_of, index_of, plan_folder, spec_of, write


__all__ = [
    "Corpus",
    "Dataset",
    "Engine",
    "Fields",
    "Harvested",
    "Keep",
    "Limits",
    "Plan",
    "Reading",
    "Recipe",
    "Spec",
    "Split",
    "Text",
    "Window",
    "encode",
    "expand_sources",
    "facts_of",
    "harvest",
    "harvest_shard",
    "header_of",
    "index_of",
    "pieces",
    "plan",
    "plan_folder",
    "read",
    "spec_of",
    "subset",
    "texts_of",
    "windows",
    "write",
]

__getattr__ = deferred(__name__, __file__)
