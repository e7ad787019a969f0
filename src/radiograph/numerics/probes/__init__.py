"""Linear probes as numbers: directions, the choice among sites, calibrated thresholds, rates with bands, support."""

from radiograph.numerics.probes._covariance import cell_moment, covariance, shrunk
from radiograph.numerics.probes._directions import STRENGTHS, Fit, Method, directions, prepared
from radiograph.numerics.probes._labels import Cells, cells_of, permuted
from radiograph.numerics.probes._rates import (
    EDGES,
    Band,
    Rate,
    band,
    correlation,
    flags_of,
    group_size,
    point_band,
    rate,
    rows_needed,
    threshold,
)
from radiograph.numerics.probes._search import Candidate, Searched, candidates_of, search
from radiograph.numerics.probes._separation import Separation, areas, separation, separation_difference
from radiograph.numerics.probes._support import (
    DISTINCT,
    QUANTILES,
    SetSupport,
    Support,
    outside,
    projected,
    set_support,
    squared_distances,
    support_of,
)

__all__ = [
    "DISTINCT",
    "EDGES",
    "QUANTILES",
    "STRENGTHS",
    "Band",
    "Candidate",
    "Cells",
    "Fit",
    "Method",
    "Rate",
    "Searched",
    "Separation",
    "SetSupport",
    "Support",
    "areas",
    "band",
    "candidates_of",
    "cell_moment",
    "cells_of",
    "correlation",
    "covariance",
    "directions",
    "flags_of",
    "group_size",
    "outside",
    "permuted",
    "point_band",
    "prepared",
    "projected",
    "rate",
    "rows_needed",
    "search",
    "separation",
    "separation_difference",
    "set_support",
    "shrunk",
    "squared_distances",
    "support_of",
    "threshold",
]
