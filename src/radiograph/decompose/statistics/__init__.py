"""What every component does over many tokens: counts, sums, tokens, pairs, examples, by shards that merge exactly."""

from __future__ import annotations

from typing import TYPE_CHECKING

from radiograph.core import deferred

if TYPE_CHECKING:
    from radiograph.decompose.statistics._engine import Engine, harvest_shard
    from radiograph.decompose.statistics._shards import Merged, begin, fold, part_of
    from radiograph.decompose.statistics._spec import Spec, Texts, recorded_windows
    from radiograph.decompose.statistics._sums import BITS, Sums

__all__ = [
    "BITS",
    "Engine",
    "Merged",
    "Spec",
    "Sums",
    "Texts",
    "begin",
    "fold",
    "harvest_shard",
    "part_of",
    "recorded_windows",
]

__getattr__ = deferred(__name__, __file__)
