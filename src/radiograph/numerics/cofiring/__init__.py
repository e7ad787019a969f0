"""Which things fire together, on which tokens: sums that merge to the same bytes, keyed samples, ratios, groups.

Sums are fixed-point and samples are the smallest keyed hashes, so that neither batches nor workers show.
"""

from radiograph.numerics.cofiring._agreement import Agreement, agreement
from radiograph.numerics.cofiring._fixed import added, as_fixed, as_real
from radiograph.numerics.cofiring._groups import Groups, Merge, group, mdl, merge_costs, shifted
from radiograph.numerics.cofiring._keyed import keys, likely, smallest, text_keys
from radiograph.numerics.cofiring._means import LEAST_TEXTS, Spread, errors, half_width
from radiograph.numerics.cofiring._pairs import PairCounts, fired_pairs, joined
from radiograph.numerics.cofiring._ratios import Ratios, extremes, ratios

__all__ = [
    "LEAST_TEXTS",
    "Agreement",
    "Groups",
    "Merge",
    "PairCounts",
    "Ratios",
    "Spread",
    "added",
    "agreement",
    "as_fixed",
    "as_real",
    "errors",
    "extremes",
    "fired_pairs",
    "group",
    "half_width",
    "joined",
    "keys",
    "likely",
    "mdl",
    "merge_costs",
    "ratios",
    "shifted",
    "smallest",
    "text_keys",
]
