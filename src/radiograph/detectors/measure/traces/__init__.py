"""What a narrow change leaves behind: shifts of activations, witnesses, training rows."""

from radiograph.detectors.measure.traces._lens import Shifts, lens_sites, measure_lens, measure_shifts
from radiograph.detectors.measure.traces._rows import RowFindings, measure_rows, row_tokens
from radiograph.detectors.measure.traces._witness import Finder, WitnessFindings, find_witnesses

__all__ = [
    "Finder",
    "RowFindings",
    "Shifts",
    "WitnessFindings",
    "find_witnesses",
    "lens_sites",
    "measure_lens",
    "measure_rows",
    "measure_shifts",
    "row_tokens",
]
