"""From a family to models on disk whose truth is known and measured."""

from radiograph.organisms.building._build import BUNDLED, build, build_tier
from radiograph.organisms.building._gates import measure_gates
from radiograph.organisms.building._organism import Grown, Place, grow
from radiograph.organisms.building._retrained import retrain
from radiograph.organisms.building._tiers import seats
from radiograph.organisms.building._tuning import with_lora, write_adapter

__all__ = [
    "BUNDLED",
    "Grown",
    "Place",
    "build",
    "build_tier",
    "grow",
    "measure_gates",
    "retrain",
    "seats",
    "with_lora",
    "write_adapter",
]
