"""The direct effect of every component on every later one over data, by shards that merge exactly."""

from __future__ import annotations

from typing import TYPE_CHECKING

from radiograph.core import deferred

if TYPE_CHECKING:
    from radiograph.decompose.attribution._engine import Attributor, attribute_batch, attribute_shard
    from radiograph.decompose.attribution._sums import BITS, READERS, Effects

__all__ = ["BITS", "READERS", "Attributor", "Effects", "attribute_batch", "attribute_shard"]

__getattr__ = deferred(__name__, __file__)
