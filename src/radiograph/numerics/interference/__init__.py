"""What one adapter does to another's task: scores with intervals, bands, merges of factors, overlaps of two changes."""

from radiograph.numerics.interference._bands import MAJOR_FROM, MINOR_FROM, band_of
from radiograph.numerics.interference._merges import MERGES, Factors, merged
from radiograph.numerics.interference._overlap import Change, Overlap, SharedShift, Shift, overlap, shared_shift
from radiograph.numerics.interference._scores import (
    RESAMPLES,
    Scores,
    difference_interval,
    gain,
    paired_scores,
    ratio_interval,
)

__all__ = [
    "MAJOR_FROM",
    "MERGES",
    "MINOR_FROM",
    "RESAMPLES",
    "Change",
    "Factors",
    "Overlap",
    "Scores",
    "SharedShift",
    "Shift",
    "band_of",
    "difference_interval",
    "gain",
    "merged",
    "overlap",
    "paired_scores",
    "ratio_interval",
    "shared_shift",
]
