"""Floor 3: where features come from, `KIND[:WHERE][#650,700-720]`: what a model is run through, records, or dumps.

One file a kind in `kinds`. No torch until live features are opened for a model. What a source gives is told apart by
its `kind`: `live`, `records` or `dump`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from radiograph.core import deferred
from radiograph.sources._find import kinds, open_source
from radiograph.sources._given import Dumped, Features, Given, Live, Stored
from radiograph.sources._grammar import Reference
from radiograph.sources._parts import FeatureDictionary, Foreign, Opened, Options, Parts

if TYPE_CHECKING:
    from radiograph.sources._codecs import Directions, Units
    from radiograph.sources._joined import Joined, joined


__all__ = [
    "Directions",
    "Dumped",
    "FeatureDictionary",
    "Features",
    "Foreign",
    "Given",
    "Joined",
    "Live",
    "Opened",
    "Options",
    "Parts",
    "Reference",
    "Stored",
    "Units",
    "joined",
    "kinds",
    "open_source",
]

__getattr__ = deferred(__name__, __file__)
