"""Everything that is asked of a dictionary beyond its quality in one number: intervals, bands, exclusivity."""

from radiograph.dictionaries.measures._blocks import Block, Blocks, Survey, survey
from radiograph.dictionaries.measures._exclusivity import Exclusivity, Probe, exclusivity, model_pairs
from radiograph.dictionaries.measures._tables import Tables, tabulate

__all__ = [
    "Block",
    "Blocks",
    "Exclusivity",
    "Probe",
    "Survey",
    "Tables",
    "exclusivity",
    "model_pairs",
    "survey",
    "tabulate",
]
