"""Site maps and weight addresses of the architectures that radiograph knows. No torch."""

from radiograph.models.architectures._families import FAMILIES, Family, family_of
from radiograph.models.architectures._sites import Architecture, Point
from radiograph.models.architectures._weights import UNEMBEDDINGS, WeightAddress, weight_addresses

__all__ = [
    "FAMILIES",
    "UNEMBEDDINGS",
    "Architecture",
    "Family",
    "Point",
    "WeightAddress",
    "family_of",
    "weight_addresses",
]
