"""Statistics of sparse columns: ranks, sizes, intervals, permutations. Nothing here knows of halves or candidates."""

from radiograph.numerics.association.estimates._bootstrap import bootstrap_limits
from radiograph.numerics.association.estimates._effects import (
    Firing,
    Sizes,
    firing,
    intraclass,
    pairs,
    score,
    two_classes,
)
from radiograph.numerics.association.estimates._intervals import (
    FEWEST_GROUPS,
    Limits,
    area_limits,
    correlation_limits,
    delong,
    share_limits,
)
from radiograph.numerics.association.estimates._permutations import Permuted, exchanges, flips, permuted
from radiograph.numerics.association.estimates._ranks import (
    Moments,
    Ranked,
    exchanged,
    flipped,
    ranked,
    signed_ranks,
    two_sided,
)

__all__ = [
    "FEWEST_GROUPS",
    "Firing",
    "Limits",
    "Moments",
    "Permuted",
    "Ranked",
    "Sizes",
    "area_limits",
    "bootstrap_limits",
    "correlation_limits",
    "delong",
    "exchanged",
    "exchanges",
    "firing",
    "flipped",
    "flips",
    "intraclass",
    "pairs",
    "permuted",
    "ranked",
    "score",
    "share_limits",
    "signed_ranks",
    "two_classes",
    "two_sided",
]
