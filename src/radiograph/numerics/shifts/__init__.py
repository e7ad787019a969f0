"""What moved between two sets of rows: per feature, jointly, and as a whole. Arrays in, arrays out; no torch.

`Paired` and `Unpaired` say which relabellings are as likely as the data if nothing moved; everything else asks them.
"""

from radiograph.numerics.shifts._carried import DRAWS, LEVEL, Carried, Chosen, Rest, carried, explained
from radiograph.numerics.shifts._design import LEAST_GROUPS, Design, Paired, Unpaired
from radiograph.numerics.shifts._drift import Drift, seen_null, shift_length, shift_length_of, unseen
from radiograph.numerics.shifts._features import FeatureShifts, FeatureTests, blocks, feature_shifts, feature_tests
from radiograph.numerics.shifts._rates import CodeSums, FeatureRates, feature_rates
from radiograph.numerics.shifts._sums import (
    BLOCK_ROWS,
    GroupSums,
    RowSpread,
    block_length,
    independent,
    keyed_bins,
    segments,
)

__all__ = [
    "BLOCK_ROWS",
    "DRAWS",
    "LEAST_GROUPS",
    "LEVEL",
    "Carried",
    "Chosen",
    "CodeSums",
    "Design",
    "Drift",
    "FeatureRates",
    "FeatureShifts",
    "FeatureTests",
    "GroupSums",
    "Paired",
    "Rest",
    "RowSpread",
    "Unpaired",
    "block_length",
    "blocks",
    "carried",
    "explained",
    "feature_rates",
    "feature_shifts",
    "feature_tests",
    "independent",
    "keyed_bins",
    "seen_null",
    "segments",
    "shift_length",
    "shift_length_of",
    "unseen",
]
