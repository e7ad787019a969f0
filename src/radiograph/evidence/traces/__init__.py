"""Records of what a narrow change leaves behind."""

from radiograph.evidence.traces._frames import Frame, Frames
from radiograph.evidence.traces._lens import Lens, LensPush, LensReadout, LensToken
from radiograph.evidence.traces._rows import RankedRow, RowToken, RowTriage
from radiograph.evidence.traces._trigger import (
    Insertion,
    InsertionCounts,
    Objective,
    Place,
    SearchStage,
    TriggerSearch,
)
from radiograph.evidence.traces._witness import Role, Witness, Witnesses, WitnessItem, WitnessKind

__all__ = [
    "Frame",
    "Frames",
    "Insertion",
    "InsertionCounts",
    "Lens",
    "LensPush",
    "LensReadout",
    "LensToken",
    "Objective",
    "Place",
    "RankedRow",
    "Role",
    "RowToken",
    "RowTriage",
    "SearchStage",
    "TriggerSearch",
    "Witness",
    "WitnessItem",
    "WitnessKind",
    "Witnesses",
]
