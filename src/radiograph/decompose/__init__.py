"""Floor 3: weights as sums of rank-one components, and what says which of them a token needs.

`Decomposition` (`load`, `save`, `make`): components, importance, masked runs. `masks`, `routers`, `adversary`: what
stays. `importance`, `losses`: plug-ins, one file each. `training`: how one is made. `metrics`: how good it is.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from radiograph.core import deferred

if TYPE_CHECKING:
    from radiograph.decompose._codec import WeightCodec, codecs
    from radiograph.decompose._decomposition import Decomposition, Observation, all_ones, assembled
    from radiograph.decompose._files import DOCUMENT, TENSORS, load, make, read_document, save

__all__ = [
    "DOCUMENT",
    "TENSORS",
    "Decomposition",
    "Observation",
    "WeightCodec",
    "all_ones",
    "assembled",
    "codecs",
    "load",
    "make",
    "read_document",
    "save",
]

__getattr__ = deferred(__name__, __file__)
