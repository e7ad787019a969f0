"""Which training rows moved a model: closed forms over row gradients, cheap rivals, and what a ranking is worth."""

from radiograph.numerics.influence._closed import (
    DAMPING,
    Blocks,
    damping,
    datainf_direction,
    mean_squares,
    parts_of,
    products,
    relative,
    squares,
)
from radiograph.numerics.influence._ekfac import (
    Eigenbasis,
    eigenbasis,
    eigenvalues,
    ekfac_direction,
    ekfac_energy,
)
from radiograph.numerics.influence._layout import Layout, cut, orthonormal
from radiograph.numerics.influence._ranking import lds, ranked, ranks, recall_at
from radiograph.numerics.influence._words import bm25

__all__ = [
    "DAMPING",
    "Blocks",
    "Eigenbasis",
    "Layout",
    "bm25",
    "cut",
    "damping",
    "datainf_direction",
    "eigenbasis",
    "eigenvalues",
    "ekfac_direction",
    "ekfac_energy",
    "lds",
    "mean_squares",
    "orthonormal",
    "parts_of",
    "products",
    "ranked",
    "ranks",
    "recall_at",
    "relative",
    "squares",
]
