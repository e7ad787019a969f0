"""From a family to models on disk whose truth is known and measured."""

from radiograph.organisms.building._build import BUNDLED, build
from radiograph.organisms.building._gates import measure_gates
from radiograph.organisms.building._organism import Place, grow

__all__ = ["BUNDLED", "Place", "build", "grow", "measure_gates"]
