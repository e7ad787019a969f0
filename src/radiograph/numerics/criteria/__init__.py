"""What the labels of a criterion are worth: who agrees, what belongs together, what the surface gives away."""

from radiograph.numerics.criteria.agreement import Kappa, kappa
from radiograph.numerics.criteria.groups import text_key, text_keys, united
from radiograph.numerics.criteria.halves import discover_half
from radiograph.numerics.criteria.similar import near_clusters
from radiograph.numerics.criteria.surface import Surface, auroc, length_auroc, surface_aurocs, word_auroc

__all__ = [
    "Kappa",
    "Surface",
    "auroc",
    "discover_half",
    "kappa",
    "length_auroc",
    "near_clusters",
    "surface_aurocs",
    "text_key",
    "text_keys",
    "united",
    "word_auroc",
]
