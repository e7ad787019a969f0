"""Records of what a narrow change leaves behind."""

from radiograph.evidence.traces._trigger import (
    Insertion,
    InsertionCounts,
    Objective,
    Place,
    SearchStage,
    TriggerSearch,
)
from radiograph.evidence.traces._witness import Witness, Witnesses, WitnessItem, WitnessKind

__all__ = [
    "Insertion",
    "InsertionCounts",
    "Objective",
    "Place",
    "SearchStage",
    "TriggerSearch",
    "Witness",
    "WitnessItem",
    "WitnessKind",
    "Witnesses",
]
