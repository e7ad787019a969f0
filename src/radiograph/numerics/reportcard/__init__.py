"""Scores of a report card: from rows to a score in [0, 1], its interval and its band."""

from radiograph.numerics.reportcard._order import ORDER_SHARDS, order_known
from radiograph.numerics.reportcard._overlap import contained
from radiograph.numerics.reportcard._scores import (
    FEWEST,
    MODES,
    OK,
    PASSABLE,
    Band,
    Mode,
    Scored,
    band_of,
    point_band,
    score,
)

__all__ = [
    "FEWEST",
    "MODES",
    "OK",
    "ORDER_SHARDS",
    "PASSABLE",
    "Band",
    "Mode",
    "Scored",
    "band_of",
    "contained",
    "order_known",
    "point_band",
    "score",
]
